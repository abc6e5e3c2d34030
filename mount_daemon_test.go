package main

import (
	"context"
	"log/slog"
	"log/syslog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptedDaemon ends --daemon while its child waits for the server. The
// child ends too.
func TestInterruptedDaemon(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			dir := t.TempDir()
			p := imapfs(t, nil, "--daemon", "--password-command", "echo x", "--insecure", "imap://anna@"+l.Addr().String()+"/", dir)
			child, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer child.Close()
			p.cmd.Process.Signal(signal)
			if code := p.exit(t); code != exitFailed || strings.Count(p.stderr.String(), "imapfs: interrupted\n") != 1 {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}
			child.SetReadDeadline(time.Now().Add(within))
			if n, err := child.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
				t.Errorf("the child goes on: %d bytes, %v", n, err)
			}
			if isMounted(t, dir) {
				t.Error("something is mounted")
			}
		})
	}
}

// TestRetryDaemon mounts with --retry before the server is there: the command
// returns once it is mounted, or is interrupted.
func TestRetryDaemon(t *testing.T) {
	need(t, "mount.fuse3")
	a := embedded(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"daemon", "fstab", "interrupted"} {
		t.Run(way, func(t *testing.T) {
			// A port where nobody listens yet.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			l.Close()
			dir, source := t.TempDir(), "imap://"+a.user+"@"+addr+"/"
			name, args := self, []string{"--retry", "--daemon", "--insecure", source, dir}
			if way == "fstab" {
				name, args = "mount.fuse3", []string{self + "#" + source, dir, "-o", "_netdev,nofail,retry,daemon,insecure,x-systemd.mount-timeout=infinity"}
			}
			p := program(t, name, []string{"IMAPFS_PASSWORD=" + a.password}, args...)
			p.waitSaid(t, "trying again")
			if p.hasEnded() || isMounted(t, dir) {
				t.Fatalf("it does not wait: %s", p.stderr)
			}
			if way == "interrupted" {
				p.cmd.Process.Signal(syscall.SIGTERM)
				if code := p.exit(t); code != exitFailed || isMounted(t, dir) {
					t.Errorf("exit code %d, mounted: %v: %s", code, isMounted(t, dir), p.stderr)
				}
				return
			}
			newProxyAt(t, a, addr)
			if code := p.exit(t); code != 0 || !isMounted(t, dir) {
				t.Fatalf("exit code %d, mounted: %v: %s", code, isMounted(t, dir), p.stderr)
			}
			t.Cleanup(func() { unmount(t, dir) })
			if len(names(t, filepath.Join(dir, "INBOX"))) == 0 {
				t.Error("the inbox is empty")
			}
		})
	}
}

// TestLogFile has a daemon log to a file, for the user alone.
func TestLogFile(t *testing.T) {
	a := embedded(t)
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "log")
	p := imapfs(t, nil, "--daemon", "-v", "--log-file", file, "--password-command", "echo "+a.password, "--insecure", a.url(), dir)
	if code := p.exit(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	run(t, "rm", "-r", filepath.Join(dir, "INBOX", firstUID(t, filepath.Join(dir, "INBOX"))))
	unmount(t, dir)
	text := string(read(t, file))
	if !strings.Contains(text, "msg=deleted folder=INBOX") || strings.Contains(text, a.password) {
		t.Errorf("the log has\n%s", text)
	}
	if strings.Contains(p.stderr.String(), "level=") {
		t.Errorf("standard error has the log: %s", p.stderr)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	p = imapfs(t, nil, "--log-file", file, "--password-command", "echo "+a.password, "--insecure", a.url(), dir)
	if code := p.exit(t); code != exitFailed || !strings.Contains(p.stderr.String(), "others may read "+file) {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// TestSystemLog has the priorities of syslog(3), and neither time nor level
// twice.
func TestSystemLog(t *testing.T) {
	system, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	out, err := syslog.Dial("udp", system.LocalAddr().String(), syslog.LOG_DAEMON|syslog.LOG_INFO, "imapfs")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(newSystemLog(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("folder", "INBOX")
	// Facility 3, daemon, and the severities 7, 6, 4 and 3 (RFC 5424 §6.2.1).
	for level, priority := range map[slog.Level]string{
		slog.LevelDebug: "31", slog.LevelInfo: "30", slog.LevelWarn: "28", slog.LevelError: "27",
	} {
		log.Log(context.Background(), level, "what happens", "uid", 5)
		line := make([]byte, 1000)
		system.SetReadDeadline(time.Now().Add(within))
		n, _, err := system.ReadFrom(line)
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`^<(\d+)>.* imapfs\[\d+\]: msg="what happens" folder=INBOX uid=5\n$`)
		m := want.FindSubmatch(line[:n])
		if m == nil || string(m[1]) != priority {
			t.Errorf("%v: %q", level, line[:n])
		}
	}
}
