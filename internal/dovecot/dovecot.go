// Package dovecot runs a private Dovecot for tests and benchmarks, from one
// configuration file.
package dovecot

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"imapfs/internal/mailserver"
)

// User and Password are accepted by every server.
const (
	User     = mailserver.User
	Password = mailserver.Password
)

// Server is a running Dovecot. With a certificate, Addr has STARTTLS.
type Server struct {
	*mailserver.Server
	TLS string // host:port with TLS, if there is a certificate
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

// Start runs a server until the test ends, and skips the test where Dovecot is
// not installed.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Run(o)
	return mailserver.ForTest(t, s, err)
}

// Run starts a server, for other programs than tests. The caller has to Close
// it.
func Run(o Options) (*Server, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	s := &Server{}
	s.Server, err = mailserver.Run("dovecot", func(base *mailserver.Server) error {
		s.Server = base
		return s.configure(binary, o)
	})
	if err != nil {
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
	return "", fmt.Errorf("dovecot is %w (Debian: dovecot-imapd)", mailserver.ErrNotInstalled)
}

// configure writes the configuration of the server, which then starts by it.
func (s *Server) configure(binary string, o Options) error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	tlsPort := "0"
	if o.CertFile != "" {
		if s.TLS, err = mailserver.FreeAddr(); err != nil {
			return err
		}
		_, tlsPort, _ = net.SplitHostPort(s.TLS)
	}
	group, err := user.LookupGroupId(s.Owner.Gid)
	if err != nil {
		return err
	}
	data := map[string]any{
		"Dir": s.Dir, "Password": cmp.Or(o.Stored, Password), "Port": port, "TLSPort": tlsPort,
		"CertFile": o.CertFile, "KeyFile": o.KeyFile, "Extra": o.Extra, "MailUser": s.Owner.Username, "MailGroup": group.Name,
		"InternalUser": s.Owner.Username, "InternalGroup": group.Name, "LoginUser": s.Owner.Username, "RunAsUser": true,
	}
	if os.Getuid() == 0 {
		data["InternalUser"], data["InternalGroup"], data["LoginUser"], data["RunAsUser"] = "dovecot", "dovecot", "dovenull", false
	}
	var text bytes.Buffer
	if err := config.Execute(&text, data); err != nil {
		return err
	}
	if err := s.Write([]string{"mail/" + User, "home"}, map[string]string{"dovecot.conf": text.String()}); err != nil {
		return err
	}
	s.Inbox = s.file("mail/" + User)
	s.Args = []string{binary, "-F", "-c", s.file("dovecot.conf")}
	return s.Own(s.file("mail"), s.file("home"))
}

func (s *Server) file(name string) string { return filepath.Join(s.Dir, name) }

// Maildir is the directory of the inbox.
func (s *Server) Maildir() string { return s.Inbox }

// Kick ends all sessions of the user with BYE, whatever they are doing.
func (s *Server) Kick() error {
	return s.Tool("", "doveadm", "-c", s.file("dovecot.conf"), "kick", User)
}

// Restart starts a server that was stopped or killed again, on the same port
// and with the same mail.
//
// A Dovecot that was killed leaves its lock files, and waits two minutes before
// it takes them for forgotten.
func (s *Server) Restart() error {
	err := filepath.WalkDir(s.file("mail"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".lock") {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.Server.Restart()
}

// Close stops the server and removes its mail.
func (s *Server) Close() error {
	s.Stop()
	return s.Server.Close()
}
