package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestInterruptedPrompt types Ctrl-C where the password is asked for. imapfs
// ends, and what is typed then shows on the terminal.
func TestInterruptedPrompt(t *testing.T) {
	for _, flag := range []string{"--daemon=false", "--daemon"} {
		t.Run(flag, func(t *testing.T) { testInterruptedPrompt(t, flag) })
	}
}

func testInterruptedPrompt(t *testing.T, flag string) {
	control, terminal := openTerminal(t)
	p := newProxy(t, embedded(t))
	cmd := commandOf(t, t.TempDir(), "--insecure", flag, p.url(), t.TempDir())
	cmd.Stdin, cmd.Stderr = terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(within, func() { cmd.Process.Kill() })
	defer kill.Stop()
	out := bufio.NewReader(control)
	said, err := out.ReadString(':')
	if err != nil || !strings.Contains(said, "Password of ") {
		t.Fatalf("it says %q, %v", said, err)
	}
	eventually(t, "nothing that is typed shows", func() bool { return !echoes(t, terminal) })
	if _, err := io.WriteString(control, "\x03"); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if !echoes(t, terminal) {
		t.Error("what is typed does not show any more")
	}
	if n := p.toServer.Load(); n > 0 {
		t.Errorf("%d bytes were sent to the server", n)
	}
	terminal.Close()
	rest, _ := io.ReadAll(out)
	if !strings.Contains(string(rest), "imapfs: interrupted") {
		t.Errorf("it says %q", rest)
	}
}

// echoes tells whether a terminal shows what is typed.
func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// TestTerminatedPasswordCommand ends imapfs while it waits for the password.
func TestTerminatedPasswordCommand(t *testing.T) {
	for _, flag := range []string{"--daemon=false", "--daemon"} {
		t.Run(flag, func(t *testing.T) { testTerminatedPasswordCommand(t, flag) })
	}
}

func testTerminatedPasswordCommand(t *testing.T, flag string) {
	begun := t.TempDir() + "/begun"
	p := imapfs(t, nil, "--insecure", flag, "--password-command", "touch "+begun+"; exec sleep 1000", embedded(t).url(), t.TempDir())
	eventually(t, "the command runs", func() bool { _, err := os.Stat(begun); return err == nil })
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != exitFailed || !strings.Contains(p.stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
