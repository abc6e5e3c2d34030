package mounttests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imapfs/commands"
	"imapfs/internal/harness"
)

func TestCacheCommands(t *testing.T) {
	_, p := harness.Inbox(t, 10)
	r := harness.NewRemounter(t, p.Account, "--mirror")
	other := filepath.Join(r.Cache, "imapfs", "bert@example.org:993")
	process := r.Mount(t)
	harness.Eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.Dir) })
	name := p.User + "@" + strings.ReplaceAll(p.Addr, "/", "%2F")
	harness.Must(t, os.MkdirAll(other, 0o700))
	harness.Must(t, os.WriteFile(filepath.Join(other, "lock"), nil, 0o600))

	var list harness.Said
	harness.Eventually(t, "the mirror is on the disk", func() bool {
		list = harness.RunCommand(t, r.Cache, "cache", "list")
		return strings.Contains(list.Stdout, " MiB  "+name+"  in use by a mount\n")
	})
	if list.Code != 0 || strings.Count(list.Stdout, "\n") != 2 || !strings.Contains(list.Stdout, "  bert@example.org:993\n") {
		t.Errorf("while mounted: %+v", list)
	}
	clear := harness.RunCommand(t, r.Cache, "cache", "clear")
	if clear.Code != commands.ExitFailed || !strings.Contains(clear.Stdout, "of bert@") || strings.Count(clear.Stderr, "\n") != 1 || !strings.Contains(clear.Stderr, name+"; unmount first") {
		t.Errorf("clearing while mounted: %+v", clear)
	}
	if !strings.HasSuffix(string(harness.Read(t, r.Dir, "INBOX/1/body.txt")), "end of 1\n") {
		t.Error("clearing has broken the mount")
	}
	process.Unmount(t)

	list = harness.RunCommand(t, r.Cache, "cache", "list")
	if list.Code != 0 || strings.Count(list.Stdout, "\n") != 1 || !strings.HasSuffix(list.Stdout, "  "+name+"\n") {
		t.Errorf("after the mount: %+v", list)
	}
	clear = harness.RunCommand(t, r.Cache, "cache", "clear", name)
	if clear.Code != 0 || !strings.HasPrefix(clear.Stdout, "removed ") || clear.Stderr != "" {
		t.Errorf("clearing: %+v", clear)
	}
	if left, err := filepath.Glob(filepath.Join(r.Cache, "imapfs", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %s, %v", left, err)
	}
	if again := harness.RunCommand(t, r.Cache, "cache", "list"); again != (harness.Said{}) {
		t.Errorf("afterwards: %+v", again)
	}
}
