package mounttests

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
	"imapfs/internal/harness"
)

// Here another client, or the server, changes what the mount is about to use.

func oneOf(err error, errs ...error) bool {
	return slices.ContainsFunc(errs, func(e error) bool { return errors.Is(err, e) })
}

// makeAnew deletes a folder and makes it again, with another UIDVALIDITY.
func makeAnew(t *testing.T, c *imapclient.Client, folder string) {
	t.Helper()
	validity := func() uint32 {
		data, err := c.Status(folder, &imap.StatusOptions{UIDValidity: true}).Wait()
		if err != nil {
			return 0
		}
		return data.UIDValidity
	}
	old := validity()
	harness.Eventually(t, "another UIDVALIDITY", func() bool { // it may be the time in seconds
		c.Delete(folder).Wait()
		c.Create(folder, nil).Wait()
		return validity() != old
	})
}

// TestFolderMadeAnew deletes a folder and makes it again with other mail, so
// that the same UIDs name other messages.
func TestFolderMadeAnew(t *testing.T) {
	forEachRealServer(t, func(t *testing.T, start func(t *testing.T) server) { testFolderMadeAnew(t, start(t).Account) })
}

func testFolderMadeAnew(t *testing.T, a harness.Account) {
	c, folder := a.Client(t), a.Mailbox("Other")
	harness.Must(t, c.Create(folder, nil).Wait())
	for i := range 3 {
		harness.Deliver(t, c, folder, harness.Letter(fmt.Sprint("old ", i+1)), time.Now())
	}
	other := filepath.Join(a.Top(harness.Mount(t, a)), "Other")
	harness.Names(t, other)
	open, err := os.Open(filepath.Join(other, "2", "body.txt"))
	harness.Must(t, err)
	defer open.Close()

	makeAnew(t, c, folder)
	for i := range 3 {
		harness.Deliver(t, c, folder, harness.Letter(fmt.Sprint("new ", i+1)), time.Now())
	}

	// The mount still thinks of the old message.
	if err := harness.Rmdir(filepath.Join(other, "1")); err != syscall.ENOENT {
		t.Errorf("deleting a message of the old folder: %v, want %v", err, syscall.ENOENT)
	}
	if got := len(harness.Messages(t, a.Client(t), folder)); got != 3 {
		t.Errorf("the new folder has %d messages, want 3", got)
	}
	if got, err := io.ReadAll(open); err != nil && !errors.Is(err, syscall.ESTALE) || err == nil && string(got) != "old 2\n" {
		t.Errorf("a file that was open reads %q, %v", got, err)
	}
	// "Look it up again" is all that it takes.
	harness.Eventually(t, "the new mail can be read", func() bool {
		got, err := os.ReadFile(filepath.Join(other, "3", "body.txt"))
		switch {
		case err == nil && string(got) == "old 3\n":
			t.Fatal("the old message is read after the mount knows of the new folder")
		case err != nil && !oneOf(err, syscall.ESTALE, syscall.ENOENT):
			t.Fatalf("reading in the new folder: %v", err)
		}
		return string(got) == "new 3\n"
	})
	if got, want := harness.Names(t, other), []string{"1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
}

// largeRead opens the large attachment, reads its first piece, lets change
// happen, and reads on. The rest is right, or an error is given; never is it
// cut or wrong. change gets the directory in which the folders are.
func largeRead(t *testing.T, change func(t *testing.T, a harness.Account, c *imapclient.Client, mnt string)) {
	t.Helper()
	forEachRealServer(t, func(t *testing.T, start func(t *testing.T) server) { testLargeRead(t, start(t).Account, change) })
}

func testLargeRead(t *testing.T, a harness.Account, change func(t *testing.T, a harness.Account, c *imapclient.Client, mnt string)) {
	want := harness.Contents(t, filepath.Join(a.Top(harness.Mount(t, a)), "Large"))["1/attachments/data.bin"]
	mnt := a.Top(harness.Mount(t, a, "--poll", "200ms"))
	f, err := os.Open(filepath.Join(mnt, largeFile))
	harness.Must(t, err)
	defer f.Close()
	first := make([]byte, 300_000)
	if _, err := io.ReadFull(f, first); err != nil {
		t.Fatal(err)
	}
	c := a.Client(t)
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
	largeRead(t, func(t *testing.T, a harness.Account, c *imapclient.Client, mnt string) {
		harness.Select(t, c, a.Mailbox("Large"))
		harness.Expunge(t, c, 1)
		harness.Eventually(t, "the listing is empty", func() bool { return len(harness.Names(t, filepath.Join(mnt, "Large"))) == 0 })
		if _, err := os.ReadFile(filepath.Join(mnt, "Large", "1", "body.txt")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("opening the expunged message: %v, want %v", err, os.ErrNotExist)
		}
	})
}

func TestFolderRenamedDuringLargeRead(t *testing.T) {
	largeRead(t, func(t *testing.T, a harness.Account, c *imapclient.Client, mnt string) {
		harness.Must(t, c.Rename(a.Mailbox("Large"), a.Mailbox("Moved"), nil).Wait())
		harness.Eventually(t, "the folder has its new name", func() bool {
			list := harness.Names(t, mnt)
			return slices.Contains(list, "Moved") && !slices.Contains(list, "Large")
		})
		harness.Read(t, mnt, "Moved", "1", "body.txt")
	})
}

func TestFolderDeletedDuringLargeRead(t *testing.T) {
	largeRead(t, func(t *testing.T, a harness.Account, c *imapclient.Client, mnt string) {
		harness.Must(t, c.Delete(a.Mailbox("Large")).Wait())
		harness.Eventually(t, "the folder is not listed", func() bool { return !slices.Contains(harness.Names(t, mnt), "Large") })
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
			harness.Must(t, s.DeliverTo("Other", slices.Values([][]byte{harness.Letter("one"), harness.Letter("two")})))
			restrict := func() {
				harness.Must(t, os.WriteFile(filepath.Join(s.Maildir(), ".Other", "dovecot-acl"), []byte("owner lr\n"), 0o644))
			}
			if when == "before" {
				restrict()
			}
			mnt := harness.Mount(t, harness.DovecotAccount(s))
			dir := filepath.Join(mnt, "Other", "1")
			if got := string(harness.Read(t, dir, "body.txt")); got != "one\n" {
				t.Errorf("body %q", got)
			}
			if when == "after" {
				// The mount has the folder open for writing now.
				harness.Must(t, harness.Rmdir(filepath.Join(mnt, "Other", "2")))
				restrict()
			}
			if err := harness.Rmdir(dir); !errors.Is(err, syscall.EACCES) {
				t.Errorf("deleting: %v, want %v", err, syscall.EACCES)
			}
			harness.Read(t, dir, "headers.txt")
			if got := harness.Messages(t, harness.DovecotAccount(s).Client(t), "Other"); len(got) == 0 || slices.Contains(got[0].Flags, imap.FlagDeleted) {
				t.Errorf("the message has changed: %+v", got)
			}
		})
	}
}

// TestBye has the server end all sessions with BYE at several points of a
// grep -r. It is there again at once, so nothing fails.
func TestBye(t *testing.T) {
	harness.Need(t, "grep", "doveadm")
	s := faultMail(t)
	for at := int64(1); at < 250_000; at += 31_000 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			l := newLine(t, harness.DovecotAccount(s))
			mnt := harness.Mount(t, l.Account)
			tripped, placed := l.wire.arm(at)
			var kicking sync.WaitGroup
			defer kicking.Wait()
			kicking.Go(func() {
				select {
				case <-tripped:
				case <-time.After(harness.Within):
					t.Error("grep takes too little from the server")
					return
				}
				if err := s.Kick(); err != nil {
					t.Error(err)
				}
				close(placed)
			})
			out := harness.Run(t, "grep", "-ra", "^Line 39 of", filepath.Join(mnt, faultFolder))
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
		testConnectionLimit(t, harness.DovecotAccount(dovecot.Start(t, dovecot.Options{Extra: "mail_max_userip_connections = 2"})))
	})
	t.Run("cyrus", func(t *testing.T) {
		testConnectionLimit(t, harness.CyrusAccount(cyrus.Start(t, harness.Testdata("cyrus"), "maxlogins_per_user: 2")))
	})
	t.Run("courier", func(t *testing.T) {
		testConnectionLimit(t, harness.CourierAccount(courier.Start(t, harness.Testdata("courier"), "MAXPERIP=2")))
	})
}

func testConnectionLimit(t *testing.T, a harness.Account) {
	folders := []string{"One", "Two", "Three", "Four"}
	c := a.Client(t)
	for _, folder := range folders {
		harness.Must(t, c.Create(a.Mailbox(folder), nil).Wait())
		for i := range 30 {
			harness.Deliver(t, c, a.Mailbox(folder), harness.Letter(fmt.Sprint("number ", i+1)), time.Now())
		}
	}
	// This client keeps its connection, so one is left for the mount.
	mnt := a.Top(harness.Mount(t, a, "--connections", "4", "--timeout", "10s"))
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
