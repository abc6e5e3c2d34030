package commands

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"imapfs/cache"
	"imapfs/content"
	"imapfs/fs"
	"imapfs/imapbackend"
	"imapfs/mail"
)

// serve connects, mounts, and serves until the mount goes away or ctx ends.
func (s *settings) serve(ctx context.Context, cfg imapbackend.Config, source, dir string, d daemon) error {
	leaveProcessors()
	outliveReaders()
	log, last, err := s.logger(d)
	if err != nil {
		return err
	}
	disk, forget, err := s.openDisk(cfg.URL, log)
	if err != nil {
		return err
	}
	defer disk.Close()
	cfg.Store, cfg.Log = disk, log
	if s.traceIMAP != "" {
		file, err := privateFile(s.traceIMAP, "the trace")
		if err != nil {
			return err
		}
		defer file.Close()
		cfg.Trace = file
	}
	backend, err := s.connect(ctx, cfg)
	if err != nil {
		forget() // host or user may be spelled wrong
		return err
	}
	defer backend.Close()

	memory := cache.New(int64(s.cacheSize), disk)
	store := content.New(backend, memory, log)
	about := report{Source: source, Version: version(), Since: time.Now()}
	var fsys *fs.FS
	status := func() []byte { return about.ask(backend, memory, fsys, last).json() }
	options := s.fsOptions(cfg.URL.Folder, status, disk, log)
	if s.notify {
		tell, end := notifyDesktop(log)
		defer end()
		options.Refused = tell
	}
	if fsys, err = fs.New(backend, store, options); err != nil {
		return err
	}
	backend.OnChange(fsys.Changed)
	fsys.Changed(mail.Change{}) // the folders may have changed just before
	mounted, err := fsys.Mount(source, dir, s.mountOptions)
	if err != nil {
		return err
	}
	defer mounted.Close()
	fmt.Fprintf(os.Stderr, "imapfs: mounted %s at %s\n", source, mounted.Dir())
	d.ready()
	if len(s.mirror) > 0 {
		defer s.startMirror(fsys)()
	}
	return untilEnd(ctx, mounted, log)
}

// leaveProcessors leaves half of the processors to those who read the mount.
// Each request wakes this program up; with as many threads as processors the
// runtime then looks for more work on the one that the reader needs in the next
// moment (measured on two processors: a warm grep takes 1.4 times as long).
func leaveProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
}

// outliveReaders has the process go on when whoever reads what is logged has gone
// before the mount does. Without it, the next line would kill imapfs, and leave a dead
// mount.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// connect logs in, and looks whether there are the folders of --mirror.
func (s *settings) connect(ctx context.Context, cfg imapbackend.Config) (*imapbackend.Backend, error) {
	cfg.Timeout, cfg.Poll, cfg.ReadOnly, cfg.Trash, cfg.Version = s.timeout, s.poll, s.readOnly, s.trash, version()
	backend, err := imapbackend.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.checkMirror(backend.Folders()); err != nil {
		backend.Close()
		return nil, err
	}
	return backend, nil
}

func (s *settings) fsOptions(folder string, status func() []byte, keeper fs.Keeper, log *slog.Logger) fs.Options {
	return fs.Options{
		Keeper:   keeper,
		Status:   status,
		Folder:   folder,
		ReadOnly: s.readOnly,
		ShowRaw:  s.showRaw,
		ShowHTML: s.showHTML,
		Names:    s.naming,
		MarkRead: s.markRead,
		UID:      uint32(os.Getuid()),
		GID:      uint32(os.Getgid()),
		Umask:    uint32(s.umask),
		Timeout:  s.timeout,
		Log:      log,
	}
}

// untilEnd waits until the mount has gone, or unmounts it when ctx ends.
func untilEnd(ctx context.Context, mounted *fs.Mounted, log *slog.Logger) error {
	gone := make(chan struct{})
	go func() {
		mounted.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	if err := mounted.Unmount(); err != nil {
		log.Error("cannot unmount", "error", err) // of a daemon nobody else hears
		return fmt.Errorf("cannot unmount %s (%v); use: %s", mounted.Dir(), err, fs.UnmountCommand(mounted.Dir(), true))
	}
	return nil
}
