package mounttests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"imapfs/internal/harness"
)

// A mount that ends while it is used, or while its server is away.

// stuckRead mounts, and reads a file that the line holds back. The channel
// brings what the read comes to.
func stuckRead(t *testing.T) (dir string, p *harness.Process, l *line, ended <-chan error) {
	t.Helper()
	l = newLine(t, harness.DovecotAccount(faultMail(t)))
	dir, p = harness.MountProcess(t, l.Account)
	tripped, _ := l.wire.arm(1_000_000)
	done := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(filepath.Join(dir, largeFile))
		done <- err
	}()
	<-tripped
	return dir, p, l, done
}

// TestUnmountWhileBusy: umount is refused, which harms nobody.
func TestUnmountWhileBusy(t *testing.T) {
	dir, p, l, ended := stuckRead(t)
	umount := exec.Command("fusermount3", "-u", dir)
	if os.Getuid() == 0 {
		umount = exec.Command("umount", dir)
	}
	if out, err := umount.CombinedOutput(); err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("umount says %q, %v; want that the mount is busy", out, err)
	}
	close(l.wire.placed) // the line goes on
	if err := <-ended; err != nil {
		t.Errorf("the read that was under way: %v", err)
	}
	harness.Unmount(t, dir)
	p.EndsWith(t, 0, "")
}

// TestSIGTERMDuringRead ends imapfs under a read that waits for the server.
func TestSIGTERMDuringRead(t *testing.T) {
	dir, p, _, ended := stuckRead(t)
	p.Cmd.Process.Signal(syscall.SIGTERM)
	p.EndsWith(t, 0, "")
	if err := <-ended; err == nil {
		t.Error("the read succeeded without its bytes")
	}
	if harness.IsMounted(t, dir) {
		t.Error("a mount is left behind")
	}
}

// TestServerGoneAtUnmount ends the mount when no LOGOUT can be answered.
func TestServerGoneAtUnmount(t *testing.T) {
	for _, how := range []string{"killed", "silent"} {
		for _, end := range []string{"SIGTERM", "umount"} {
			t.Run(how+", "+end, func(t *testing.T) {
				s := faultMail(t)
				l := newLine(t, harness.DovecotAccount(s))
				dir, p := harness.MountProcess(t, l.Account)
				harness.Read(t, dir, faultFolder, "1", "body.txt")
				if how == "killed" {
					s.Kill()
				} else {
					for _, stream := range []string{"upstream", "downstream"} {
						harness.Must(t, l.disturb("timeout", stream, `"timeout": 0`))
					}
				}
				if end == "SIGTERM" {
					p.Cmd.Process.Signal(syscall.SIGTERM)
				} else {
					harness.Unmount(t, dir)
				}
				p.EndsWith(t, 0, "")
				if harness.IsMounted(t, dir) {
					t.Error("a mount is left behind")
				}
			})
		}
	}
}
