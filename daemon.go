package main

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
// says when the mount is there. Without --daemon there is neither. The password
// goes through a pipe: an environment can be read by others.
type daemon struct {
	child  *exec.Cmd // the parent's
	secret *os.File  // the password, to or from
	status *os.File  // a byte when the mount is there
	reader *os.File  // the child's end of secret, until it is started
}

// daemonEnv tells the child what it is.
const daemonEnv = "IMAPFS_DAEMON_CHILD"

// daemonize starts the child, or finds out that this process is it.
func daemonize(wanted bool) (*daemon, error) {
	if os.Getenv(daemonEnv) != "" {
		os.Unsetenv(daemonEnv)
		return &daemon{secret: os.NewFile(3, "password"), status: os.NewFile(4, "status")}, nil
	}
	if !wanted {
		return &daemon{}, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	statusRead, statusWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	d := &daemon{child: exec.Command(self, os.Args[1:]...), secret: write, status: statusRead, reader: read}
	d.child.Env = append(os.Environ(), daemonEnv+"=1")
	d.child.Stderr = os.Stderr
	d.child.ExtraFiles = []*os.File{read, statusWrite}
	d.child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return d, nil
}

func (d *daemon) parent() bool { return d.child != nil }

// password finds the password; in the child, it is what the parent has found.
// Without a source there is none: the child runs the token command.
func (d *daemon) password(ctx context.Context, source *secret.Source) (string, error) {
	if d.parent() || d.status == nil {
		if source == nil {
			return "", nil
		}
		password, err := source.Password(ctx)
		if err == nil && d.parent() {
			_, err = io.WriteString(d.secret, password)
		}
		return password, err
	}
	password, err := io.ReadAll(d.secret)
	d.secret.Close()
	return string(password), err
}

// wait runs the child until it has mounted or failed. The child's own line on
// standard error says why it failed.
func (d *daemon) wait() error {
	if d == nil || d.child == nil {
		return nil
	}
	err := d.child.Start()
	d.secret.Close()
	d.reader.Close()
	for _, f := range d.child.ExtraFiles {
		f.Close()
	}
	if err != nil {
		return err
	}
	if n, _ := d.status.Read(make([]byte, 1)); n == 1 {
		return nil
	}
	var exit *exec.ExitError
	if err := d.child.Wait(); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	return errors.New("the background process ended before it had mounted")
}

// ready tells the parent that the mount is there, and leaves its terminal.
func (d *daemon) ready() {
	if d.status == nil {
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
