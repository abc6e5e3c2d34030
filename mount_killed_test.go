package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A mount that is killed in the moment in which it begins ends, and leaves a
// mount point that can be used again.
func TestKilledAsItMounts(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	unmount := func() { exec.Command("fusermount3", "-u", "-z", dir).Run() }
	t.Cleanup(unmount)
	for i := range 80 {
		p := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, "--insecure", a.url(), dir)
		for mounted := false; !mounted; {
			mounts, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Skip(err) // not Linux
			}
			mounted = strings.Contains(string(mounts), " "+dir+" fuse.imapfs ")
			select {
			case <-p.done:
				t.Fatalf("imapfs ended before it had mounted:\n%s", p.stderr)
			default:
			}
		}
		time.Sleep(time.Duration(i) * 50 * time.Microsecond) // to hit each moment once
		p.cmd.Process.Kill()
		select {
		case <-p.done:
		case <-time.After(within):
			exec.Command("umount", "-f", dir).Run() // ends what it waits for
			t.Fatal("imapfs was killed, and does not end")
		}
		unmount()
	}
}
