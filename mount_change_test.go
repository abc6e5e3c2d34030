package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/dovecot"
)

func TestDeleteOneMessage(t *testing.T) {
	ways := map[string]func(t *testing.T, dir string){
		"rm -r": func(t *testing.T, dir string) { run(t, "rm", "-r", dir) },
		"rmdir": func(t *testing.T, dir string) { run(t, "rmdir", dir) },
		"RemoveAll": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"unlink, rmdir": func(t *testing.T, dir string) {
			run(t, "rm", filepath.Join(dir, "body.txt"), filepath.Join(dir, "headers.txt"))
			run(t, "rmdir", filepath.Join(dir, "attachments"), dir)
		},
	}
	forEachServer(t, func(t *testing.T, a account) {
		c := a.client(t)
		uid := deliver(t, c, "INBOX", []byte("Subject: to go\r\n\r\nBye.\r\n"), time.Now())
		marked := deliver(t, c, "INBOX", []byte("Subject: marked by another client\r\n\r\nStay.\r\n"), time.Now())
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if err := c.Store(imap.UIDSetNum(marked), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		for name, way := range ways {
			t.Run(name, func(t *testing.T) {
				if uid == 0 {
					uid = deliver(t, a.client(t), "INBOX", []byte("Subject: to go\r\n\r\nBye.\r\n"), time.Now())
				}
				before := messages(t, a.client(t), "INBOX")
				p := newProxy(t, a)
				mnt := mount(t, p.account)
				dir := filepath.Join(mnt, "INBOX", fmt.Sprint(uid))
				names(t, filepath.Join(mnt, "INBOX"))
				way(t, dir)

				var want []imap.UID
				for _, m := range before {
					if m.uid != uid {
						want = append(want, m.uid)
					}
				}
				var left []imap.UID
				for _, m := range messages(t, a.client(t), "INBOX") {
					left = append(left, m.uid)
				}
				if !slices.Equal(left, want) {
					t.Errorf("the server has %v, want %v", left, want)
				}
				if got, want := p.sent("STORE"), []string{fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid)}; !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				if got, want := p.sent("EXPUNGE"), []string{fmt.Sprintf(`UID EXPUNGE %d`, uid)}; !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the name is still there: %v", err)
				}
				if slices.Contains(names(t, filepath.Join(mnt, "INBOX")), fmt.Sprint(uid)) {
					t.Error("the message is still listed")
				}
				uid = 0
			})
		}
	})
}

// TestUnlinkLeavesTheMessage unlinks the files of a message, as a program does
// that overwrites them.
func TestUnlinkLeavesTheMessage(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		p := newProxy(t, a)
		inbox := filepath.Join(mount(t, p.account), "INBOX")
		dir := filepath.Join(inbox, firstUID(t, inbox))
		for _, name := range []string{"body.txt", "headers.txt", "message.eml"} {
			path := filepath.Join(dir, name)
			want := read(t, path)
			run(t, "rm", path)
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", name, err)
			}
			if err := os.WriteFile(path, []byte("other"), 0o600); !errors.Is(err, syscall.EPERM) {
				t.Errorf("creating %s anew: %v, want EPERM", name, err)
			}
			if !bytes.Equal(read(t, path), want) {
				t.Errorf("%s differs afterwards", name)
			}
		}
		if sent := slices.Concat(p.sent("STORE"), p.sent("EXPUNGE"), p.sent("MOVE")); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
	})
}

// withAttachments finds a message that has some.
func withAttachments(t *testing.T, mnt string) (dir string, names []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(mnt, "*", "*", "attachments", "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no attachment anywhere: %v", err)
	}
	dir = filepath.Dir(all[0])
	for _, path := range all {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	return dir, names
}

func TestMovingAnAttachmentLeavesTheMessage(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		p := newProxy(t, a)
		mnt := mount(t, p.account)
		dir, all := withAttachments(t, mnt)
		want := read(t, dir, all[0])
		to := t.TempDir()
		run(t, "mv", filepath.Join(dir, all[0]), to)
		if got := read(t, to, all[0]); !bytes.Equal(got, want) {
			t.Error("the moved attachment differs")
		}
		if _, err := os.Stat(filepath.Join(dir, all[0])); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the moved attachment can still be seen: %v", err)
		}
		if slices.Contains(names(t, dir), all[0]) {
			t.Error("the moved attachment is still listed")
		}
		if sent := append(p.sent("STORE"), p.sent("EXPUNGE")...); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
		read(t, filepath.Dir(dir), "body.txt")
	})
}

func TestNothingElseCanBeChanged(t *testing.T) {
	mnt := mount(t, embedded(t))
	dir := filepath.Join(mnt, "INBOX", firstUID(t, filepath.Join(mnt, "INBOX")))
	body := filepath.Join(dir, "body.txt")
	for name, change := range map[string]func() error{
		"create a file":      func() error { return os.WriteFile(filepath.Join(mnt, "INBOX", "new"), nil, 0o600) },
		"create in message":  func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		"create attachment":  func() error { return os.WriteFile(filepath.Join(dir, "attachments", "new"), nil, 0o600) },
		"write":              func() error { return os.WriteFile(body, []byte("x"), 0o600) },
		"append":             func() error { _, err := os.OpenFile(body, os.O_APPEND|os.O_WRONLY, 0); return err },
		"truncate":           func() error { return os.Truncate(body, 0) },
		"chmod":              func() error { return os.Chmod(body, 0o644) },
		"mkdir":              func() error { return os.Mkdir(filepath.Join(mnt, "New"), 0o700) },
		"rename a message":   func() error { return os.Rename(dir, filepath.Join(mnt, "INBOX", "1000000")) },
		"rename a folder":    func() error { return os.Rename(filepath.Join(mnt, "INBOX"), filepath.Join(mnt, "Box")) },
		"rmdir a folder":     func() error { return syscall.Rmdir(filepath.Join(mnt, "INBOX")) },
		"symlink":            func() error { return os.Symlink("x", filepath.Join(mnt, "link")) },
		"link":               func() error { return os.Link(body, filepath.Join(dir, "link")) },
		"change the times":   func() error { return os.Chtimes(body, time.Now(), time.Now()) },
		"unlink what is not": func() error { return os.Remove(filepath.Join(dir, "none")) },
	} {
		want := syscall.EPERM
		if name == "unlink what is not" {
			want = syscall.ENOENT
		}
		if err := change(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestReadOnlyMount(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		p := newProxy(t, a)
		mnt := mount(t, p.account, "-o", "ro")
		dir := filepath.Join(mnt, "INBOX", firstUID(t, filepath.Join(mnt, "INBOX")))
		for _, err := range []error{
			syscall.Rmdir(dir),
			os.Remove(filepath.Join(dir, "body.txt")),
			os.WriteFile(filepath.Join(dir, "body.txt"), nil, 0o600),
			os.Mkdir(filepath.Join(mnt, "x"), 0o700),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("got %v, want %v", err, syscall.EROFS)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o500 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if sent := append(append(p.sent("STORE"), p.sent("EXPUNGE")...), p.sent("SELECT")...); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
	})
}

// TestExpungedUnnoticed reads a message that another client has expunged, before
// the mount has heard of it.
func TestExpungedUnnoticed(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		mnt := mount(t, a)
		c := a.client(t)
		inbox := filepath.Join(mnt, "INBOX")
		uid, err := strconv.Atoi(firstUID(t, inbox))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		set := imap.UIDSetNum(imap.UID(uid))
		if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.UIDExpunge(set).Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadFile(filepath.Join(inbox, fmt.Sprint(uid), "body.txt")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want %v", err, os.ErrNotExist)
		}
	})
}

// TestWithoutUIDPlus deletes on a server that can only expunge everything that
// is marked: it is refused, and nothing has changed.
func TestWithoutUIDPlus(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Extra: "imap_capability = IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE"})
	s.Deliver(t, []byte("Subject: a\n\nOne.\n"), []byte("Subject: b\n\nTwo.\n"))
	a := serverAccount(s)
	p := newProxy(t, a)
	mnt := mount(t, p.account)
	if err := syscall.Rmdir(filepath.Join(mnt, "INBOX", "1")); !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("got %v, want %v", err, syscall.ENOTSUP)
	}
	if sent := append(p.sent("STORE"), p.sent("EXPUNGE")...); len(sent) > 0 {
		t.Errorf("sent %q", sent)
	}
	if got := names(t, filepath.Join(mnt, "INBOX")); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("left %v", got)
	}
}
