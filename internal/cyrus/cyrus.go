// Package cyrus runs a private Cyrus IMAP for tests: in a temporary directory,
// on loopback, as root or as a normal user. testdata/fetch-cyrus gets the
// program, because Debian does not install it beside Dovecot.
package cyrus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"imapfs/internal/process"
)

// User and Password are accepted by every server.
const (
	User     = "anna"
	Password = "kNock-kn0ck"
)

// Server is a running Cyrus.
type Server struct {
	Addr string // host:port, without TLS
	dir  string
	args []string // the command that runs it
	env  []string // its environment
	cmd  *exec.Cmd
	out  bytes.Buffer // its other words go to syslog
}

var imapdConf = template.Must(template.New("").Parse(`configdirectory: {{.Dir}}/conf
partition-default: {{.Dir}}/spool
defaultpartition: default
cyrus_user: {{.User}}
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {{.Dir}}/sasldb2
sasl_mech_list: PLAIN
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
idlesocket: {{.Dir}}/conf/socket/idle
lmtpsocket: {{.Dir}}/conf/socket/lmtp
notifysocket: {{.Dir}}/conf/socket/notify
expunge_mode: immediate
delete_mode: immediate
{{.Extra}}
`))

var cyrusConf = template.Must(template.New("").Parse(`START {
  recover cmd="{{.Bin}}/ctl_cyrusdb -C {{.Dir}}/imapd.conf -r"
  idled cmd="{{.Bin}}/idled -C {{.Dir}}/imapd.conf"
}
SERVICES {
  imap cmd="{{.Bin}}/imapd -C {{.Dir}}/imapd.conf" listen="{{.Addr}}" prefork=0 proto="tcp4"
}
EVENTS {
}
`))

// ErrNotInstalled is what Run returns where there is no Cyrus.
var ErrNotInstalled = errors.New("cyrus is not there (testdata/fetch-cyrus gets it)")

// Start runs a server until the test ends, and skips the test where Cyrus is
// not there. root is where fetch-cyrus has put it, extra are lines for the end
// of imapd.conf.
func Start(t testing.TB, root string, extra ...string) *Server {
	t.Helper()
	s, err := Run(root, extra...)
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Run starts a server. The caller has to Close it.
func Run(root string, extra ...string) (*Server, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "usr/lib/cyrus/bin/master")); err != nil {
		return nil, ErrNotInstalled
	}
	// Not t.TempDir: its path can be too long for a unix socket.
	dir, err := os.MkdirTemp("", "cyrus")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(root, strings.Join(extra, "\n")); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(root, extra string) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	name := me.Username
	if me.Uid == "0" {
		name = "nobody" // Cyrus does not serve mail as root
	}
	if s.Addr, err = process.FreeAddr(); err != nil {
		return err
	}
	data := map[string]string{"Dir": s.dir, "User": name, "Addr": s.Addr, "Bin": filepath.Join(root, "usr/lib/cyrus/bin"), "Extra": extra}
	for file, t := range map[string]*template.Template{"imapd.conf": imapdConf, "cyrus.conf": cyrusConf} {
		var text bytes.Buffer
		if err := t.Execute(&text, data); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.dir, file), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	for _, d := range []string{"spool", "conf/db", "conf/log", "conf/proc", "conf/socket", "conf/user", "conf/quota", "conf/msg"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			return err
		}
	}
	find := func(patterns ...string) string {
		var all []string
		for _, pattern := range patterns {
			found, _ := filepath.Glob(filepath.Join(root, pattern))
			all = append(all, found...)
		}
		return strings.Join(all, ":")
	}
	env := append(os.Environ(),
		"LD_LIBRARY_PATH="+find("usr/lib/*-linux-gnu", "lib/*-linux-gnu"),
		"SASL_PATH="+find("usr/lib/*-linux-gnu/sasl2"))

	passwd := exec.Command(filepath.Join(root, "usr/sbin/saslpasswd2"), "-p", "-c", "-f", filepath.Join(s.dir, "sasldb2"), User)
	passwd.Env, passwd.Stdin = env, strings.NewReader(Password+"\n")
	if out, err := passwd.CombinedOutput(); err != nil {
		return fmt.Errorf("saslpasswd2: %v: %s", err, out)
	}
	if me.Uid == "0" {
		if out, err := exec.Command("chown", "-R", name, s.dir).CombinedOutput(); err != nil {
			return fmt.Errorf("chown: %v: %s", err, out)
		}
	}

	s.args = []string{filepath.Join(root, "usr/lib/cyrus/bin/master"),
		"-C", filepath.Join(s.dir, "imapd.conf"), "-M", filepath.Join(s.dir, "cyrus.conf"), "-p", filepath.Join(s.dir, "pid"), "-D"}
	s.env = env
	return s.run()
}

// run starts the process and waits until it serves.
func (s *Server) run() error {
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.env, &s.out, &s.out
	if err := process.Start(s.cmd, s.Addr); err != nil {
		return fmt.Errorf("cyrus does not start (%v); its log is in syslog", err)
	}
	return nil
}

// Kill ends the server at once, as a crash of its machine does.
func (s *Server) Kill() { process.Kill(s.cmd) }

// Restart starts a server that was killed again, on the same port and with the
// same mail.
func (s *Server) Restart() error { return s.run() }

// Close stops the server and removes its mail.
func (s *Server) Close() error {
	s.Kill()
	return os.RemoveAll(s.dir)
}
