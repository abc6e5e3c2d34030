package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/courier"
	"imapfs/internal/cyrus"
	"imapfs/internal/dovecot"
)

// Here another client, or the server, changes what the mount is about to use.

func letter(text string) []byte { return []byte("Subject: " + text + "\r\n\r\n" + text + "\r\n") }

// expunge deletes messages of the selected folder as another client.
func expunge(t *testing.T, c *imapclient.Client, uids ...imap.UID) {
	t.Helper()
	mark(t, c, uids...)
	if err := c.UIDExpunge(imap.UIDSetNum(uids...)).Close(); err != nil {
		t.Fatal(err)
	}
}

func mark(t *testing.T, c *imapclient.Client, uids ...imap.UID) {
	t.Helper()
	// Courier passes over a message of which it has not told this client.
	if err := c.Noop().Wait(); err != nil {
		t.Fatal(err)
	}
	flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := c.Store(imap.UIDSetNum(uids...), flags, nil).Close(); err != nil {
		t.Fatal(err)
	}
}

func oneOf(err error, errs ...error) bool {
	return slices.ContainsFunc(errs, func(e error) bool { return errors.Is(err, e) })
}

// TestFolderMadeAnew deletes a folder and makes it again with other mail, so
// that the same UIDs name other messages.
func TestFolderMadeAnew(t *testing.T) {
	forEachRealServer(t, func(t *testing.T, start func(t *testing.T) server) { testFolderMadeAnew(t, start(t).account) })
}

func testFolderMadeAnew(t *testing.T, a account) {
	c, folder := a.client(t), a.mailbox("Other")
	if err := c.Create(folder, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		deliver(t, c, folder, letter(fmt.Sprint("old ", i+1)), time.Now())
	}
	validity := func() uint32 {
		data, err := c.Status(folder, &imap.StatusOptions{UIDValidity: true}).Wait()
		if err != nil {
			return 0
		}
		return data.UIDValidity
	}
	old := validity()
	other := filepath.Join(a.top(mount(t, a)), "Other")
	names(t, other)
	open, err := os.Open(filepath.Join(other, "2", "body.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	eventually(t, "another UIDVALIDITY", func() bool { // it may be the time in seconds
		c.Delete(folder).Wait()
		c.Create(folder, nil).Wait()
		return validity() != old
	})
	for i := range 3 {
		deliver(t, c, folder, letter(fmt.Sprint("new ", i+1)), time.Now())
	}

	// The mount still thinks of the old message.
	if err := syscall.Rmdir(filepath.Join(other, "1")); err != syscall.ENOENT {
		t.Errorf("deleting a message of the old folder: %v, want %v", err, syscall.ENOENT)
	}
	if got := len(messages(t, a.client(t), folder)); got != 3 {
		t.Errorf("the new folder has %d messages, want 3", got)
	}
	if got, err := io.ReadAll(open); err != nil && !errors.Is(err, syscall.ESTALE) || err == nil && string(got) != "old 2\n" {
		t.Errorf("a file that was open reads %q, %v", got, err)
	}
	// "Look it up again" is all that it takes.
	eventually(t, "the new mail can be read", func() bool {
		got, err := os.ReadFile(filepath.Join(other, "3", "body.txt"))
		switch {
		case err == nil && string(got) == "old 3\n":
			t.Fatal("the old message is read after the mount knows of the new folder")
		case err != nil && !oneOf(err, syscall.ESTALE, syscall.ENOENT):
			t.Fatalf("reading in the new folder: %v", err)
		}
		return string(got) == "new 3\n"
	})
	if got, want := names(t, other), []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
}

// largeRead opens the large attachment, reads its first piece, lets change
// happen, and reads on. The rest is right, or an error is given; never is it
// cut or wrong. change gets the directory in which the folders are.
func largeRead(t *testing.T, change func(t *testing.T, a account, c *imapclient.Client, mnt string)) {
	t.Helper()
	forEachRealServer(t, func(t *testing.T, start func(t *testing.T) server) { testLargeRead(t, start(t).account, change) })
}

func testLargeRead(t *testing.T, a account, change func(t *testing.T, a account, c *imapclient.Client, mnt string)) {
	want := contents(t, filepath.Join(a.top(mount(t, a)), "Large"))["1/attachments/data.bin"]
	mnt := a.top(mount(t, a, "--poll", "200ms"))
	f, err := os.Open(filepath.Join(mnt, largeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first := make([]byte, 300_000)
	if _, err := io.ReadFull(f, first); err != nil {
		t.Fatal(err)
	}
	c := a.client(t)
	change(t, a, c, mnt)
	rest, err := io.ReadAll(f)
	got := append(first, rest...)
	switch {
	case err == nil && !bytes.Equal(got, want):
		t.Errorf("%d bytes are read without an error, but not the %d that there are", len(got), len(want))
	case !bytes.HasPrefix(want, got):
		t.Error("wrong bytes")
	case err != nil && !oneOf(err, syscall.ENOENT, syscall.ESTALE, syscall.EIO):
		t.Errorf("the read failed with %v", err)
	}
	t.Logf("%d of %d bytes were read, then: %v", len(got), len(want), err)
}

func TestExpungedDuringLargeRead(t *testing.T) {
	largeRead(t, func(t *testing.T, a account, c *imapclient.Client, mnt string) {
		if _, err := c.Select(a.mailbox("Large"), nil).Wait(); err != nil {
			t.Fatal(err)
		}
		expunge(t, c, 1)
		eventually(t, "the listing is empty", func() bool { return len(names(t, filepath.Join(mnt, "Large"))) == 0 })
		if _, err := os.ReadFile(filepath.Join(mnt, "Large", "1", "body.txt")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("opening the expunged message: %v, want %v", err, os.ErrNotExist)
		}
	})
}

func TestFolderRenamedDuringLargeRead(t *testing.T) {
	largeRead(t, func(t *testing.T, a account, c *imapclient.Client, mnt string) {
		if err := c.Rename(a.mailbox("Large"), a.mailbox("Moved"), nil).Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the folder has its new name", func() bool {
			list := names(t, mnt)
			return slices.Contains(list, "Moved") && !slices.Contains(list, "Large")
		})
		read(t, mnt, "Moved", "1", "body.txt")
	})
}

func TestFolderDeletedDuringLargeRead(t *testing.T) {
	largeRead(t, func(t *testing.T, a account, c *imapclient.Client, mnt string) {
		if err := c.Delete(a.mailbox("Large")).Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the folder is not listed", func() bool { return !slices.Contains(names(t, mnt), "Large") })
		if _, err := os.ReadDir(filepath.Join(mnt, "Large")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("listing the deleted folder: %v, want %v", err, os.ErrNotExist)
		}
	})
}

// TestFolderReadOnly takes the right to delete away, before the mount opens the
// folder or after that.
func TestFolderReadOnly(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run(when, func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{Extra: `
mail_plugins = acl
plugin {
  acl = vfile::cache_secs=0
}`})
			if err := s.DeliverTo("Other", slices.Values([][]byte{letter("one"), letter("two")})); err != nil {
				t.Fatal(err)
			}
			restrict := func() {
				if err := os.WriteFile(filepath.Join(s.Maildir(), ".Other", "dovecot-acl"), []byte("owner lr\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if when == "before" {
				restrict()
			}
			mnt := mount(t, serverAccount(s))
			dir := filepath.Join(mnt, "Other", "1")
			if got := string(read(t, dir, "body.txt")); got != "one\n" {
				t.Errorf("body %q", got)
			}
			if when == "after" {
				// The mount has the folder open for writing now.
				if err := syscall.Rmdir(filepath.Join(mnt, "Other", "2")); err != nil {
					t.Fatal(err)
				}
				restrict()
			}
			if err := syscall.Rmdir(dir); !errors.Is(err, syscall.EACCES) {
				t.Errorf("deleting: %v, want %v", err, syscall.EACCES)
			}
			read(t, dir, "headers.txt")
			if got := messages(t, serverAccount(s).client(t), "Other"); len(got) == 0 || slices.Contains(got[0].flags, imap.FlagDeleted) {
				t.Errorf("the message has changed: %+v", got)
			}
		})
	}
}

// TestBye has the server end all sessions with BYE at several points of a
// grep -r. It is there again at once, so nothing fails.
func TestBye(t *testing.T) {
	need(t, "grep", "doveadm")
	s := faultMail(t)
	for at := int64(1); at < 250_000; at += 31_000 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			l := newLine(t, serverAccount(s))
			mnt := mount(t, l.account)
			tripped, placed := l.wire.arm(at)
			var kicking sync.WaitGroup
			defer kicking.Wait()
			kicking.Go(func() {
				select {
				case <-tripped:
				case <-time.After(within):
					t.Error("grep takes too little from the server")
					return
				}
				if err := s.Kick(); err != nil {
					t.Error(err)
				}
				close(placed)
			})
			out := run(t, "grep", "-ra", "^Line 39 of", filepath.Join(mnt, faultFolder))
			if got := strings.Count(out, "\n"); got != faultMessages {
				t.Errorf("grep finds %d lines, want %d", got, faultMessages)
			}
		})
	}
}

// TestConnectionLimit mounts with more connections than the server allows: the
// mount makes do with what it gets.
func TestConnectionLimit(t *testing.T) {
	t.Run("dovecot", func(t *testing.T) {
		testConnectionLimit(t, serverAccount(dovecot.Start(t, dovecot.Options{Extra: "mail_max_userip_connections = 2"})))
	})
	t.Run("cyrus", func(t *testing.T) {
		testConnectionLimit(t, cyrusAccount(cyrus.Start(t, "testdata/cyrus", "maxlogins_per_user: 2")))
	})
	t.Run("courier", func(t *testing.T) {
		testConnectionLimit(t, courierAccount(courier.Start(t, "testdata/courier", "MAXPERIP=2")))
	})
}

func testConnectionLimit(t *testing.T, a account) {
	folders := []string{"One", "Two", "Three", "Four"}
	c := a.client(t)
	for _, folder := range folders {
		if err := c.Create(a.mailbox(folder), nil).Wait(); err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			deliver(t, c, a.mailbox(folder), letter(fmt.Sprint("number ", i+1)), time.Now())
		}
	}
	// This client keeps its connection, so one is left for the mount.
	mnt := a.top(mount(t, a, "--connections", "4", "--timeout", "10s"))
	var wg sync.WaitGroup
	for _, folder := range folders {
		wg.Go(func() {
			for i := range 30 {
				got, err := os.ReadFile(filepath.Join(mnt, folder, fmt.Sprint(i+1), "body.txt"))
				if want := fmt.Sprintf("number %d\n", i+1); err != nil || string(got) != want {
					t.Errorf("%s/%d: %q, %v", folder, i+1, got, err)
				}
			}
		})
	}
	wg.Wait()
}
