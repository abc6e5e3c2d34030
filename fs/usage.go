package fs

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// usage is what df shows: file managers ask for it all the time, and counting
// takes a millisecond for a million messages.
type usage struct {
	mu      sync.Mutex // guards what follows
	counted time.Time
	last    mail.Usage
}

const (
	// usageAge is how old the answer may be.
	usageAge = time.Second
	// freeBytes and freeFiles are free where the server tells no quota. Where
	// nothing is free, file managers refuse to do things, and monitors ring.
	freeBytes = 1000 << 30
	freeFiles = 1_000_000_000
)

func (fsys *FS) used() mail.Usage {
	u := &fsys.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := time.Now(); now.Sub(u.counted) > usageAge {
		u.last = fsys.mail.Usage()
		u.counted = now
	}
	return u.last
}

// StatFs tells of the user's quota, else of the messages that are known, whatever node is
// asked.
func (r *requests) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	r.fsys.meets(in.Pid) // a file manager shows what is free, and asks each time
	u := r.fsys.used()
	used, free := u.Bytes, int64(freeBytes)
	if q := u.Quota.Bytes; q.Limit > 0 {
		used, free = q.Used, q.Left()
	}
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Bfree = uint64(free) / blockSize
	out.Bavail = out.Bfree
	out.Blocks = out.Bfree + uint64(used+blockSize-1)/blockSize
	used, free = int64(u.Messages), freeFiles
	if q := u.Quota.Messages; q.Limit > 0 {
		used, free = q.Used, q.Left()
	}
	out.Ffree = uint64(free)
	out.Files = out.Ffree + uint64(used)
	return fuse.OK
}
