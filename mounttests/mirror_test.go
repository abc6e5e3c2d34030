package mounttests

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapfs/internal/harness"
)

type mirrorStatus struct {
	Complete bool
	Spared   bool `json:"open_spared"`
}

func mirrorOf(t *testing.T, dir string) mirrorStatus {
	t.Helper()
	var status struct{ Mirror mirrorStatus }
	harness.Must(t, json.Unmarshal(harness.Read(t, dir, ".imapfs/status"), &status))
	return status.Mirror
}

// mirrored tells whether the mount says that its mirror is complete.
func mirrored(t *testing.T, dir string) bool {
	t.Helper()
	return mirrorOf(t, dir).Complete
}

func TestMirror(t *testing.T) {
	s, p := harness.Inbox(t, 100)
	plain := harness.Mount(t, p.Account)
	harness.Tree(t, plain)
	want := harness.Tree(t, plain)

	r := harness.NewRemounter(t, p.Account, "--mirror", "--poll", "300ms")
	first := r.Mount(t)
	harness.Eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.Dir) })
	s.Kill()
	harness.SameTree(t, "the mirror", harness.Tree(t, r.Dir), want)
	first.Unmount(t)

	// And without the server, from the disk alone.
	second := r.Mount(t)
	harness.SameTree(t, "the mirror after a remount", harness.Tree(t, r.Dir), want)
	second.Unmount(t)

	harness.Must(t, s.Restart())
	p.Forget()
	third := r.Mount(t)
	harness.Eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.Dir) })
	if uids, _ := p.Content(t); len(uids) > 0 {
		t.Errorf("fetched again: %v", uids)
	}
	harness.Deliver(t, p.Client(t), "INBOX", harness.OneLetter(1000), time.Now())
	harness.Eventually(t, "a new message is mirrored", func() bool {
		uids, _ := p.Content(t)
		return len(uids) == 1 && mirrored(t, r.Dir)
	})
	s.Kill()
	if got := string(harness.Read(t, r.Dir, "INBOX/102/body.txt")); !strings.HasSuffix(got, "end of 1000\n") {
		t.Errorf("got %q", got)
	}
	third.Unmount(t)
}

// TestMirrorSparesOpen looks at a mount that has told the kernel to send no
// OPEN: what was there before, and what comes later, is as on any other mount.
func TestMirrorSparesOpen(t *testing.T) {
	_, p := harness.Inbox(t, 20)
	r := harness.NewRemounter(t, p.Account, "--mirror", "--poll", "300ms")
	process := r.Mount(t)
	// The kernel knows estimates, and files are open, before it is told.
	harness.Run(t, "ls", "-lR", r.Dir)
	open, err := os.Open(filepath.Join(r.Dir, "INBOX/3/body.txt"))
	harness.Must(t, err)
	defer open.Close()
	harness.Eventually(t, "OPEN is spared", func() bool { return mirrorOf(t, r.Dir).Spared })

	plain := harness.Mount(t, p.Account, "--poll", "300ms")
	same := func(what string) {
		t.Helper()
		harness.Tree(t, plain)
		want := harness.Tree(t, plain)
		harness.SameTree(t, what, harness.Tree(t, r.Dir), want)
		harness.SameTree(t, what+", again", harness.Tree(t, r.Dir), want)
	}
	same("after OPEN is spared")
	if b, err := io.ReadAll(open); err != nil || !strings.HasSuffix(string(b), "end of 3\n") {
		t.Errorf("a file that was open before: %q, %v", b, err)
	}

	c := p.Client(t)
	harness.Deliver(t, c, "INBOX", harness.OneLetter(1000), time.Now())
	harness.Deliver(t, c, "INBOX", harness.LargeLetter(), time.Now())
	for _, dir := range []string{r.Dir, plain} {
		harness.Eventually(t, "new mail shows", func() bool { return len(harness.Names(t, filepath.Join(dir, "INBOX"))) == 23 })
	}
	same("new mail")

	for _, how := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC} {
		f, err := os.OpenFile(filepath.Join(r.Dir, "INBOX/3/body.txt"), how, 0)
		if err == nil {
			_, err = f.WriteString("overwritten")
			f.Close()
		}
		if !errors.Is(err, syscall.EPERM) {
			t.Errorf("writing with %x: got %v, want %v", how, err, syscall.EPERM)
		}
	}
	if err := os.RemoveAll(filepath.Join(r.Dir, "INBOX/3")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "INBOX/3/body.txt")); err == nil {
		t.Error("a deleted message is there")
	}
	process.Unmount(t)
}
