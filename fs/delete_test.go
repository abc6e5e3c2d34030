package fs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

func TestDeletionGoesOnWithoutItsCaller(t *testing.T) {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{7: {Raw: smallMessage}}}
	fsys := newFS(t, f, 0)
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}
	n := fsys.messageWith(id, messageNumbers(id))
	f.Lock() // the server does not answer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if errno := fsys.delete(ctx, id); errno != syscall.EINTR {
		t.Errorf("an interrupted deletion gives %v, want EINTR", errno)
	}
	f.Unlock()
	eventually(t, "the message is gone", func() bool { return n.check() == syscall.ENOENT })
	eventually(t, "nothing is under way", func() bool { return !fsys.leaving.leaves(id) })
}

func TestRefusedDeletionChangesNothing(t *testing.T) {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{7: {Raw: smallMessage}}, Refuses: mail.ErrRefused}
	fsys := newFS(t, f, 0)
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}
	n := fsys.messageWith(id, messageNumbers(id))
	for _, name := range []string{bodyName, headersName, rawName} {
		if errno := n.Unlink(t.Context(), name); errno != 0 {
			t.Fatal(errno)
		}
	}
	if errno := n.remove(t.Context()); errno != syscall.EIO {
		t.Errorf("a refused deletion gives %v, want EIO", errno)
	}
	if fsys.leaving.leaves(id) || len(f.Mail) != 1 {
		t.Error("something has changed")
	}
	if files, err := n.shown(t.Context()); err != nil || len(files) != 3 {
		t.Errorf("the directory shows %v, %v; what rm -r has hidden is to be back", files, err)
	}
}

// TestUnlinkHides unlinks files of a message: they are away, and the message is
// not. To create one of them anew, in whatever way, fails and brings it back.
func TestUnlinkHides(t *testing.T) {
	for how, create := range map[string]func(path string) error{
		"open": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"exclusive": func(path string) error {
			_, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			return err
		},
		"mkdir":   func(path string) error { return os.Mkdir(path, 0o700) },
		"mknod":   func(path string) error { return syscall.Mknod(path, syscall.S_IFREG|0o600, 0) },
		"symlink": func(path string) error { return os.Symlink("elsewhere", path) },
		"link":    func(path string) error { return os.Link(filepath.Join(filepath.Dir(path), "message.eml"), path) },
		"rename":  func(path string) error { return os.Rename(filepath.Join(filepath.Dir(path), "message.eml"), path) },
	} {
		t.Run(how, func(t *testing.T) {
			m := mount(t, "plain")
			dir := filepath.Join(m.dir, "INBOX/7")
			all := []string{"attachments", "body.txt", "headers.txt"}
			for i, name := range all {
				path := filepath.Join(dir, name)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is still there: %v", name, err)
				}
				if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s can be removed again: %v", name, err)
				}
				if left := list(t, dir); !slices.Equal(left, all[i+1:]) {
					t.Errorf("without %s: %v", name, left)
				}
			}
			for i, name := range all {
				path := filepath.Join(dir, name)
				if err := create(path); !errors.Is(err, syscall.EPERM) {
					t.Errorf("creating %s: %v, want EPERM", name, err)
				}
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("%s is not back: %v", name, err)
				}
				eventually(t, name+" is listed again", func() bool { return slices.Equal(list(t, dir), all[:i+1]) })
			}
			if got, err := os.ReadFile(filepath.Join(dir, "body.txt")); err != nil || string(got) != "Hello\n" {
				t.Errorf("body.txt: %q, %v", got, err)
			}
			m.do(t, "deleted")
			m.expect(t, "[]")
		})
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestHiddenComesBack has the time of hidden names pass.
func TestHiddenComesBack(t *testing.T) {
	fsys := newFS(t, &fakemail.Server{}, 0)
	l := &fsys.leaving
	a := hiddenName{mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}, kindMessage, "a"}
	b := a
	b.name = "b"
	for _, n := range []hiddenName{a, b} {
		l.hide(n)
	}
	l.mu.Lock()
	l.messages[a.id].hidden[a] = l.messages[a.id].hidden[a].Add(-hideFor)
	l.mu.Unlock()
	if l.hides(a) || !l.hides(b) {
		t.Errorf("hidden: a %t, b %t; want only b", l.hides(a), l.hides(b))
	}
	l.expire(a.id)
	if d := l.messages[a.id]; d == nil || len(d.hidden) != 1 || !d.timer.Stop() {
		t.Errorf("%v is hidden; want b, and a timer for it", d)
	}
	l.mu.Lock()
	l.messages[a.id].hidden[b] = l.messages[a.id].hidden[b].Add(-hideFor)
	l.mu.Unlock()
	l.expire(a.id)
	if l.hides(b) || len(l.messages) > 0 {
		t.Error("something is left")
	}
}

// TestRemovedIsGone removes a message: its name is gone at once, for those too
// who are in it.
func TestRemovedIsGone(t *testing.T) {
	m := mount(t, "plain")
	for _, way := range []string{"rmdir", "rm -r"} {
		uid := map[string]string{"rmdir": "7", "rm -r": "8"}[way]
		dir := filepath.Join(m.dir, "INBOX", uid)
		in, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		command := append(strings.Fields(way), dir)
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v, %s", way, err, out)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %s the message is still there: %v", way, err)
		}
		if slices.Contains(list(t, filepath.Dir(dir)), uid) {
			t.Errorf("after %s the message is still listed", way)
		}
		for _, name := range []string{"body.txt", "headers.txt", "message.eml"} {
			if err := syscall.Unlinkat(int(in.Fd()), name); err != syscall.ENOENT {
				t.Errorf("unlinking %s after %s: %v, want ENOENT", name, way, err)
			}
		}
	}
	m.do(t, "deleted")
	m.expect(t, "[INBOX/7 INBOX/8]")
}

// TestTidyProgram has a program of such a name call rmdir on messages.
func TestTidyProgram(t *testing.T) {
	rmdir, err := exec.LookPath("rmdir")
	if err != nil {
		t.Skip("rmdir is not installed")
	}
	m := mount(t, "plain")
	dir := filepath.Join(m.dir, "INBOX/7")
	call := func() ([]byte, error) {
		cmd := exec.Command(rmdir, dir)
		cmd.Args[0] = "borg"
		return cmd.CombinedOutput()
	}
	if out, err := call(); err == nil || !strings.Contains(string(out), "not empty") {
		t.Errorf("rmdir of a full message: %v, %s", err, out)
	}
	m.do(t, "deleted")
	m.expect(t, "[]")
	for _, name := range []string{"attachments", "body.txt", "headers.txt"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := call(); err != nil {
		t.Errorf("rmdir of an empty message: %v, %s", err, out)
	}
	m.do(t, "deleted")
	m.expect(t, "[INBOX/7]")
}
