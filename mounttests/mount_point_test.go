package mounttests

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imapfs/commands"
	"imapfs/fs"
	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// TestFailures goes through what can go wrong before the mount is there. Each
// ends with its own message and exit code, and leaves no mount.
func TestFailures(t *testing.T) {
	a := harness.Embedded(t)
	cert, key := certificate(t)
	secure := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	closed.Close()
	full := t.TempDir()
	harness.Must(t, os.WriteFile(filepath.Join(full, "file"), nil, 0o600))
	missing := filepath.Join(t.TempDir(), "missing")
	empty := t.TempDir()

	for _, test := range []struct {
		name string
		args []string
		dir  string
		code int
		want string
	}{
		{"wrong password", []string{"--insecure", "--password-command", "echo wrong", a.URL()}, empty, 1, "does not accept the password for " + a.User},
		{"unknown host", []string{"imaps://anna@no-such-host.invalid/"}, empty, 1, "no-such-host.invalid"},
		{"closed port", []string{"imaps://anna@" + closed.Addr().String() + "/"}, empty, 1, "refuses connections"},
		{"self-signed certificate", []string{"imaps://anna@" + secure.TLS + "/"}, empty, 1, "--tls-ca"},
		{"self-signed certificate, STARTTLS", []string{"imap://anna@" + secure.Addr + "/"}, empty, 1, "--tls-ca"},
		{"plain server", []string{a.URL()}, empty, 1, "--insecure"},
		{"plain port, TLS asked", []string{"imaps://anna@" + a.Addr + "/"}, empty, 1, "imap://"},
		{"no such folder", []string{"--insecure", a.URL() + "Nowhere"}, empty, 1, `no folder "Nowhere"`},
		{"missing mount point", []string{"--insecure", a.URL()}, missing, 1, "mkdir -p"},
		{"mount point not empty", []string{"--insecure", a.URL()}, full, 1, "not empty"},
		{"mount point is a file", []string{"--insecure", a.URL()}, filepath.Join(full, "file"), 1, "not a directory"},
		{"CA file missing", []string{"--tls-ca", missing, a.URL()}, empty, 1, "CA"},
		{"password in the URL", []string{"imaps://anna:geheim@example.org/"}, empty, 2, "process list|every user"},
		{"not a URL", []string{"example.org"}, empty, 2, "imaps://"},
		{"unknown flag", []string{"--nonsense", a.URL()}, empty, 2, "--nonsense"},
		{"unknown option", []string{"-o", "nonsense", a.URL()}, empty, 2, "nonsense"},
		{"no time to poll", []string{"--poll", "0s", a.URL()}, empty, 2, "--poll"},
		{"no time to wait", []string{"--timeout", "0s", a.URL()}, empty, 2, "--timeout"},
		{"no connections", []string{"--connections", "0", a.URL()}, empty, 2, "--connections"},
		{"no option", []string{"-o", "help", a.URL()}, empty, 2, "help"},
		{"not our option", []string{"-o", "allow_root", a.URL()}, empty, 2, "allow_root"},
		{"no port", []string{"imaps://anna@example.org:70000/"}, empty, 2, "65535"},
		{"no arguments", nil, "", 2, "SOURCE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.dir != "" {
				args = append(slices.Clip(args), test.dir)
			}
			p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + a.Password}, args...)
			code := p.Exit(t)
			said := p.Stderr.String()
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			found := false
			for want := range strings.SplitSeq(test.want, "|") {
				found = found || strings.Contains(said, want)
			}
			if !found {
				t.Errorf("it said %q, want something with %q", said, test.want)
			}
			said = regexp.MustCompile(`(?m)^imapfs: warning: .*\n`).ReplaceAllString(said, "")
			if test.code == 1 && strings.Count(strings.TrimSpace(said), "\n") > 0 {
				t.Errorf("it said more than one line: %q", said)
			}
			if strings.Contains(said, "geheim") || strings.Contains(said, a.Password) {
				t.Errorf("it told the password: %q", said)
			}
			if test.dir != "" && harness.IsMounted(t, test.dir) {
				t.Error("a mount is left behind")
			}
		})
	}
}

// TestMountPointTaken mounts where a mount is, or is left over from a crash.
func TestMountPointTaken(t *testing.T) {
	a := harness.Embedded(t)
	dir := t.TempDir()
	env := []string{"IMAPFS_PASSWORD=" + a.Password}
	first := harness.Imapfs(t, env, "--insecure", a.URL(), dir)
	first.WaitMounted(t)
	link := filepath.Join(t.TempDir(), "link")
	harness.Must(t, os.Symlink(dir, link))
	t.Cleanup(func() { exec.Command("fusermount3", "-u", "-z", dir).Run() })
	refused := func(want string) {
		t.Helper()
		p := harness.Imapfs(t, env, "--insecure", a.URL(), dir)
		p.EndsWith(t, 1, want)
	}
	refused("mounted on " + dir + " already")
	if err := fs.CheckMountPoint(link); err == nil || !strings.Contains(err.Error(), "mounted on "+link+" already") {
		t.Errorf("by a symbolic link: %v", err)
	}
	first.Cmd.Process.Kill()
	first.Exit(t)
	refused("left over")

	again := harness.Imapfs(t, env, "--insecure", "--force-unmount", a.URL(), dir)
	again.WaitMounted(t)
	if got := harness.Names(t, dir); !slices.Contains(got, "INBOX") {
		t.Errorf("after --force-unmount: %v", got)
	}
	refused("mounted on " + dir + " already")
	alive := harness.Imapfs(t, env, "--insecure", "--force-unmount", a.URL(), dir)
	alive.EndsWith(t, 1, "")
	again.Cmd.Process.Signal(syscall.SIGTERM)
	again.EndsWith(t, 0, "")
}

// TestSymlinkedMountPoint announces the path that fusermount3 -u takes.
func TestSymlinkedMountPoint(t *testing.T) {
	a := harness.EmptyDemo(t)
	link, dir := filepath.Join(t.TempDir(), "link"), t.TempDir()
	harness.Must(t, os.Symlink(dir, link))
	p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + a.Password}, "--insecure", a.URL(), link)
	p.WaitMounted(t)
	// Nor does it name the link to who mounts there once more.
	second := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + a.Password}, "--insecure", a.URL(), link)
	second.EndsWith(t, commands.ExitFailed, "unmount it with: fusermount3 -u "+dir+"\n")
	_, at, _ := strings.Cut(p.Stderr.String(), " at ")
	at, _, _ = strings.Cut(at, "\n")
	harness.Run(t, "fusermount3", "-u", at)
	p.EndsWith(t, 0, "")
}
