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
	"time"

	"imapfs/internal/harness"
)

// TestFolderAnswersLost has the line break under the answers to CREATE, RENAME and
// DELETE. All is done once, and the calls succeed.
func TestFolderAnswersLost(t *testing.T) {
	forEachRealServer(t, func(t *testing.T, start func(t *testing.T) server) {
		s := start(t)
		l := newLine(t, s.Account)
		l.resettable(t)
		c := s.Client(t)
		top := s.Top(harness.Mount(t, l.Account, "--connections", "1", "--timeout", "20s"))
		at := func(name string) string { return filepath.Join(top, name) }
		disturbed := func(bytes int64, what string, act func() error) {
			t.Helper()
			tripped, placed := l.wire.arm(bytes)
			done := make(chan error, 1)
			go func() { done <- act() }()
			select {
			case <-tripped:
			case err := <-done:
				t.Errorf("%s: %v before %d bytes came", what, err, bytes)
				l.wire.disarm()
				done <- nil
			}
			for _, stream := range []string{"downstream", "upstream"} {
				harness.Must(t, l.disturb("reset_peer", stream, `"timeout": 0`))
			}
			close(placed)
			l.heal(t)
			if err := <-done; err != nil {
				t.Errorf("%s, cut after %d bytes: %v", what, bytes, err)
			}
		}
		for i, bytes := range []int64{1, 30, 60} {
			name, moved := fmt.Sprint("Lost ", i), fmt.Sprint("Moved ", i)
			disturbed(bytes, "mkdir", func() error { return os.Mkdir(at(name), 0o700) })
			if !has(t, c, s.Mailbox(name)) {
				t.Fatal("it is not there")
			}
			harness.Deliver(t, c, s.Mailbox(name), harness.Letter("carried"), time.Now())
			harness.Names(t, at(name))
			disturbed(bytes, "rename", func() error { return os.Rename(at(name), at(moved)) })
			if has(t, c, s.Mailbox(name)) || len(harness.Messages(t, s.Client(t), s.Mailbox(moved))) != 1 {
				t.Error("it is not in one place")
			}
			if got := harness.Read(t, at(moved), harness.FirstUID(t, at(moved)), "body.txt"); string(got) != "carried\n" {
				t.Errorf("got %q", got)
			}
			harness.Run(t, "rm", "-r", filepath.Join(at(moved), harness.FirstUID(t, at(moved))))
			disturbed(bytes, "rmdir", func() error { return syscall.Rmdir(at(moved)) })
			if has(t, c, s.Mailbox(moved)) {
				t.Error("it is still there")
			}
		}
		if n := len(harness.Messages(t, c, s.Mailbox(faultFolder))); n != faultMessages {
			t.Errorf("%d messages elsewhere", n)
		}
	})
}

// TestFolderAnswersTooLate has the line be silent for longer than a call waits. What
// becomes of it then shows in the mount as on the server, and nothing is there twice.
func TestFolderAnswersTooLate(t *testing.T) {
	forEachRealServer(t, func(t *testing.T, start func(t *testing.T) server) {
		s := start(t)
		l := newLine(t, s.Account)
		c := s.Client(t)
		for _, name := range []string{"Before", "Doomed"} {
			harness.Must(t, c.Create(s.Mailbox(name), nil).Wait())
		}
		harness.Deliver(t, c, s.Mailbox("Before"), harness.Letter("carried"), time.Now())
		top := s.Top(harness.Mount(t, l.Account, "--timeout", "2s", "--poll", "500ms"))
		at := func(name string) string { return filepath.Join(top, name) }
		sh := inShell(t, `cd "$1/Before" && cat 1/body.txt; read x; cat */headers.txt`, top)
		sh.says(t, "carried")
		for _, act := range []func() error{
			func() error { return os.Mkdir(at("Made"), 0o700) },
			func() error { return os.Rename(at("Before"), at("Behind")) },
			func() error { return syscall.Rmdir(at("Doomed")) },
		} {
			// What the server says is held, and then all is silent.
			harness.Must(t, l.disturb("timeout", "downstream", `"timeout": 0`))
			if err := act(); err == nil {
				t.Error("a call succeeds without an answer")
			}
			l.heal(t)
			harness.Eventually(t, "the mount shows what the server has", func() bool {
				names, err := exec.Command("ls", top).Output()
				return err == nil && !slices.ContainsFunc([]string{"Made", "Before", "Behind", "Doomed"}, func(name string) bool {
					_, err := os.Stat(at(name))
					there := has(t, c, s.Mailbox(name))
					return (err == nil) != there || slices.Contains(strings.Fields(string(names)), name) != there
				})
			})
		}
		before, after := has(t, c, s.Mailbox("Before")), has(t, c, s.Mailbox("Behind"))
		if before == after {
			t.Errorf("it is there as Before: %v, and as Behind: %v", before, after)
		}
		sh.goOn(t)
		sh.says(t, "Subject: carried")
	})
}
