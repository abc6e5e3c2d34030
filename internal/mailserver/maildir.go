package mailserver

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Deliver puts messages into the inbox before anybody has opened it. Their UIDs
// count from 1, their INTERNALDATEs a day apart from 2001 on.
func (s *Server) Deliver(t testing.TB, messages ...[]byte) {
	t.Helper()
	if err := s.deliver("INBOX", 24*time.Hour, slices.Values(messages)); err != nil {
		t.Fatal(err)
	}
}

// DeliverTo puts messages into a folder before anybody has opened it. Their
// UIDs count from 1, their INTERNALDATEs an hour apart from 2001 on: Dovecot
// keeps dates up to 2106 only, and a folder may be large.
func (s *Server) DeliverTo(folder string, messages iter.Seq[[]byte]) error {
	return s.deliver(folder, time.Hour, messages)
}

func (s *Server) deliver(folder string, apart time.Duration, messages iter.Seq[[]byte]) error {
	dir := s.Inbox
	if folder != "INBOX" { // a directory with a dot inside the inbox
		dir = filepath.Join(dir, "."+strings.ReplaceAll(folder, "/", "."))
	}
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	date := time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC)
	i := 0
	for m := range messages {
		// Servers count the UIDs in the order of these names.
		file := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%d.test:2,", date.Unix(), i))
		if err := os.WriteFile(file, m, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(file, date, date); err != nil {
			return err
		}
		date = date.Add(apart)
		i++
	}
	return s.Own(dir)
}
