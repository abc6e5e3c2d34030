// Package secret finds the password or the access token. It comes from a place
// that other users of the machine cannot read: never from the command line.
package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// Source says where the password may be. The first one that is set is used.
type Source struct {
	Command string // run by the shell; the first line of its output
	File    string // its first line
	Env     string // name of an environment variable
	Prompt  string // shown on the terminal to ask for it
}

// Password returns the password, or the error of ctx when that ends first. Its
// other errors are plain lines for the user and never hold what was read.
func (s Source) Password(ctx context.Context) (string, error) {
	switch {
	case s.Command != "":
		// In this process group: it may want to ask on the terminal.
		cmd := exec.CommandContext(ctx, "sh", "-c", s.Command)
		cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
		cmd.WaitDelay = time.Second // for what it has started
		out, err := cmd.Output()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			return "", fmt.Errorf("the password command failed (%v); run it by itself to see why", err)
		}
		return firstLine(out, "the password command printed nothing; run it by itself to see why")
	case s.File != "":
		out, err := os.ReadFile(s.File)
		if err != nil {
			return "", fmt.Errorf("cannot read the password file: %v", err)
		}
		return firstLine(out, "the password file "+s.File+" begins with an empty line; the password goes there")
	}
	if password := os.Getenv(s.Env); password != "" {
		return password, nil
	}
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		return s.ask(ctx, fd)
	}
	return "", fmt.Errorf("no password: use --password-command, --password-file, the environment variable %s, or run imapfs on a terminal", s.Env)
}

// ask asks on the terminal. Where signals only end ctx, Ctrl-C does not end the
// read: so that goes on, without anybody waiting for it.
func (s Source) ask(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("cannot read the password from the terminal: %v", err)
	}
	fmt.Fprint(os.Stderr, s.Prompt)
	defer fmt.Fprintln(os.Stderr)
	type line struct {
		text []byte
		err  error
	}
	typed := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		typed <- line{text, err}
	}()
	select {
	case l := <-typed:
		if l.err != nil {
			return "", fmt.Errorf("cannot read the password from the terminal: %v", l.err)
		}
		return firstLine(l.text, "no password was typed")
	case <-ctx.Done():
		term.Restore(fd, before) // what is typed shows again
		return "", ctx.Err()
	}
}

func firstLine(out []byte, empty string) (string, error) {
	line, _, _ := bytes.Cut(out, []byte("\n"))
	password := strings.TrimSuffix(string(line), "\r")
	if password == "" {
		return "", errors.New(empty)
	}
	return password, nil
}

// Again returns what looks for another password in the same place, when the
// server has refused the one from there; nil if there can be no other one. It
// has no terminal: a command that wants to ask fails. Its errors are like those
// of Password.
func (s Source) Again() func(context.Context) (string, error) {
	switch {
	case s.Command != "":
		return func(ctx context.Context) (string, error) { return inBackground(ctx, s.Command, "the password command") }
	case s.File != "":
		return func(ctx context.Context) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, CommandTime)
			defer cancel()
			type answer struct {
				password string
				err      error
			}
			read := make(chan answer, 1)
			go func() { // it may be on a file system that hangs
				password, err := s.Password(ctx)
				read <- answer{password, err}
			}()
			select {
			case a := <-read:
				return a.password, a.err
			case <-ctx.Done():
				return "", fmt.Errorf("the password file %s cannot be read: %w", s.File, context.Cause(ctx))
			}
		}
	}
	return nil
}

// CommandTime is how long a command may take that runs while the mount is in
// use.
const CommandTime = time.Minute

// inBackground runs a command and returns its first line. It has no input, and
// is ended, with all that it has started, after CommandTime or when ctx ends.
func inBackground(ctx context.Context, command, what string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, CommandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // one that has left the group
	out, err := cmd.Output()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("%s did not end within %v; run it by itself to see why", what, CommandTime)
	case err != nil:
		return "", fmt.Errorf("%s failed (%v); run it by itself to see why", what, err)
	}
	return firstLine(out, what+" printed nothing; run it by itself to see why")
}

// Token runs a command that prints an access token on its first line. Its errors
// are plain lines for the user and never hold what was read.
func Token(ctx context.Context, command string) (string, error) {
	token, err := inBackground(ctx, command, "the token command")
	if err != nil {
		return "", err
	}
	// RFC 6750 §2.1. A message for people, or JSON, would go to the server.
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"{}`, r) }) {
		return "", errors.New("what the token command printed is no access token; its first line must be the token and nothing else")
	}
	return token, nil
}
