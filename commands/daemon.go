package commands

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"imapfs/secret"
)

// daemon is one side of --daemon: the parent, which the user started, asks for
// the password and waits; the child, in a session of its own, does the rest and
// says when the mount is there. Without --daemon there is neither. The child is
// started only once the password is known, which goes through a pipe: an
// environment can be read by others.
type daemon struct {
	isParent bool

	// The child's ends of two pipes:
	secret *os.File // the password
	status *os.File // a byte when the mount is there
}

// daemonEnv tells the child what it is.
const daemonEnv = "IMAPFS_DAEMON_CHILD"

// daemonize finds out which side this process is.
func daemonize(wanted bool) *daemon {
	if os.Getenv(daemonEnv) == "" {
		return &daemon{isParent: wanted}
	}
	os.Unsetenv(daemonEnv)
	return &daemon{secret: os.NewFile(3, "password"), status: os.NewFile(4, "status")}
}

func (d *daemon) isChild() bool { return d.secret != nil }

// password finds the password; in the child, it is what the parent has found.
// Without a source there is none: the child runs the token command.
func (d *daemon) password(ctx context.Context, source *secret.Source) (string, error) {
	if d.isChild() {
		defer d.secret.Close()
		password, err := io.ReadAll(d.secret)
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
func (d *daemon) run(ctx context.Context, password string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	secretEnd, secret, err := os.Pipe()
	if err != nil {
		return err
	}
	defer secret.Close()
	status, statusEnd, err := os.Pipe()
	if err != nil {
		secretEnd.Close()
		return err
	}
	defer status.Close()
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), daemonEnv+"=1")
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{secretEnd, statusEnd}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	secretEnd.Close()
	statusEnd.Close()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })()
	io.WriteString(secret, password) // if the child has gone, the status tells
	secret.Close()
	n, _ := status.Read(make([]byte, 1))
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
func (d *daemon) ready() {
	if !d.isChild() {
		return
	}
	d.status.Write([]byte{1})
	d.status.Close()
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			unix.Dup2(int(null.Fd()), fd)
		}
		null.Close()
	}
}
