package mounttests

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imapfs/commands"
	"imapfs/internal/harness"
)

func TestMirrorTells(t *testing.T) {
	_, p := harness.Inbox(t, 100)
	r := harness.NewRemounter(t, p.Account, "--mirror")
	for _, end := range []string{`complete: 101 messages, 1\.\d MiB in \d+\.\ds`, "complete: nothing was missing"} {
		process := r.Mount(t)
		want := regexp.MustCompile(`\nimapfs: mirror: looking for what is missing\n(imapfs: mirror: \d+ of .*\n)*imapfs: mirror ` + end + "\n")
		harness.Eventually(t, "it tells of "+end, func() bool { return want.MatchString(process.Stderr.String()) })
		process.Unmount(t)
	}
}

// A copy of nothing is not what somebody wants who has mistyped a name.
func TestMirrorOfNoFolder(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	for names, want := range map[string]string{
		"inbox":           "--mirror=inbox names no folder; did you mean --mirror=INBOX?",
		"INBOX,Archive/*": "--mirror=Archive/* names no folder",
	} {
		process := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + p.Password}, "--insecure", "--mirror="+names, p.URL(), t.TempDir())
		process.EndsWith(t, commands.ExitFailed, want)
	}
}

func TestMirrorTellsWhyItPauses(t *testing.T) {
	_, p := harness.Inbox(t, 100)
	r := harness.NewRemounter(t, p.Account, "--mirror", "--disk-cache-size", "1K")
	process := r.Mount(t)
	harness.Eventually(t, "it tells that there is no room", func() bool {
		return strings.Contains(process.Stderr.String(), "imapfs: mirror: pausing: INBOX: the cache on disk is too small for all of it; raise --disk-cache-size\n")
	})
	harness.Eventually(t, "the status tells so", func() bool {
		return strings.Contains(harness.RunCommand(t, r.Cache, "status", r.Dir).Stdout, "; pausing: INBOX: the cache on disk is too small")
	})
	process.Unmount(t)
}

// On a terminal there is a bar, which is gone at the end.
func TestMirrorBar(t *testing.T) {
	_, p := harness.Inbox(t, 300)
	r := harness.NewRemounter(t, p.Account, "--mirror")
	control, terminal := openTerminal(t)
	cmd := harness.Command(t, r.Cache, append(r.Flags, r.URL(), r.Dir)...)
	cmd.Env = append(cmd.Env, "IMAPFS_PASSWORD="+r.Password)
	cmd.Stderr = terminal
	harness.Must(t, cmd.Start())
	terminal.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		unix.Unmount(r.Dir, unix.MNT_DETACH)
	})
	timer := time.AfterFunc(harness.Within, func() { cmd.Process.Kill() })
	defer timer.Stop()

	var all strings.Builder
	for in := bufio.NewReader(control); ; {
		line, err := in.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			break // EIO: the program has ended
		}
		if strings.Contains(line, "imapfs: mirror complete: 301 messages") {
			cmd.Process.Signal(os.Interrupt)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%q", err, all.String())
	}
	if strings.Contains(all.String(), "looking for") || !regexp.MustCompile(`\r +[^\n]*\rimapfs: mirror complete: 301 messages, `).MatchString(all.String()) {
		t.Errorf("on the terminal: %q", all.String())
	}
}

// openTerminal returns both sides of a terminal.
func openTerminal(t *testing.T) (control, terminal *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	harness.Must(t, err)
	t.Cleanup(func() { control.Close() })
	n, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0)
	}
	harness.Must(t, err)
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	harness.Must(t, err)
	return control, terminal
}
