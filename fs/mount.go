package fs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unicode"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/mountinfo"
)

// Mounted is a file system that the kernel uses.
type Mounted struct {
	fsys   *FS
	dir    string
	server *fuse.Server
}

// Mount mounts fsys on dir. source is what `mount` shows, options are mount
// options (mount(8)). Its errors are plain lines for the user.
func (fsys *FS) Mount(source, dir string, options []string) (*Mounted, error) {
	if err := CheckMountPoint(dir); err != nil {
		return nil, err
	}
	dir, err := resolved(dir)
	if err != nil {
		return nil, fmt.Errorf("mount point %s: %v", dir, err)
	}
	library := slog.NewLogLogger(fsys.log.Handler(), slog.LevelDebug)
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "allow_") }) {
		// Others can get here: the kernel has to check the modes. That makes
		// it ask for the attributes of each directory on a path.
		options = append(slices.Clip(options), "default_permissions")
	}
	server, err := fuse.NewServer(fsys.requests(), dir, &fuse.MountOptions{
		FsName:  source,
		Name:    "imapfs",
		Options: options,
		// Root needs no helper.
		DirectMount: os.Geteuid() == 0,
		// One answer of ENOSYS spares a request for each file that ls -l
		// would ask for security labels.
		DisableXAttrs: true,
		// READDIRPLUS at the beginning of a directory, which is all of a
		// message's; and mmap of files that are read past the page cache
		// (see Open; Linux 6.6).
		ExtraCapabilities: fuse.CAP_READDIRPLUS_AUTO | fuse.CAP_DIRECT_IO_ALLOW_MMAP | noOpendir,
		// Pages stay until they are declared void. Left to itself the
		// kernel asks for attributes before each read, and for a size
		// that is still being found out the reader would have to wait.
		ExplicitDataCacheControl: true,
		Logger:                   library,
	})
	if err == nil {
		go server.Serve()
		// On Linux it is mounted by now. WaitMount opens a file of the mount
		// besides, for programs that read what they serve; killed within that
		// moment, this process would wait for its own answer to FLUSH for
		// ever, and never give back the mount and the cache on disk.
		if runtime.GOOS != "linux" {
			err = server.WaitMount()
		}
	}
	if err != nil {
		return nil, explainMount(dir, err)
	}
	// The library reports its own bugs there.
	log.SetOutput(slog.NewLogLogger(fsys.log.Handler(), slog.LevelWarn).Writer())
	go fsys.notes.run()
	return &Mounted{fsys: fsys, dir: dir, server: server}, nil
}

// requests returns what answers the kernel.
func (fsys *FS) requests() *requests {
	root := folderNumber(fsys.folders.At(nil).Key)
	absent := keep
	return &requests{fsys: fsys, RawFileSystem: gofs.NewNodeFS(fsys.root, &gofs.Options{
		NullPermissions: true,
		RootStableAttr:  &root,
		// What comes is told to the kernel, also where it has asked before.
		NegativeTimeout: &absent,
		Logger:          slog.NewLogLogger(fsys.log.Handler(), slog.LevelDebug),
	})}
}

// Dir is where it is mounted, without symbolic links: fusermount3 -u takes no
// other name.
func (m *Mounted) Dir() string { return m.dir }

// Wait returns when the file system is no longer mounted.
func (m *Mounted) Wait() { m.server.Wait() }

// Close ends what Mount began. It is called after Unmount or
// Wait.
func (m *Mounted) Close() {
	m.fsys.content.Close()
	m.fsys.notes.close()
}

// Unmount takes the mount away. If programs still use it, it goes away for all
// others at once, and for those when they are done or this process ends.
func (m *Mounted) Unmount() error {
	err := m.server.Unmount()
	if err == nil {
		return nil
	}
	m.fsys.log.Info("the mount is in use; detaching it", "error", err)
	return detach(m.dir)
}

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

func explainMount(dir string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
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
