package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unicode"

	"github.com/moby/sys/mountinfo"
)

// detach takes a mount out of the tree of files at once, whoever uses it.
func detach(dir string) error {
	if os.Geteuid() == 0 && runtime.GOOS == "linux" {
		return exec.Command("umount", "-l", dir).Run()
	}
	return exec.Command("fusermount3", "-u", "-z", dir).Run()
}

// isLeftOver tells whether dir cannot be listed because the program that served
// a mount there has died.
func isLeftOver(dir string) bool {
	// The kernel may still know attributes and listing, but not this.
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED)
}

// ClearLeftOver takes away what mounts whose programs have died have left on
// dir. A mount that is alive stays.
func ClearLeftOver(dir string) error {
	const most = 100 // on top of each other
	for range most {
		if !isLeftOver(dir) {
			return nil
		}
		if err := detach(dir); err != nil {
			return fmt.Errorf("cannot clear %s of a mount whose program has died: %v; try: %s", dir, err, UnmountCommand(dir, true))
		}
	}
	return fmt.Errorf("cannot clear %s of mounts whose programs have died", dir)
}

// resolved is dir without symbolic links: fusermount3 does not mount on one, and
// the kernel lists mounts without them.
func resolved(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real, nil
	}
	return dir, err
}

// UnmountCommand is what to type to unmount dir, also one in use if lazily: its
// real path, because fusermount3 takes no symbolic link, in quotes where a shell
// needs them.
func UnmountCommand(dir string, lazily bool) string {
	real, err := resolved(dir)
	if err != nil {
		real = dir
	}
	// Of a mount whose program has died nothing can be asked, but of the link.
	if target, err := os.Readlink(real); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(real), target)
		}
		real = target
	}
	if strings.ContainsFunc(real, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@:", r)
	}) {
		real = "'" + strings.ReplaceAll(real, "'", `'\''`) + "'"
	}
	if lazily {
		return "fusermount3 -u -z " + real
	}
	return "fusermount3 -u " + real
}

// CheckMountPoint says in plain words why dir cannot be mounted on.
func CheckMountPoint(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("the mount point %s is not a directory", dir)
	}
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(dir)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("the mount point %s does not exist; create it with: mkdir -p %s", dir, dir)
	case isLeftOver(dir):
		return fmt.Errorf("%s is left over from a mount whose program has died; clear it with: %s (or mount with --force-unmount)", dir, UnmountCommand(dir, false))
	case err != nil:
		return fmt.Errorf("cannot use the mount point: %v", err)
	}
	if real, err := resolved(dir); err == nil && isMounted(real) {
		return fmt.Errorf("a mailbox is mounted on %s already; unmount it with: %s", dir, UnmountCommand(dir, false))
	}
	if len(entries) > 0 {
		return fmt.Errorf("the mount point %s is not empty; use an empty directory, what is in it would be hidden", dir)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func explainMount(dir string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist) && exists("/dev/fuse"):
		return errors.New("cannot mount: fusermount3 is missing; install it (Debian and Ubuntu: apt install fuse3; Fedora: dnf install fuse3; Arch: pacman -S fuse3)")
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("cannot mount on %s: this system has no /dev/fuse; load it with: modprobe fuse", dir)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("cannot mount on %s: permission denied; the directory must be yours, and /dev/fuse readable and writable", dir)
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("cannot mount on %s: it is in use", dir)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cannot mount on %s: the kernel does not answer", dir)
	case strings.Contains(err.Error(), "fusermount exited"):
		return fmt.Errorf("cannot mount on %s: fusermount3 has refused; its own line, above, says why", dir)
	}
	return fmt.Errorf("cannot mount on %s: %v", dir, err)
}

// isMounted tells whether imapfs is what was mounted on dir last.
func isMounted(dir string) bool {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != dir, false })
	return err == nil && len(mounts) > 0 && mounts[len(mounts)-1].FSType == "fuse.imapfs"
}
