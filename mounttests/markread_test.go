package mounttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imapfs/internal/harness"
)

// TestMarkRead reads messages in all ways in which programs do. Those that a person's program
// has read alone are marked.
func TestMarkRead(t *testing.T) {
	harness.Need(t, "cat", "grep", "nice", "tail")
	a := harness.EmptyDovecot(t, "")
	c := a.Client(t)
	for i := range 16 {
		harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
	}
	mnt := harness.Mount(t, a, "--mark-read")
	fileManager := filepath.Join(t.TempDir(), "nautilus")
	cat, err := exec.LookPath("cat")
	harness.Must(t, err)
	b, err := os.ReadFile(cat)
	harness.Must(t, err)
	harness.Must(t, os.WriteFile(fileManager, b, 0o700))
	const windows, terminal = "DISPLAY=:9", "terminal"
	start := func(where, script string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = filepath.Join(mnt, "INBOX")
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
			return strings.HasPrefix(v, "DISPLAY=") || strings.HasPrefix(v, "WAYLAND_DISPLAY=")
		}), "NAUTILUS="+fileManager)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		switch where {
		case windows:
			cmd.Env = append(cmd.Env, windows)
		case terminal:
			control, slave := openTerminal(t)
			t.Cleanup(func() { control.Close() })
			cmd.Stdin = slave
			cmd.SysProcAttr.Setctty = true
		}
		harness.Must(t, cmd.Start())
		return cmd
	}
	for where, script := range map[string]string{
		"nobody":       "cat 1/body.txt",
		windows + " ":  "nice cat 2/body.txt",
		windows:        "exec $NAUTILUS 3/body.txt",
		windows + "  ": "grep -r x 4 5 6",
		terminal:       "for i in 7 8; do cat $i/body.txt; done; ls -lR 9; cat 9/headers.txt",
	} {
		if err := start(strings.TrimSpace(where), script).Wait(); err != nil && !strings.Contains(script, "grep") {
			t.Errorf("%s: %v", script, err)
		}
	}
	harness.Must(t, start(terminal, "cat 10/headers.txt 10/body.txt 10/message.eml").Wait())
	harness.Must(t, start(windows, "cat 11/body.txt").Wait())
	harness.Must(t, start(terminal, "cat 12/body.html >/dev/null || cat 12/message.eml").Wait())
	open := start(terminal, "exec tail -f 13/body.txt")
	defer open.Wait()
	defer open.Process.Kill()
	want := []string{"10", "11", "12", "13"}
	seen := func() (uids []string) {
		for _, m := range harness.Messages(t, c, "INBOX") {
			if slices.Contains(m.Flags, `\Seen`) {
				uids = append(uids, fmt.Sprint(m.UID))
			}
		}
		return uids
	}
	harness.Eventually(t, "what was read is marked", func() bool { return len(seen()) >= len(want) })
	if got := seen(); !slices.Equal(got, want) {
		t.Errorf("%q are marked, want %q", got, want)
	}
}
