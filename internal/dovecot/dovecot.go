// Package dovecot runs a private Dovecot for tests and benchmarks: from one
// configuration file, in a temporary directory, on loopback, as root or as a
// normal user.
package dovecot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"imapfs/internal/maildir"
	"imapfs/internal/process"
)

// User and Password are accepted by every server.
const (
	User     = "anna"
	Password = "kNock-kn0ck"
)

// Server is a running Dovecot.
type Server struct {
	Addr string // host:port without TLS, with STARTTLS if there is a certificate
	TLS  string // host:port with TLS, if there is a certificate
	dir  string
	args []string // the command that runs it
	cmd  *exec.Cmd
}

// Options for Start and Run.
type Options struct {
	CertFile, KeyFile string // PEM files; "" for no TLS
	Stored            string // User's password as the server keeps it, like {SHA256}...; "" for Password itself
	Extra             string // lines for the end of the configuration
}

var config = template.Must(template.New("").Parse(`
base_dir = {{.Dir}}/base
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:{{.Dir}}/mail/%u
mail_uid = {{.MailUser}}
mail_gid = {{.MailGroup}}
first_valid_uid = 1
first_valid_gid = 1
default_internal_user = {{.InternalUser}}
default_internal_group = {{.InternalGroup}}
default_login_user = {{.LoginUser}}
mailbox_list_index = yes
{{if .CertFile}}
ssl = yes
ssl_cert = <{{.CertFile}}
ssl_key = <{{.KeyFile}}
{{else}}
ssl = no
{{end}}
disable_plaintext_auth = no
passdb {
  driver = static
  args = password={{.Password}}
}
userdb {
  driver = static
  args = home={{.Dir}}/home/%u
}
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
{{- if .RunAsUser}}
  chroot =
{{- end}}
  inet_listener imap {
    port = {{.Port}}
  }
  inet_listener imaps {
    port = {{.TLSPort}}
    ssl = yes
  }
}
{{- if .RunAsUser}}
service anvil {
  chroot =
}
service stats {
  chroot =
}
{{- end}}
{{.Extra}}
`))

// Compress are Options.Extra for a server that offers COMPRESS=DEFLATE
// (RFC 4978).
const Compress = `
protocol imap {
  mail_plugins = zlib imap_zlib
}
`

// ErrNotInstalled is what Run returns where there is no Dovecot.
var ErrNotInstalled = errors.New("dovecot is not installed (Debian: dovecot-imapd)")

// Start runs a server until the test ends, and skips the test where Dovecot is
// not installed.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Run(o)
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Run starts a server, for other programs than tests. The caller has to Close
// it.
func Run(o Options) (*Server, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	// Not t.TempDir: its path can be too long for a unix socket.
	dir, err := os.MkdirTemp("", "dovecot")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(binary, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Binary is the path of the program.
func Binary() (string, error) {
	for _, name := range []string{"dovecot", "/usr/sbin/dovecot"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotInstalled
}

// start configures the server and starts it.
func (s *Server) start(binary string, o Options) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	tlsPort := "0"
	if o.CertFile != "" {
		if tlsPort, err = freePort(); err != nil {
			return err
		}
	}
	s.Addr, s.TLS = "127.0.0.1:"+port, "127.0.0.1:"+tlsPort
	data := map[string]any{
		"Dir": s.dir, "Password": cmp.Or(o.Stored, Password), "Port": port, "TLSPort": tlsPort,
		"CertFile": o.CertFile, "KeyFile": o.KeyFile, "Extra": o.Extra,
		// As root, Dovecot serves no mail of root's.
		"MailUser": "nobody", "MailGroup": "nogroup", "InternalUser": "dovecot", "InternalGroup": "dovecot", "LoginUser": "dovenull", "RunAsUser": false,
	}
	if me.Uid != "0" {
		for _, k := range []string{"MailUser", "InternalUser", "LoginUser"} {
			data[k] = me.Username
		}
		data["MailGroup"], data["InternalGroup"], data["RunAsUser"] = group.Name, group.Name, true
	}
	var text bytes.Buffer
	if err := config.Execute(&text, data); err != nil {
		return err
	}
	for _, d := range []string{s.dir, s.Maildir(), filepath.Join(s.dir, "home")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "dovecot.conf")
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		return err
	}
	if err := s.own(filepath.Join(s.dir, "mail"), filepath.Join(s.dir, "home")); err != nil {
		return err
	}
	s.args = []string{binary, "-F", "-c", file}
	return s.run()
}

// run starts the process and waits until it serves.
func (s *Server) run() error {
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Stderr = os.Stderr
	s.cmd = cmd
	if err := process.Start(cmd, s.Addr); err != nil {
		return fmt.Errorf("dovecot does not start (%v); its log:\n%s", err, s.Log())
	}
	return nil
}

// Stop ends the server, with its connections.
func (s *Server) Stop() {
	if s.cmd != nil && s.cmd.Process != nil && s.cmd.ProcessState == nil {
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
	}
}

// Kill ends the server at once, as a crash of its machine does.
func (s *Server) Kill() {
	process.Kill(s.cmd)
}

// Kick ends all sessions of the user with BYE, whatever they are doing.
func (s *Server) Kick() error {
	cmd := exec.Command("doveadm", "-c", filepath.Join(s.dir, "dovecot.conf"), "kick", User)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("doveadm kick: %v: %s", err, out)
	}
	return nil
}

// Restart starts a server that was stopped or killed again, on the same port
// and with the same mail.
//
// A Dovecot that was killed leaves its lock files, and waits two minutes before
// it takes them for forgotten.
func (s *Server) Restart() error {
	err := filepath.WalkDir(filepath.Join(s.dir, "mail"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".lock") {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.run()
}

// Close stops the server and removes its mail.
func (s *Server) Close() error {
	s.Stop()
	return os.RemoveAll(s.dir)
}

// Maildir is the directory of the inbox.
func (s *Server) Maildir() string { return filepath.Join(s.dir, "mail", User) }

// Deliver puts messages into the inbox before anybody has opened it. Their UIDs
// count from 1, their INTERNALDATEs a day apart from 2001 on.
func (s *Server) Deliver(t testing.TB, messages ...[]byte) {
	t.Helper()
	if err := s.deliver("INBOX", 24*time.Hour, slices.Values(messages)); err != nil {
		t.Fatal(err)
	}
}

// DeliverTo puts messages into a folder before anybody has opened it. Their
// UIDs count from 1, their INTERNALDATEs an hour apart from 2001 on: Dovecot
// keeps dates up to 2106 only, and a folder may be large.
func (s *Server) DeliverTo(folder string, messages iter.Seq[[]byte]) error {
	return s.deliver(folder, time.Hour, messages)
}

func (s *Server) deliver(folder string, apart time.Duration, messages iter.Seq[[]byte]) error {
	dir, err := maildir.Deliver(s.Maildir(), folder, apart, messages)
	if err != nil {
		return err
	}
	return s.own(dir)
}

// own gives directories to the user that Dovecot serves the mail as.
func (s *Server) own(dirs ...string) error {
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(nobody.Gid)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		err := filepath.WalkDir(d, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, uid, gid)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func freePort() (string, error) {
	addr, err := process.FreeAddr()
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	return port, err
}
