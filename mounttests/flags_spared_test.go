package mounttests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"imapfs/internal/harness"
)

// TestFlagsWhereOpenIsSpared changes flags where the kernel sends no OPEN any more, and no
// RELEASE.
func TestFlagsWhereOpenIsSpared(t *testing.T) {
	a := harness.EmptyDemo(t)
	c := a.Client(t)
	harness.Must(t, c.Create("Trash", nil).Wait())
	for i := range 2 {
		harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
	}
	r := harness.NewRemounter(t, a, "--mirror")
	process := r.Mount(t)
	dir := filepath.Join(r.Dir, "INBOX", "1")
	harness.Eventually(t, "OPEN is spared", func() bool { return mirrorOf(t, r.Dir).Spared })
	harness.Read(t, dir, "body.txt")
	for _, s := range []struct{ script, want string }{
		{"echo +Seen +Flagged >flags", "Seen Flagged"},
		{"echo -Seen >flags", "Flagged"},
		{"echo Answered >>flags", "Flagged Answered"},
		{"{ (echo -Flagged); (echo +Draft); } >flags", "Answered Draft"},
		{"exec 3>flags; (echo -Draft >&3); (echo +work >&3)", "Answered work"},
		{"(sleep 0.2; echo +late) >flags & exec >/dev/null; wait", "Answered late work"},
		{"echo >flags", ""},
	} {
		cmd := exec.Command("bash", "-c", s.script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s.script, err, out)
		}
		if got := flagsOf(t, c, "INBOX", 1); got != s.want {
			t.Errorf("%s: the server has %q, want %q", s.script, got, s.want)
		}
		if got := string(harness.Read(t, dir, "flags")); got != s.want+"\n" {
			t.Errorf("%s: the mount has %q, want %q", s.script, got, s.want)
		}
	}
	if said := harness.RunCommand(t, t.TempDir(), "flag", "+Seen", dir, filepath.Join(r.Dir, "INBOX", "2")); said.Code != 0 {
		t.Errorf("%+v", said)
	}
	if got := flagsOf(t, c, "INBOX", 2); got != "Seen" {
		t.Errorf("the server has %q", got)
	}
	harness.Run(t, "gio", "trash", dir)
	info := filepath.Join(r.Dir, fmt.Sprint(".Trash-", os.Getuid()), "info", "1.trashinfo")
	if b, err := os.ReadFile(info); err != nil || len(b) == 0 {
		t.Errorf("%q, %v", b, err)
	}
	process.Unmount(t)
}
