package mounttests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"imapfs/internal/harness"
)

// TestNewsByPoll changes what no connection has selected.
func TestNewsByPoll(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		harness.Must(t, c.Create(a.Mailbox("Other"), nil).Wait())
		mnt := harness.Mount(t, a, "--poll", "200ms", "--connections", "1")
		other := filepath.Join(a.Top(mnt), "Other")
		harness.Names(t, other)
		harness.Names(t, filepath.Join(mnt, "INBOX"))
		harness.SeesAnother(t, c, a.Mailbox("Other"), other)

		fresh := a.Mailbox("Fresh folder")
		harness.Must(t, c.Create(fresh, nil).Wait())
		listed := func() bool { return slices.Contains(harness.Names(t, a.Top(mnt)), "Fresh folder") }
		harness.Eventually(t, "the new folder is listed", listed)
		harness.Must(t, c.Delete(fresh).Wait())
		harness.Eventually(t, "the deleted folder goes", func() bool { return !listed() })
	})
}

// TestNewsAfterRestart kills the server, which the mount notices by itself, and
// finds mail there that came before anybody had it selected again.
func TestNewsAfterRestart(t *testing.T) {
	s := faultMail(t)
	mnt := harness.Mount(t, harness.DovecotAccount(s), "--poll", "24h")
	folder := filepath.Join(mnt, faultFolder)
	before := len(harness.Names(t, folder))
	s.Kill()
	file := filepath.Join(s.Maildir(), "."+faultFolder, "new", "2000000000.M1.test")
	harness.Must(t, os.WriteFile(file, []byte("Subject: new\n\nFresh.\n"), 0o644))
	harness.Must(t, s.Restart())
	harness.Eventually(t, "the new message is listed", func() bool { return len(harness.Names(t, folder)) == before+1 })
}
