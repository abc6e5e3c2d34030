package fs

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// usage is what df shows: file managers ask for it all the time, and counting
// takes a millisecond for a million messages.
type usage struct {
	mu       sync.Mutex // guards what follows
	counted  time.Time
	messages int
	bytes    int64
}

const (
	// usageAge is how old the answer may be.
	usageAge = time.Second
	// freeBytes and freeFiles are free, as far as anybody can tell: IMAP has
	// quotas, but not everywhere. Where nothing is free, file managers refuse
	// to do things, and monitors ring.
	freeBytes = 1000 << 30
	freeFiles = 1_000_000_000
)

func (fsys *FS) used() (messages int, bytes int64) {
	u := &fsys.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); now.Sub(u.counted) > usageAge {
		u.messages, u.bytes = fsys.mail.Usage()
		u.counted = now
	}
	return u.messages, u.bytes
}

// StatFs tells of the messages that are known, whatever node is asked.
func (r *requests) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	r.fsys.meets(in.Pid) // a file manager shows what is free, and asks each time
	messages, bytes := r.fsys.used()
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Bfree = freeBytes / blockSize
	out.Bavail = out.Bfree
	out.Blocks = out.Bfree + uint64(bytes+blockSize-1)/blockSize
	out.Ffree = freeFiles
	out.Files = out.Ffree + uint64(messages)
	return fuse.OK
}
