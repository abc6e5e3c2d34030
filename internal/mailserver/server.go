// Package mailserver runs the mail servers of the tests and of the benchmark:
// each from a temporary directory, in a process group of its own, on a port of
// loopback that was free, started by root or by a normal user. What is special
// about one server is in the packages dovecot, cyrus and courier.
package mailserver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// User and Password are accepted by every server.
const (
	User     = "anna"
	Password = "kNock-kn0ck"
)

// ErrNotInstalled is in the errors for servers that are not there.
var ErrNotInstalled = errors.New("not installed")

// Server is a server that runs, or that has been stopped.
type Server struct {
	Addr  string     // host:port of IMAP, without TLS
	Dir   string     // with all its files
	Inbox string     // the inbox, where that is a Maildir (Maildir++)
	Owner *user.User // of the mail: who runs the test; nobody if that is root, because servers serve no mail of root's

	Args    []string // the command that runs it
	Env     []string // its environment; nil for that of this process
	AsOwner bool     // root, too, runs it as Owner
	cmd     *exec.Cmd
}

// Run starts a server. configure, which gets one with Addr, Dir and Owner, sets
// the rest and writes the server's files. The caller has to Close the server.
func Run(name string, configure func(*Server) error) (*Server, error) {
	// Not t.TempDir: it is not open to another user, and its path can be too
	// long for a unix socket.
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir}
	if err := s.start(configure); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(configure func(*Server) error) (err error) {
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return err
	}
	if s.Owner, err = user.Current(); err == nil && s.Owner.Uid == "0" {
		s.Owner, err = user.Lookup("nobody")
	}
	if err != nil {
		return err
	}
	if s.Addr, err = FreeAddr(); err != nil {
		return err
	}
	if err := configure(s); err != nil {
		return err
	}
	return s.Restart()
}

// StartUnpacked runs a server that testdata/fetch-NAME has put into root, until the
// test ends, and skips the test where its program is not there. configure is as for
// Run, with root made absolute.
func StartUnpacked(t testing.TB, name, root, program string, configure func(s *Server, root string) error) *Server {
	t.Helper()
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, program)); err != nil {
		return ForTest(t, &Server{}, fmt.Errorf("%s is %w (testdata/fetch-%s gets it)", name, ErrNotInstalled, name))
	}
	s, err := Run(name, func(s *Server) error { return configure(s, root) })
	return ForTest(t, s, err)
}

// ForTest takes what has started a server, and ends the server with the test. It
// skips the test where the server is not installed.
func ForTest[S interface{ Close() error }](t testing.TB, s S, err error) S {
	t.Helper()
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Write makes directories and writes files below the server's directory.
func (s *Server) Write(dirs []string, files map[string]string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Tool runs a program that comes with the server, as the server is run.
func (s *Server) Tool(stdin, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.Dir, s.Env, strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %v: %s", filepath.Base(path), err, out)
	}
	return nil
}

// Paths finds what the server's programs need below root, where it was unpacked,
// as the value of a variable like LD_LIBRARY_PATH.
func Paths(root string, patterns ...string) string {
	var all []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		all = append(all, found...)
	}
	return strings.Join(all, ":")
}

// Own gives directories, with all in them, to Owner.
func (s *Server) Own(dirs ...string) error {
	if os.Getuid() != 0 {
		return nil
	}
	uid, gid, err := s.ownerIDs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, uid, gid)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) ownerIDs() (uid, gid int, err error) {
	uid, err1 := strconv.Atoi(s.Owner.Uid)
	gid, err2 := strconv.Atoi(s.Owner.Gid)
	return uid, gid, errors.Join(err1, err2)
}

// Restart starts a server that was stopped or killed again, on the same port
// and with the same mail, and waits until it serves.
func (s *Server) Restart() error {
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.Args[0], s.Args[1:]...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = s.Dir, s.Env, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.AsOwner && os.Getuid() == 0 {
		uid, gid, err := s.ownerIDs()
		if err != nil {
			return err
		}
		s.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := startAndGreet(s.cmd, s.Addr); err != nil {
		s.Kill()
		return fmt.Errorf("%s does not start (%v); its log:\n%s", filepath.Base(s.Args[0]), err, s.Log())
	}
	return nil
}

func (s *Server) runs() bool {
	return s.cmd != nil && s.cmd.Process != nil && s.cmd.ProcessState == nil
}

// Stop ends the server, with its connections, as a service is stopped.
func (s *Server) Stop() {
	if s.runs() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
	}
}

// Kill ends the server and all that it has started at once, as a crash of its
// machine does.
func (s *Server) Kill() {
	if s.runs() {
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		s.cmd.Wait()
	}
}

// Close ends the server and removes its mail.
func (s *Server) Close() error {
	s.Kill()
	return os.RemoveAll(s.Dir)
}

// Log returns what the server has logged, but for what is in the system's log.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}
