// Package courier runs a private Courier IMAP for tests: in a temporary
// directory, on loopback, as root or as a normal user. testdata/fetch-courier
// gets the program, because Debian does not install it beside Dovecot.
package courier

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
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
	"time"

	"imapfs/internal/maildir"
	"imapfs/internal/process"
)

// User and Password are accepted by every server.
const (
	User     = "anna"
	Password = "kNock-kn0ck"
)

// Server is a running Courier.
type Server struct {
	Addr string // host:port, without TLS
	dir  string
	args []string // the command that runs it
	env  []string // its environment
	as   *syscall.Credential
	cmd  *exec.Cmd
}

// script starts what Debian's services start, with the settings of Debian's
// package: what checks passwords, what watches directories (which imapd needs to
// lock a folder), and what accepts connections. It runs where the server's files
// are, because there authdaemond and imaplogin look for each other: see
// fetch-courier.
const script = `
rm -f authdaemon/socket
"$ROOT/usr/lib/courier/courier-authlib/authdaemond" &
"$ROOT/usr/libexec/gam_server" --notimeout "$GAM_CLIENT_ID" &
until [ -S authdaemon/socket ]; do sleep 0.02; done
set -a
. "$ROOT/etc/courier/imapd"
. ./settings
exec "$ROOT/usr/sbin/couriertcpd" -address=127.0.0.1 -maxprocs="$MAXDAEMONS" -maxperip="$MAXPERIP" \
  -nodnslookup -noidentlookup "$PORT" \
  "$ROOT/usr/lib/courier/courier/imaplogin" "$ROOT/usr/bin/imapd" Maildir
`

// settings follow those of the package. The package's IDLE looks for news once a
// minute only; without COURIERTLS there is no STARTTLS.
const settings = `
MAXDAEMONS=200
MAXPERIP=200
IMAP_IDLE_TIMEOUT=1
COURIERTLS=
`

// ErrNotInstalled is what Run returns where there is no Courier.
var ErrNotInstalled = errors.New("courier is not there (testdata/fetch-courier gets it)")

// Start runs a server until the test ends, and skips the test where Courier is
// not there. root is where fetch-courier has put it, extra are lines for the end
// of the settings.
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
	if _, err := os.Stat(filepath.Join(root, "usr/bin/imapd")); err != nil {
		return nil, ErrNotInstalled
	}
	// Not t.TempDir: it is not open to another user.
	dir, err := os.MkdirTemp("", "courier")
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
	if me.Uid == "0" { // root's mail is not served
		if me, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(me.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(me.Gid, 10, 32)
	if err != nil {
		return err
	}
	if os.Getuid() == 0 {
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if s.Addr, err = process.FreeAddr(); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}

	for _, d := range []string{"authdaemon", "Maildir/cur", "Maildir/new", "Maildir/tmp"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			return err
		}
	}
	sum := sha256.Sum256([]byte(Password))
	for file, text := range map[string]string{
		"settings":     settings + "PORT=" + port + "\n" + extra + "\n",
		"authdaemonrc": "authmodulelist=authuserdb\nauthmodulelistorig=authuserdb\ndaemons=1\n",
		// A line with a dot ends it.
		"userdb": fmt.Sprintf("%s\tuid=%s|gid=%s|home=%s|mail=%[4]s/Maildir|systempw={SHA256}%s\n.\n",
			User, me.Uid, me.Gid, s.dir, base64.StdEncoding.EncodeToString(sum[:])),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	var libraries []string
	for _, pattern := range []string{"usr/lib", "usr/lib/courier-authlib", "usr/lib/*-linux-gnu", "lib/*-linux-gnu"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		libraries = append(libraries, found...)
	}
	s.env = append(os.Environ(), "ROOT="+root, "GAM_CLIENT_ID="+filepath.Base(s.dir), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))

	// Both the accounts and their passwords are in it.
	for _, db := range []string{"userdb.dat", "userdbshadow.dat"} {
		makedat := exec.Command(filepath.Join(root, "usr/lib/courier/courier-authlib/makedatprog"), "userdb", "tmp", db)
		makedat.Dir, makedat.Env = s.dir, s.env
		if out, err := makedat.CombinedOutput(); err != nil {
			return fmt.Errorf("makedatprog: %v: %s", err, out)
		}
	}
	if err := s.own(s.dir); err != nil {
		return err
	}
	s.args = []string{"sh", "-c", script}
	return s.run()
}

// Deliver puts messages into the inbox before anybody has opened it. Their UIDs
// count from 1, their INTERNALDATEs a day apart from 2001 on.
func (s *Server) Deliver(t testing.TB, messages ...[]byte) {
	t.Helper()
	dir, err := maildir.Deliver(filepath.Join(s.dir, "Maildir"), "INBOX", 24*time.Hour, slices.Values(messages))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.own(dir); err != nil {
		t.Fatal(err)
	}
}

// own gives a directory to the user that Courier runs as.
func (s *Server) own(dir string) error {
	if s.as == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(s.as.Uid), int(s.as.Gid))
	})
}

// run starts the processes and waits until they serve.
func (s *Server) run() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.dir, s.env, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	if err := process.Start(s.cmd, s.Addr); err != nil {
		s.Kill()
		return fmt.Errorf("courier does not start (%v); its log:\n%s", err, s.Log())
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

// Log returns what the server has logged.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
