package mounttests

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
	"imapfs/internal/harness"
)

// TestUnlinkLeavesTheMessage unlinks the files of a message, as a program does
// that overwrites them.
func TestUnlinkLeavesTheMessage(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		p := harness.NewProxy(t, a)
		inbox := filepath.Join(harness.Mount(t, p.Account), "INBOX")
		dir := filepath.Join(inbox, harness.FirstUID(t, inbox))
		for _, name := range []string{"body.txt", "headers.txt", "message.eml"} {
			path := filepath.Join(dir, name)
			want := harness.Read(t, path)
			harness.Run(t, "rm", path)
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", name, err)
			}
			if err := os.WriteFile(path, []byte("other"), 0o600); !errors.Is(err, syscall.EPERM) {
				t.Errorf("creating %s anew: %v, want EPERM", name, err)
			}
			if !bytes.Equal(harness.Read(t, path), want) {
				t.Errorf("%s differs afterwards", name)
			}
		}
		if sent := slices.Concat(p.Sent("STORE"), p.Sent("EXPUNGE"), p.Sent("MOVE")); len(sent) > 0 {
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
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account)
		dir, all := withAttachments(t, mnt)
		want := harness.Read(t, dir, all[0])
		to := t.TempDir()
		harness.Run(t, "mv", filepath.Join(dir, all[0]), to)
		if got := harness.Read(t, to, all[0]); !bytes.Equal(got, want) {
			t.Error("the moved attachment differs")
		}
		if _, err := os.Stat(filepath.Join(dir, all[0])); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the moved attachment can still be seen: %v", err)
		}
		if slices.Contains(harness.Names(t, dir), all[0]) {
			t.Error("the moved attachment is still listed")
		}
		if sent := append(p.Sent("STORE"), p.Sent("EXPUNGE")...); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
		harness.Read(t, filepath.Dir(dir), "body.txt")
	})
}

func TestNothingElseCanBeChanged(t *testing.T) {
	mnt := harness.Mount(t, harness.Embedded(t))
	dir := filepath.Join(mnt, "INBOX", harness.FirstUID(t, filepath.Join(mnt, "INBOX")))
	body := filepath.Join(dir, "body.txt")
	for name, change := range map[string]func() error{
		"create a file":      func() error { return os.WriteFile(filepath.Join(mnt, "new"), nil, 0o600) }, // where no messages are
		"create in message":  func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		"create attachment":  func() error { return os.WriteFile(filepath.Join(dir, "attachments", "new"), nil, 0o600) },
		"write":              func() error { return os.WriteFile(body, []byte("x"), 0o600) },
		"append":             func() error { _, err := os.OpenFile(body, os.O_APPEND|os.O_WRONLY, 0); return err },
		"truncate":           func() error { return os.Truncate(body, 0) },
		"chmod":              func() error { return os.Chmod(body, 0o644) },
		"mkdir in a message": func() error { return os.Mkdir(filepath.Join(dir, "New"), 0o700) },
		"rename a message":   func() error { return os.Rename(dir, filepath.Join(mnt, "INBOX", "1000000")) },
		"folder to message":  func() error { return os.Rename(filepath.Join(mnt, "Sent"), filepath.Join(dir, "Box")) },
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
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account, "-o", "ro")
		dir := filepath.Join(mnt, "INBOX", harness.FirstUID(t, filepath.Join(mnt, "INBOX")))
		for _, err := range []error{
			harness.Rmdir(dir),
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
		if sent := append(append(p.Sent("STORE"), p.Sent("EXPUNGE")...), p.Sent("SELECT")...); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
	})
}

// TestExpungedUnnoticed reads a message that another client has expunged, before
// the mount has heard of it.
func TestExpungedUnnoticed(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		mnt := harness.Mount(t, a)
		c := a.Client(t)
		inbox := filepath.Join(mnt, "INBOX")
		uid, err := strconv.Atoi(harness.FirstUID(t, inbox))
		harness.Must(t, err)
		harness.Select(t, c, "INBOX")
		harness.Expunge(t, c, imap.UID(uid))
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
	a := harness.DovecotAccount(s)
	p := harness.NewProxy(t, a)
	mnt := harness.Mount(t, p.Account)
	if err := harness.Rmdir(filepath.Join(mnt, "INBOX", "1")); !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("got %v, want %v", err, syscall.ENOTSUP)
	}
	if sent := append(p.Sent("STORE"), p.Sent("EXPUNGE")...); len(sent) > 0 {
		t.Errorf("sent %q", sent)
	}
	if got := harness.Names(t, filepath.Join(mnt, "INBOX")); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("left %v", got)
	}
}
