// Package dovecot runs a private Dovecot for tests: from one configuration
// file, in a temporary directory, on loopback, as root or as a normal user.
package dovecot

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
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
	cmd  *exec.Cmd
}

// Options for Start.
type Options struct {
	CertFile, KeyFile string // PEM files; "" for no TLS
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

// Start runs a server until the test ends, and skips the test where Dovecot is
// not installed.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	binary, err := exec.LookPath("dovecot")
	if err != nil {
		binary, err = exec.LookPath("/usr/sbin/dovecot")
	}
	if err != nil {
		t.Skip("dovecot is not installed (Debian: dovecot-imapd)")
	}
	// Not t.TempDir: its path can be too long for a unix socket.
	dir, err := os.MkdirTemp("", "dovecot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{dir: dir}

	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	port, tlsPort := freePort(t), "0"
	if o.CertFile != "" {
		tlsPort = freePort(t)
	}
	s.Addr, s.TLS = "127.0.0.1:"+port, "127.0.0.1:"+tlsPort
	data := map[string]any{
		"Dir": dir, "Password": Password, "Port": port, "TLSPort": tlsPort,
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
		t.Fatal(err)
	}
	for _, d := range []string{dir, s.Maildir(), filepath.Join(dir, "home")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(dir, 0o755)
	file := filepath.Join(dir, "dovecot.conf")
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(binary, "-F", "-c", file)
	t.Cleanup(s.Stop)
	s.own(t)
	s.run(t)
	return s
}

// run starts the process and waits until it accepts connections.
func (s *Server) run(t testing.TB) {
	t.Helper()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range 500 {
		if c, err := net.Dial("tcp", s.Addr); err == nil {
			c.Close()
			return
		}
		<-ticker.C
	}
	t.Fatalf("dovecot does not start; its log:\n%s", s.Log())
}

// Stop ends the server, with its connections.
func (s *Server) Stop() {
	if s.cmd.Process != nil && s.cmd.ProcessState == nil {
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
	}
}

// Maildir is the directory of the inbox.
func (s *Server) Maildir() string { return filepath.Join(s.dir, "mail", User) }

// Deliver puts messages into the inbox before anybody has opened it. Their UIDs
// count from 1, their INTERNALDATEs a day apart from 2001 on.
func (s *Server) Deliver(t testing.TB, messages ...[]byte) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.Maildir(), sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC)
	for i, m := range messages {
		date := start.AddDate(0, 0, i)
		file := filepath.Join(s.Maildir(), "cur", fmt.Sprintf("%d.M%d.test:2,", date.Unix(), i))
		if err := os.WriteFile(file, m, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, date, date); err != nil {
			t.Fatal(err)
		}
	}
	s.own(t)
}

// own gives the mail to the user that Dovecot serves it as.
func (s *Server) own(t testing.TB) {
	if os.Getuid() != 0 {
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	for _, d := range []string{"mail", "home"} {
		err := filepath.Walk(filepath.Join(s.dir, d), func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, uid, gid)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Log returns what the server has logged.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
