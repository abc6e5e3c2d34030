package fs

import (
	"sync"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// hideFor is how long an unlinked name stays away: longer than an rm -r needs
// from a file to the directory of its message.
const hideFor = time.Minute

// hidden is the names in a directory that unlink has taken away for a while. A
// message cannot lose a part of itself, but rm -r has to get on to the message.
// The zero value is the empty set.
type hidden struct {
	mu    sync.Mutex // guards what follows
	until map[string]time.Time
	timer *time.Timer // runs expire; nil if nothing is hidden
	void  func()      // declares the kernel's listing of the directory void
}

// hide hides a name in dir. The kernel drops it by itself after an unlink, and
// is given no answer to keep about a name that is hidden; only when names come
// back it has to be told that the listing has changed.
func (fsys *FS) hide(dir *gofs.Inode, h *hidden, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.until = make(map[string]time.Time)
		h.void = func() {
			void := func() { dir.NotifyContent(0, 0) }
			fsys.notes.add(void)
			fsys.notes.later(onTheWay, void)
		}
	}
	h.until[name] = time.Now().Add(hideFor)
	if h.timer == nil {
		h.timer = time.AfterFunc(hideFor, h.expire)
	}
}

// has tells whether a name is hidden.
func (h *hidden) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.until[name])
}

// any tells whether any name is hidden.
func (h *hidden) any() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.until) > 0
}

// show brings a name back if it is hidden.
func (h *hidden) show(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.until[name]; ok {
		delete(h.until, name)
		h.settle()
		h.void()
	}
}

// showAll brings all names back.
func (h *hidden) showAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.until) > 0 {
		clear(h.until)
		h.settle()
		h.void()
	}
}

// expire brings back those names whose time is over.
func (h *hidden) expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, next, before := time.Now(), time.Duration(0), len(h.until)
	for name, until := range h.until {
		if left := until.Sub(now); left <= 0 {
			delete(h.until, name)
		} else if next == 0 || left < next {
			next = left
		}
	}
	if h.timer != nil && next > 0 {
		h.timer.Reset(next)
	}
	h.settle()
	if len(h.until) < before {
		h.void()
	}
}

// settle ends the timer when nothing is hidden any more. It is called with h.mu
// held.
func (h *hidden) settle() {
	if h.timer != nil && len(h.until) == 0 {
		h.timer.Stop()
		h.timer = nil
	}
}
