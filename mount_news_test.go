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
func seesAnother(t *testing.T, c *imapclient.Client, mnt, folder string) {
	t.Helper()
	dir := filepath.Join(mnt, folder)
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
		if err := c.Create("In use", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		mnt := mount(t, a, "--poll", "24h")
		names(t, filepath.Join(mnt, "INBOX"))
		for _, folder := range []string{"In use", "INBOX", "In use"} {
			seesAnother(t, c, mnt, folder)
		}
	})
}

// TestNewsByPoll changes what no connection has selected.
func TestNewsByPoll(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		c := a.client(t)
		if err := c.Create("Other", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		mnt := mount(t, a, "--poll", "200ms", "--connections", "1")
		names(t, filepath.Join(mnt, "Other"))
		names(t, filepath.Join(mnt, "INBOX"))
		seesAnother(t, c, mnt, "Other")

		if err := c.Create("Fresh folder", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new folder is listed", func() bool { return slices.Contains(names(t, mnt), "Fresh folder") })
		if err := c.Delete("Fresh folder").Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the deleted folder goes", func() bool { return !slices.Contains(names(t, mnt), "Fresh folder") })
	})
}

// TestNewsAfterRestart kills the server, which the mount notices by itself, and
// finds mail there that came before anybody had it selected again.
func TestNewsAfterRestart(t *testing.T) {
	s := faultMail(t)
	mnt := mount(t, serverAccount(s), "--poll", "24h")
	inbox := filepath.Join(mnt, "INBOX")
	before := len(names(t, inbox))
	s.Kill()
	file := filepath.Join(s.Maildir(), "new", "2000000000.M1.test")
	if err := os.WriteFile(file, []byte("Subject: new\n\nFresh.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new message is listed", func() bool { return len(names(t, inbox)) == before+1 })
}
