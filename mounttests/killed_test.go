package mounttests

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapfs/internal/harness"
)

// TestKilled kills imapfs. The next mount says which command clears the mount
// point, and after that command it works.
func TestKilled(t *testing.T) {
	a := harness.Embedded(t)
	dir := t.TempDir()
	env := []string{"IMAPFS_PASSWORD=" + a.Password}
	first := harness.Imapfs(t, env, "--insecure", a.URL(), dir)
	first.WaitMounted(t)
	t.Cleanup(func() { exec.Command("fusermount3", "-u", "-z", dir).Run() })
	f, err := os.Open(filepath.Join(dir, "INBOX", harness.FirstUID(t, filepath.Join(dir, "INBOX")), "body.txt"))
	harness.Must(t, err)
	first.Cmd.Process.Kill()
	first.Exit(t)
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("listing a dead mount: %v, want %v", err, syscall.ENOTCONN)
	}
	f.Close()

	second := harness.Imapfs(t, env, "--insecure", a.URL(), dir)
	second.EndsWith(t, 1, "")
	clear := regexp.MustCompile(`fusermount3 -u \S+`).FindString(second.Stderr.String())
	if clear == "" {
		t.Fatalf("no command in %q", second.Stderr)
	}
	args := strings.Fields(clear)
	harness.Run(t, args[0], args[1:]...)
	third := harness.Imapfs(t, env, "--insecure", a.URL(), dir)
	third.WaitMounted(t)
	if got := harness.Names(t, dir); len(got) == 0 {
		t.Error("the new mount is empty")
	}
	third.Cmd.Process.Signal(syscall.SIGTERM)
	if code := third.Exit(t); code != 0 || harness.IsMounted(t, dir) {
		t.Errorf("exit code %d, mounted: %t", code, harness.IsMounted(t, dir))
	}
}

// A mount that is killed in the moment in which it begins ends, and leaves a
// mount point that can be used again.
func TestKilledAsItMounts(t *testing.T) {
	a := harness.Embedded(t)
	dir := t.TempDir()
	unmount := func() { exec.Command("fusermount3", "-u", "-z", dir).Run() }
	t.Cleanup(unmount)
	for i := range 80 {
		p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + a.Password}, "--insecure", a.URL(), dir)
		for mounted := false; !mounted; {
			mounts, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Skip(err) // not Linux
			}
			mounted = strings.Contains(string(mounts), " "+dir+" fuse.imapfs ")
			select {
			case <-p.Done:
				t.Fatalf("imapfs ended before it had mounted:\n%s", p.Stderr)
			default:
			}
		}
		time.Sleep(time.Duration(i) * 50 * time.Microsecond) // to hit each moment once
		p.Cmd.Process.Kill()
		select {
		case <-p.Done:
		case <-time.After(harness.Within):
			exec.Command("umount", "-f", dir).Run() // ends what it waits for
			t.Fatal("imapfs was killed, and does not end")
		}
		unmount()
	}
}
