package mounttests

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapfs/commands"
	"imapfs/internal/harness"
)

func TestDaemon(t *testing.T) {
	a := harness.Embedded(t)
	dir := t.TempDir()
	p := harness.Imapfs(t, nil, "--daemon", "--password-command", "echo "+a.Password, "--insecure", a.URL(), dir)
	if code := p.Exit(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.Stderr)
	}
	if !slices.Contains(harness.Names(t, dir), "INBOX") {
		t.Error("nothing is mounted when --daemon returns")
	}
	harness.Unmount(t, dir)

	p = harness.Imapfs(t, nil, "--daemon", "--password-command", "echo wrong", "--insecure", a.URL(), dir)
	p.EndsWith(t, 1, "")
}

// TestInterruptedDaemon ends --daemon while its child waits for the server. The
// child ends too.
func TestInterruptedDaemon(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			harness.Must(t, err)
			defer l.Close()
			dir := t.TempDir()
			p := harness.Imapfs(t, nil, "--daemon", "--password-command", "echo x", "--insecure", "imap://anna@"+l.Addr().String()+"/", dir)
			child, err := l.Accept()
			harness.Must(t, err)
			defer child.Close()
			p.Cmd.Process.Signal(signal)
			if code := p.Exit(t); code != commands.ExitFailed || strings.Count(p.Stderr.String(), "imapfs: interrupted\n") != 1 {
				t.Errorf("exit code %d: %s", code, p.Stderr)
			}
			child.SetReadDeadline(time.Now().Add(harness.Within))
			if n, err := child.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
				t.Errorf("the child goes on: %d bytes, %v", n, err)
			}
			if harness.IsMounted(t, dir) {
				t.Error("something is mounted")
			}
		})
	}
}

// TestRetryDaemon mounts with --retry before the server is there: the command
// returns once it is mounted, or is interrupted.
func TestRetryDaemon(t *testing.T) {
	harness.Need(t, "mount.fuse3")
	a := harness.Embedded(t)
	self := harness.Self(t)
	for _, way := range []string{"daemon", "fstab", "interrupted"} {
		t.Run(way, func(t *testing.T) {
			// A port where nobody listens yet.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			harness.Must(t, err)
			addr := l.Addr().String()
			l.Close()
			dir, source := t.TempDir(), "imap://"+a.User+"@"+addr+"/"
			name, args := self, []string{"--retry", "--daemon", "--insecure", source, dir}
			if way == "fstab" {
				name, args = "mount.fuse3", []string{self + "#" + source, dir, "-o", "_netdev,nofail,retry,daemon,insecure,x-systemd.mount-timeout=infinity"}
			}
			p := harness.Program(t, name, []string{"IMAPFS_PASSWORD=" + a.Password}, args...)
			p.WaitSaid(t, "trying again")
			if p.HasEnded() || harness.IsMounted(t, dir) {
				t.Fatalf("it does not wait: %s", p.Stderr)
			}
			if way == "interrupted" {
				p.Cmd.Process.Signal(syscall.SIGTERM)
				if code := p.Exit(t); code != commands.ExitFailed || harness.IsMounted(t, dir) {
					t.Errorf("exit code %d, mounted: %v: %s", code, harness.IsMounted(t, dir), p.Stderr)
				}
				return
			}
			harness.NewProxyAt(t, a, addr)
			if code := p.Exit(t); code != 0 || !harness.IsMounted(t, dir) {
				t.Fatalf("exit code %d, mounted: %v: %s", code, harness.IsMounted(t, dir), p.Stderr)
			}
			t.Cleanup(func() { harness.Unmount(t, dir) })
			if len(harness.Names(t, filepath.Join(dir, "INBOX"))) == 0 {
				t.Error("the inbox is empty")
			}
		})
	}
}

// TestLogFile has a daemon log to a file, for the user alone.
func TestLogFile(t *testing.T) {
	a := harness.Embedded(t)
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "log")
	p := harness.Imapfs(t, nil, "--daemon", "-v", "--log-file", file, "--password-command", "echo "+a.Password, "--insecure", a.URL(), dir)
	if code := p.Exit(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.Stderr)
	}
	harness.Run(t, "rm", "-r", filepath.Join(dir, "INBOX", harness.FirstUID(t, filepath.Join(dir, "INBOX"))))
	harness.Unmount(t, dir)
	text := string(harness.Read(t, file))
	if !strings.Contains(text, "msg=deleted folder=INBOX") || strings.Contains(text, a.Password) {
		t.Errorf("the log has\n%s", text)
	}
	if strings.Contains(p.Stderr.String(), "level=") {
		t.Errorf("standard error has the log: %s", p.Stderr)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	harness.Must(t, os.Chmod(file, 0o644))
	p = harness.Imapfs(t, nil, "--log-file", file, "--password-command", "echo "+a.Password, "--insecure", a.URL(), dir)
	p.EndsWith(t, commands.ExitFailed, "others may read "+file)
}

// TestNobodyReadsTheLog has the program that reads standard error end before
// imapfs does, which has something to say.
func TestNobodyReadsTheLog(t *testing.T) {
	a := harness.Embedded(t)
	dir := t.TempDir()
	cmd := harness.Command(t, t.TempDir(), "-v", "--insecure", a.URL(), dir)
	cmd.Env = append(cmd.Env, "IMAPFS_PASSWORD="+a.Password)
	log, err := cmd.StderrPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		exec.Command("fusermount3", "-u", "-z", dir).Run()
	})
	for in := bufio.NewScanner(log); in.Scan(); {
		if strings.HasPrefix(in.Text(), "imapfs: mounted ") {
			break
		}
	}
	log.Close()
	inbox := filepath.Join(dir, "INBOX")
	if err := harness.Rmdir(filepath.Join(inbox, harness.FirstUID(t, inbox))); err != nil { // is logged
		t.Error(err)
	}
	if got := harness.Names(t, inbox); len(got) == 0 {
		t.Error("the mount is empty")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || harness.IsMounted(t, dir) {
		t.Errorf("it ends with %v; mounted: %t", err, harness.IsMounted(t, dir))
	}
}
