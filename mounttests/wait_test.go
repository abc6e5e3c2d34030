package mounttests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/commands"
	"imapfs/internal/harness"
)

// waiting starts imapfs wait.
func waiting(t *testing.T, args ...string) (p *harness.Process, stdout *harness.Lines) {
	t.Helper()
	p = harness.Imapfs(t, nil, append([]string{"wait"}, args...)...)
	return p, p.Stdout
}

func TestWait(t *testing.T) {
	s, p := harness.Inbox(t, 5)
	r := harness.NewRemounter(t, p.Account, "--poll", "300ms")
	mount := r.Mount(t)
	dir := filepath.Join(r.Dir, "INBOX")
	c := p.Client(t)

	// Nobody can know when it has begun; so mail comes until it ends.
	var delivered []string
	one, stdout := waiting(t, dir)
	harness.Eventually(t, "wait sees new mail", func() bool {
		if one.HasEnded() {
			return true
		}
		delivered = append(delivered, fmt.Sprintf("%s/%d", dir, harness.Deliver(t, c, "INBOX", harness.OneLetter(100), time.Now())))
		return false
	})
	printed := strings.Fields(stdout.String())
	if code := one.Exit(t); code != 0 || len(printed) == 0 || !strings.Contains(fmt.Sprint(delivered), printed[0]) {
		t.Errorf("code %d, printed %q, delivered %q, said %s", code, printed, delivered, one.Stderr)
	}

	// From its first line on it misses nothing.
	all, stdout := waiting(t, "--follow", dir)
	harness.Eventually(t, "wait --follow sees new mail", func() bool {
		if stdout.String() != "" {
			return true
		}
		harness.Deliver(t, c, "INBOX", harness.OneLetter(200), time.Now())
		return false
	})
	var want []string
	for range 20 {
		want = append(want, fmt.Sprintf("%s/%d\n", dir, harness.Deliver(t, c, "INBOX", harness.OneLetter(300), time.Now())))
	}
	harness.Eventually(t, "all new mail is printed", func() bool { return strings.HasSuffix(stdout.String(), strings.Join(want, "")) })
	if all.HasEnded() {
		t.Errorf("--follow has ended: %s", all.Stderr)
	}
	all.Cmd.Process.Signal(os.Interrupt)
	all.EndsWith(t, commands.ExitFailed, "interrupted")

	// What goes ends the wait too, and is not printed.
	gone, stdout := waiting(t, dir)
	harness.Select(t, c, "INBOX")
	uid := imap.UID(0)
	harness.Eventually(t, "wait sees an expunge", func() bool {
		if !gone.HasEnded() {
			uid++
			harness.Expunge(t, c, uid)
		}
		return gone.HasEnded()
	})
	if code := gone.Exit(t); code != 0 || stdout.String() != "" {
		t.Errorf("code %d, printed %q", code, stdout)
	}

	message := filepath.Join(dir, fmt.Sprint(harness.Deliver(t, c, "INBOX", harness.OneLetter(300), time.Now())))
	harness.Eventually(t, "a new message is there", func() bool {
		_, err := os.Stat(message)
		return err == nil
	})
	harness.RunCommand(t, r.Cache, "wait", message).FailsWith(t, commands.ExitFailed, "is a message")
	harness.RunCommand(t, r.Cache, "wait", r.Dir).FailsWith(t, commands.ExitFailed, "wait watches a folder, like "+dir)

	// While it waits, the server hears nothing of it, and it goes on when the
	// server is back.
	away, stdout := waiting(t, "--follow", dir)
	harness.Eventually(t, "wait --follow sees new mail", func() bool {
		if stdout.String() != "" {
			return true
		}
		harness.Deliver(t, c, "INBOX", harness.OneLetter(400), time.Now())
		return false
	})
	s.Kill()
	harness.Eventually(t, "the server is away", func() bool {
		return strings.Contains(harness.RunCommand(t, r.Cache, "status", r.Dir).Stdout, ", away: ")
	})
	harness.Must(t, s.Restart())
	back := fmt.Sprintf("%s/%d\n", dir, harness.Deliver(t, p.Client(t), "INBOX", harness.OneLetter(500), time.Now()))
	harness.Eventually(t, "mail after the server was away is printed", func() bool { return strings.HasSuffix(stdout.String(), back) })
	mount.Unmount(t)
	away.EndsWith(t, commands.ExitFailed, "INBOX is gone")
}

// TestChangeTime looks at what imapfs wait goes by.
func TestChangeTime(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	r := harness.NewRemounter(t, p.Account, "--poll", "300ms")
	process := r.Mount(t)
	dir := filepath.Join(r.Dir, "INBOX")
	stat := func() (mtime time.Time, ctime syscall.Timespec) {
		info, err := os.Stat(dir)
		harness.Must(t, err)
		return info.ModTime(), info.Sys().(*syscall.Stat_t).Ctim
	}
	date, before := stat()
	c := p.Client(t)
	for _, at := range []time.Time{date.Add(-time.Hour), date.Add(-time.Hour), date} {
		harness.Deliver(t, c, "INBOX", harness.OneLetter(10), at.Truncate(time.Second))
		harness.Eventually(t, "the change time grows", func() bool {
			_, now := stat()
			return now.Nano() > before.Nano()
		})
		var now time.Time
		if now, before = stat(); !now.Equal(date.Truncate(time.Second)) { // also where old mail has come
			t.Errorf("the folder has the date %v, its newest message %v", now, date)
		}
	}
	p.Forget()
	for range 100 {
		stat()
	}
	if got := p.Sent("FETCH"); len(got) > 0 {
		t.Errorf("stat asked for %q", got)
	}
	process.Unmount(t)
}
