package fs

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// told is what the kernel knows of a file's size and content. It keeps to what it
// was told until that is taken back, so what it may be told next depends on it.
type told struct {
	mu     sync.Mutex // guards what follows
	opens  int        // how often the file is open
	size   int64      // the last size, in bytes
	voided bool       // and that the kernel may not believe any more
	given  bool       // the kernel was given the content with OPEN
}

// answer notes the size that the kernel is told, and whether somebody has the file
// open: he wants the truth, and no estimate that is kept.
func (t *told) answer(size int64) (open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size, t.voided = size, false
	return t.opens > 0
}

func (t *told) isOpen() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opens > 0
}

// void notes that the kernel does not believe the size any more.
func (t *told) void() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.voided = true
}

// open notes that the file is opened, whose size is known if exact, and returns the
// flags of the answer. void tells that the kernel has to be told before that its size is
// void, give that it is to be given the content, for the first time, if mayGive.
func (t *told) open(size int64, exact, mayGive bool) (flags uint32, void, give bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opens++ // before the notification: no estimate is given out to keep behind it
	// Nobody knows the size yet, or the kernel was told too much and would put
	// zeros where the file has ended: each read is answered by itself then,
	// until the kernel has asked anew.
	flags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	if !exact || t.size > size {
		flags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	}
	void = !t.voided && (!exact || t.size != size)
	give = mayGive && exact && t.size == size && !t.voided && !t.given
	t.given = t.given || give
	return flags, void, give
}

func (t *told) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opens--
}
