// Package harness is what the tests share that mount for real: servers with
// mail, imapfs in a process of its own, and what programs see in a mount.
package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imapfs/commands"

	"go.uber.org/goleak"
)

// playImapfs in the environment makes a test binary play imapfs.
const playImapfs = "IMAPFS_TEST_RUN_MAIN"

// exitLeak is the exit code of an imapfs that left goroutines behind.
const exitLeak = 9

// Main is TestMain where tests mount for real. The test binary plays imapfs
// itself, in a process of its own: a process must not read a mount that it
// serves. Whatever a test starts finds that in its environment.
func Main(m *testing.M) {
	if os.Getenv(playImapfs) != "" {
		code := commands.Run()
		if code == 0 {
			code = leaks()
		}
		os.Exit(code)
	}
	os.Setenv(playImapfs, "1")
	// Under the race detector each imapfs would sleep for a second before it
	// ends, so that goroutines left behind can still be caught. There are none,
	// see leaks.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	os.Exit(m.Run())
}

// leaks returns the exit code: however the mount has ended, nothing of it runs
// any more. But while somebody has a file of it open, the kernel keeps it.
func leaks() int {
	err := goleak.Find(
		goleak.IgnoreAnyFunction("github.com/hanwen/go-fuse/v2/fuse.(*fuseFD).readRequest"),
		goleak.IgnoreAnyFunction("github.com/hanwen/go-fuse/v2/fuse.(*Server).Serve"),
		goleak.IgnoreAnyFunction("imapfs/fs.(*Mounted).Wait"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitLeak
	}
	return 0
}

// Process is a running program, imapfs or what starts it.
type Process struct {
	Cmd            *exec.Cmd
	Stdout, Stderr *Lines
	Done           chan struct{} // closed when it has ended
}

// Lines collects what is written to it, and wakes up those who wait for it.
type Lines struct {
	More chan struct{}

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func newLines() *Lines { return &Lines{More: make(chan struct{}, 1)} }

func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.More <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Self is the path of imapfs: that of the test binary.
func Self(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	Must(t, err)
	if os.Getenv(playImapfs) == "" {
		t.Fatal("no TestMain that calls Main: the tests would start themselves again and again")
	}
	return self
}

// Imapfs runs the program, with a cache on disk of its own.
func Imapfs(t *testing.T, env []string, args ...string) *Process {
	t.Helper()
	return Program(t, Self(t), env, args...)
}

// Program runs what may start imapfs.
func Program(t *testing.T, name string, env []string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = slices.Concat(os.Environ(), []string{"XDG_CACHE_HOME=" + t.TempDir()}, env)
	p := &Process{Cmd: cmd, Stdout: newLines(), Stderr: newLines(), Done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	Must(t, cmd.Start())
	go func() {
		cmd.Wait()
		close(p.Done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-p.Done
	})
	return p
}

// Command returns imapfs with these arguments and a cache on disk, not yet
// started.
func Command(t *testing.T, cache string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(Self(t), args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	return cmd
}

// Exit waits for the end of the program and returns its exit code.
func (p *Process) Exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.Done:
	case <-time.After(Within):
		t.Fatalf("imapfs does not end; it said:\n%s", p.Stderr)
	}
	return p.Cmd.ProcessState.ExitCode()
}

// EndsWith waits for the end of the program, and checks its exit code and that
// it has said text.
func (p *Process) EndsWith(t *testing.T, code int, text string) {
	t.Helper()
	if got := p.Exit(t); got != code || !strings.Contains(p.Stderr.String(), text) {
		t.Errorf("exit code %d, want %d; it said %q, want something with %q", got, code, p.Stderr, text)
	}
}

func (p *Process) HasEnded() bool {
	select {
	case <-p.Done:
		return true
	default:
		return false
	}
}

func (p *Process) WaitMounted(t *testing.T) {
	t.Helper()
	p.WaitSaid(t, "imapfs: mounted ")
}

func (p *Process) WaitSaid(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(Within)
	for !strings.Contains(p.Stderr.String(), text) {
		select {
		case <-p.Stderr.More:
		case <-p.Done:
			t.Fatalf("imapfs ended before it said %q:\n%s", text, p.Stderr)
		case <-timeout:
			t.Fatalf("imapfs does not say %q:\n%s", text, p.Stderr)
		}
	}
}

// Unmount ends imapfs, which has to end well.
func (p *Process) Unmount(t *testing.T) {
	t.Helper()
	p.Cmd.Process.Signal(syscall.SIGTERM)
	if code := p.Exit(t); code != 0 {
		t.Fatalf("imapfs ended with code %d:\n%s", code, p.Stderr)
	}
	if s := p.Stderr.String(); strings.Contains(s, "DATA RACE") || strings.Contains(s, "panic") {
		t.Fatalf("imapfs said:\n%s", s)
	}
}

// Said is how a run of imapfs went that mounts nothing.
type Said struct {
	Stdout, Stderr string
	Code           int
}

// RunCommand runs a command of imapfs to its end.
func RunCommand(t *testing.T, cache string, args ...string) Said {
	t.Helper()
	cmd := Command(t, cache, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(Within, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		t.Fatalf("imapfs %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return Said{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// FailsWith checks that a run failed with one line of text.
func (s Said) FailsWith(t *testing.T, code int, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(s.Stderr), "\n")
	if s.Code != code || s.Stdout != "" || !strings.HasPrefix(lines[0], "imapfs: ") || !strings.Contains(lines[0], text) || code == commands.ExitFailed && len(lines) != 1 {
		t.Errorf("got %+v, want code %d and a line with %q", s, code, text)
	}
}
