package mounttests

import (
	"bufio"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imapfs/commands"
	"imapfs/internal/harness"
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
	p := harness.NewProxy(t, harness.Embedded(t))
	cmd := harness.Command(t, t.TempDir(), "--insecure", flag, p.URL(), t.TempDir())
	cmd.Stdin, cmd.Stderr = terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	harness.Must(t, cmd.Start())
	kill := time.AfterFunc(harness.Within, func() { cmd.Process.Kill() })
	defer kill.Stop()
	out := bufio.NewReader(control)
	said, err := out.ReadString(':')
	if err != nil || !strings.Contains(said, "Password of ") {
		t.Fatalf("it says %q, %v", said, err)
	}
	harness.Eventually(t, "nothing that is typed shows", func() bool { return !echoes(t, terminal) })
	if _, err := io.WriteString(control, "\x03"); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != commands.ExitFailed {
		t.Errorf("exit code %d, want %d", code, commands.ExitFailed)
	}
	if !echoes(t, terminal) {
		t.Error("what is typed does not show any more")
	}
	if n := p.ToServer.Load(); n > 0 {
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
	harness.Must(t, err)
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
	p := harness.Imapfs(t, nil, "--insecure", flag, "--password-command", "touch "+begun+"; exec sleep 1000", harness.Embedded(t).URL(), t.TempDir())
	harness.Eventually(t, "the command runs", func() bool { _, err := os.Stat(begun); return err == nil })
	p.Cmd.Process.Signal(syscall.SIGTERM)
	p.EndsWith(t, commands.ExitFailed, "interrupted")
}
