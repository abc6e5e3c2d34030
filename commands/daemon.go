package commands

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"imapfs/secret"
)

// daemon is one side of --daemon: the parent, which the user started, asks for
// the password and waits; the child, in a session of its own, does the rest and
// says when the mount is there. Without --daemon there is neither. The child is
// started only once the password is known, which comes by its standard input:
// an environment can be read by others. A byte on its standard output says that
// the mount is there.
type daemon struct{ isParent, isChild bool }

// daemonEnv tells the child what it is.
const daemonEnv = "IMAPFS_DAEMON_CHILD"

// daemonize finds out which side this process is.
func daemonize(wanted bool) daemon {
	isChild := os.Getenv(daemonEnv) != ""
	os.Unsetenv(daemonEnv)
	return daemon{isParent: wanted && !isChild, isChild: isChild}
}

// password finds the password; in the child, it is what the parent has found.
// Without a source there is none: the child runs the token command.
func (d daemon) password(ctx context.Context, source *secret.Source) (string, error) {
	if d.isChild {
		password, err := io.ReadAll(os.Stdin)
		return string(password), err
	}
	if source == nil {
		return "", nil
	}
	return source.Password(ctx)
}

// run starts the child and waits until it has mounted or failed. The child's
// own line on standard error says why it failed. When ctx ends, so does the
// child, also if it has just mounted.
func (d daemon) run(ctx context.Context, password string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), daemonEnv+"=1")
	child.Stdin, child.Stderr = strings.NewReader(password), os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	mounted, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })()
	n, _ := mounted.Read(make([]byte, 1))
	if n == 1 && ctx.Err() == nil {
		return nil
	}
	err = child.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return childFailed{exit}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.New("the background process ended before it had mounted")
}

// ready tells the parent that the mount is there, and leaves its terminal.
func (d daemon) ready() {
	if !d.isChild {
		return
	}
	os.Stdout.Write([]byte{1})
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			unix.Dup2(int(null.Fd()), fd)
		}
		null.Close()
	}
}
