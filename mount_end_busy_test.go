package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A mount that ends while it is used, or while its server is away.

func isMounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(mounts, []byte(" "+dir+" "))
}

// stuckRead mounts, and reads a file that the line holds back. The channel
// brings what the read comes to.
func stuckRead(t *testing.T) (dir string, p *process, l *line, ended <-chan error) {
	t.Helper()
	l = newLine(t, serverAccount(faultMail(t)))
	dir, p = mountProcess(t, l.account)
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
	unmount(t, dir)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// TestSIGTERMDuringRead ends imapfs under a read that waits for the server.
func TestSIGTERMDuringRead(t *testing.T) {
	dir, p, _, ended := stuckRead(t)
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if err := <-ended; err == nil {
		t.Error("the read succeeded without its bytes")
	}
	if isMounted(t, dir) {
		t.Error("a mount is left behind")
	}
}

// TestKilled kills imapfs. The next mount says which command clears the mount
// point, and after that command it works.
func TestKilled(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	env := []string{"IMAPFS_PASSWORD=" + a.password}
	first := imapfs(t, env, "--insecure", a.url(), dir)
	first.waitMounted(t)
	t.Cleanup(func() { exec.Command("fusermount3", "-u", "-z", dir).Run() })
	f, err := os.Open(filepath.Join(dir, "INBOX", firstUID(t, filepath.Join(dir, "INBOX")), "body.txt"))
	if err != nil {
		t.Fatal(err)
	}
	first.cmd.Process.Kill()
	first.exit(t)
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("listing a dead mount: %v, want %v", err, syscall.ENOTCONN)
	}
	f.Close()

	second := imapfs(t, env, "--insecure", a.url(), dir)
	if code := second.exit(t); code != 1 {
		t.Errorf("exit code %d over a dead mount", code)
	}
	clear := regexp.MustCompile(`fusermount3 -u \S+`).FindString(second.stderr.String())
	if clear == "" {
		t.Fatalf("no command in %q", second.stderr)
	}
	args := strings.Fields(clear)
	run(t, args[0], args[1:]...)
	third := imapfs(t, env, "--insecure", a.url(), dir)
	third.waitMounted(t)
	if got := names(t, dir); len(got) == 0 {
		t.Error("the new mount is empty")
	}
	third.cmd.Process.Signal(syscall.SIGTERM)
	if code := third.exit(t); code != 0 || isMounted(t, dir) {
		t.Errorf("exit code %d, mounted: %t", code, isMounted(t, dir))
	}
}

// TestServerGoneAtUnmount ends the mount when no LOGOUT can be answered.
func TestServerGoneAtUnmount(t *testing.T) {
	for _, how := range []string{"killed", "silent"} {
		for _, end := range []string{"SIGTERM", "umount"} {
			t.Run(how+", "+end, func(t *testing.T) {
				s := faultMail(t)
				l := newLine(t, serverAccount(s))
				dir, p := mountProcess(t, l.account)
				read(t, dir, faultFolder, "1", "body.txt")
				if how == "killed" {
					s.Kill()
				} else {
					for _, stream := range []string{"upstream", "downstream"} {
						if err := l.disturb("timeout", stream, `"timeout": 0`); err != nil {
							t.Fatal(err)
						}
					}
				}
				if end == "SIGTERM" {
					p.cmd.Process.Signal(syscall.SIGTERM)
				} else {
					unmount(t, dir)
				}
				if code := p.exit(t); code != 0 {
					t.Errorf("exit code %d: %s", code, p.stderr)
				}
				if isMounted(t, dir) {
					t.Error("a mount is left behind")
				}
			})
		}
	}
}
