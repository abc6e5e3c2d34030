// Package maildir puts mail where the servers of the tests keep it, in the form
// that both Dovecot and Courier know: Maildir++.
package maildir

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Deliver puts messages into a folder before a server has opened it, and returns
// the folder's directory. Servers count the UIDs from 1 in this order. The
// INTERNALDATEs are this far apart, from 2001 on.
func Deliver(inbox, folder string, apart time.Duration, messages iter.Seq[[]byte]) (dir string, err error) {
	dir = inbox
	if folder != "INBOX" { // a directory with a dot inside the inbox
		dir = filepath.Join(inbox, "."+strings.ReplaceAll(folder, "/", "."))
	}
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	start := time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC)
	i := 0
	for m := range messages {
		date := start.Add(time.Duration(i) * apart)
		file := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%d.test:2,", date.Unix(), i))
		if err := os.WriteFile(file, m, 0o644); err != nil {
			return "", err
		}
		if err := os.Chtimes(file, date, date); err != nil {
			return "", err
		}
		i++
	}
	return dir, nil
}
