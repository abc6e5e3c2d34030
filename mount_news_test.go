package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// seesAnother has another client deliver to a folder and expunge there, while
// the mount is up. What the kernel has cached follows.
func seesAnother(t *testing.T, c *imapclient.Client, folder, dir string) {
	t.Helper()
	before := names(t, dir)
	uid := deliver(t, c, folder, []byte("Subject: new\r\n\r\nFresh.\r\n"), time.Now())
	path := filepath.Join(dir, fmt.Sprint(uid))
	os.Stat(path) // not there yet, which the kernel may remember
	eventually(t, "the new message is listed", func() bool { return slices.Contains(names(t, dir), fmt.Sprint(uid)) })
	if got := string(read(t, path, "body.txt")); got != "Fresh.\n" {
		t.Errorf("body %q", got)
	}

	if _, err := c.Select(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	set := imap.UIDSetNum(uid)
	if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.UIDExpunge(set).Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the expunged message goes from the listing", func() bool { return slices.Equal(names(t, dir), before) })
	if _, err := os.ReadFile(filepath.Join(path, "body.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading the expunged message: %v", err)
	}
}

// TestNewsByIdle never polls: only IDLE can tell.
func TestNewsByIdle(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		c := a.client(t)
		inUse := a.mailbox("In use")
		if err := c.Create(inUse, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		mnt := mount(t, a, "--poll", "24h")
		inbox := filepath.Join(mnt, "INBOX")
		names(t, inbox)
		for range 2 {
			seesAnother(t, c, inUse, filepath.Join(a.top(mnt), "In use"))
			seesAnother(t, c, "INBOX", inbox)
		}
	})
}

// TestNewsByPoll changes what no connection has selected.
func TestNewsByPoll(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		c := a.client(t)
		if err := c.Create(a.mailbox("Other"), nil).Wait(); err != nil {
			t.Fatal(err)
		}
		mnt := mount(t, a, "--poll", "200ms", "--connections", "1")
		other := filepath.Join(a.top(mnt), "Other")
		names(t, other)
		names(t, filepath.Join(mnt, "INBOX"))
		seesAnother(t, c, a.mailbox("Other"), other)

		fresh := a.mailbox("Fresh folder")
		if err := c.Create(fresh, nil).Wait(); err != nil {
			t.Fatal(err)
		}
		listed := func() bool { return slices.Contains(names(t, a.top(mnt)), "Fresh folder") }
		eventually(t, "the new folder is listed", listed)
		if err := c.Delete(fresh).Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the deleted folder goes", func() bool { return !listed() })
	})
}

// TestNewsAfterRestart kills the server, which the mount notices by itself, and
// finds mail there that came before anybody had it selected again.
func TestNewsAfterRestart(t *testing.T) {
	s := faultMail(t)
	mnt := mount(t, serverAccount(s), "--poll", "24h")
	folder := filepath.Join(mnt, faultFolder)
	before := len(names(t, folder))
	s.Kill()
	file := filepath.Join(s.Maildir(), "."+faultFolder, "new", "2000000000.M1.test")
	if err := os.WriteFile(file, []byte("Subject: new\n\nFresh.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new message is listed", func() bool { return len(names(t, folder)) == before+1 })
}
