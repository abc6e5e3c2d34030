package fs

import (
	"fmt"
	"log"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
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
	server, err := fuse.NewServer(fsys.requests(), dir, fsys.mountOptions(source, options))
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

func (fsys *FS) mountOptions(source string, options []string) *fuse.MountOptions {
	if slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "allow_") }) {
		// Others can get here: the kernel has to check the modes. That makes
		// it ask for the attributes of each directory on a path.
		options = append(slices.Clip(options), "default_permissions")
	}
	kind := "imapfs"
	options = slices.DeleteFunc(slices.Clone(options), func(o string) bool {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "fsname":
			source = value
		case "subtype":
			kind = value
		default:
			return false
		}
		return true
	})
	return &fuse.MountOptions{
		FsName:  source,
		Name:    kind,
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
		Logger:                   slog.NewLogLogger(fsys.log.Handler(), slog.LevelDebug),
	}
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
	m.fsys.readers.close()
	m.fsys.letters.close()
	m.fsys.content.Close()
	m.fsys.notes.close()
	m.fsys.failures.close()
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
