package fs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Nearly all programs open a file before they ask how long it is. KDE's KIO does not, on
// which Dolphin, Krusader and the file dialogs of KDE are built: it copies as many bytes
// as stat(2) told before (FileProtocol::copy in its file_unix.cpp), and writes a file that
// is cut short if that is too few, and waits for ever if too many. So those that have KIO
// in them are told no estimate, and from the first that comes on the kernel keeps none,
// whoever has asked for it: it would answer them from what it keeps.

// believers knows those programs.
type believers struct {
	came     atomic.Bool // one was here: the kernel may keep no estimate any more
	takeBack sync.Once   // those that it keeps

	mu    sync.Mutex // guards what follows
	since time.Time
	known map[uint32]bool // by thread, since then
}

// A process is looked at again after a while: numbers are given out anew.
const (
	lookAgain   = 10 * time.Second
	mostCallers = 1000
)

// believes tells whether the caller of a request is one of them. Where there is no
// proc(5) nobody is.
func (b *believers) believes(pid uint32) bool {
	if pid == 0 {
		return false
	}
	b.mu.Lock()
	if now := time.Now(); now.Sub(b.since) > lookAgain || len(b.known) > mostCallers {
		b.since, b.known = now, make(map[uint32]bool)
	}
	is, ok := b.known[pid]
	b.mu.Unlock()
	if ok {
		return is
	}
	// Without the lock: it waits while that process changes what it has mapped, and that
	// may wait for a page of ours.
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	is = err == nil && hasKIO(maps) && !counts(pid)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[pid] = is
	return is
}

// counts tells whether the thread is one that counts what is in directories: Dolphin has one, for
// "3 items", which asks for the size of all files in all directories that it shows, and copies
// nothing (KDirectoryContentsCounterWorker; what copies is a process of KIO, or a thread of that name).
// It would load all mail.
func counts(pid uint32) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	switch string(bytes.TrimSpace(name)) {
	case "QThread", "KDirectoryConte": // its first 15 letters, in newer ones
		return err == nil
	}
	return false
}

// hasKIO tells whether KIO's library is among the files that a process has mapped:
// libKF5KIOCore.so.5, libKF6KIOCore.so.6.
func hasKIO(maps []byte) bool { return bytes.Contains(maps, []byte("KIOCore.so")) }

// meets is called for the requests that a program begins with, and by an OPEN, which may
// be the first. It tells whether that was the first of them all.
func (fsys *FS) meets(pid uint32) (first bool) {
	b := &fsys.believers
	if b.came.Load() || fsys.onlyExact.Load() || !b.believes(pid) {
		return false
	}
	b.takeBack.Do(func() {
		first = true
		b.came.Store(true)
		// The request waits for this: it takes no lock that another one could hold,
		// because it is about attributes only, not pages.
		fsys.voidEstimates()
		// An answer with an estimate may have been on its way.
		fsys.notes.later(onTheWay, fsys.voidEstimates)
		fsys.log.Info("a KDE program looks at mail: stat loads a file for it, to tell the exact size")
	})
	return first
}

// wantsExact tells whether the caller of a request must not be told an estimate.
func (fsys *FS) wantsExact(ctx context.Context) bool {
	caller, ok := fuse.FromContext(ctx)
	return fsys.onlyExact.Load() || ok && fsys.believers.came.Load() && fsys.believers.believes(caller.Pid)
}

// keepsEstimates tells whether the kernel may keep an estimated size while nobody has
// the file open. Opening it takes the estimate back by notification, which Linux orders
// with the answers to requests sent before (attr_version in its fs/fuse).
func (fsys *FS) keepsEstimates() bool { return runtime.GOOS == "linux" && !fsys.believers.came.Load() }
