package harness

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Mount mounts the account and returns the mount point.
func Mount(t *testing.T, a Account, flags ...string) string {
	t.Helper()
	dir, _ := MountProcess(t, a, flags...)
	return dir
}

// MountProcess mounts the account until the test ends.
func MountProcess(t *testing.T, a Account, flags ...string) (string, *Process) {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"--insecure"}, flags...)
	p := Imapfs(t, []string{"IMAPFS_PASSWORD=" + a.Password}, append(args, a.URL(), dir)...)
	p.WaitMounted(t)
	t.Cleanup(func() {
		p.Cmd.Process.Signal(syscall.SIGTERM)
		if code := p.Exit(t); code != 0 && !t.Failed() {
			t.Errorf("imapfs ended with code %d:\n%s", code, p.Stderr)
		}
		if strings.Contains(p.Stderr.String(), "DATA RACE") || strings.Contains(p.Stderr.String(), "panic") {
			t.Errorf("imapfs said:\n%s", p.Stderr)
		}
	})
	return dir, p
}

// IsMounted tells whether something is mounted at dir.
func IsMounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	Must(t, err)
	return bytes.Contains(mounts, []byte(" "+dir+" "))
}

// Unmount unmounts as this user can.
func Unmount(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() == 0 {
		Run(t, "umount", dir)
	} else {
		Run(t, "fusermount3", "-u", dir)
	}
}

// Remounter mounts one account again and again with the same cache on disk.
type Remounter struct {
	Account
	Dir, Cache string
	Flags      []string
}

func NewRemounter(t *testing.T, a Account, flags ...string) *Remounter {
	return &Remounter{Account: a, Dir: t.TempDir(), Cache: t.TempDir(), Flags: append([]string{"--insecure"}, flags...)}
}

func (r *Remounter) Mount(t *testing.T) *Process {
	t.Helper()
	p := Imapfs(t, []string{"IMAPFS_PASSWORD=" + r.Password, "XDG_CACHE_HOME=" + r.Cache}, append(r.Flags, r.URL(), r.Dir)...)
	p.WaitMounted(t)
	t.Cleanup(func() {
		p.Cmd.Process.Kill()
		<-p.Done
		exec.Command("fusermount3", "-u", "-z", r.Dir).Run() // if it is there still
	})
	return p
}
