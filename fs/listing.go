package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// listing is an open directory: some named entries, and after them one for
// each UID. The kernel can come back at any offset, also to a listing that was
// made anew meanwhile: so the offset behind a message is made of its UID, and
// nothing is left out or told twice when messages come and go.
type listing struct {
	named    []fuse.DirEntry
	messages messages

	// lookup answers READDIRPLUS; without it an entry is only a name, so that
	// a listing of 100,000 names costs no node each.
	lookup func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno)

	next int // index into named, and on into messages
}

var _ interface {
	gofs.FileReaddirenter
	gofs.FileSeekdirer
	gofs.FileLookuper
} = (*listing)(nil)

// An empty listing has no page that could be declared void, so the kernel would
// keep it for ever. One that may not stay empty has this entry, which programs
// expect anyway and skip.
func dot(id gofs.StableAttr) fuse.DirEntry {
	return fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: id.Ino}
}

// uidOffset is the offset behind the last named entry.
const uidOffset = 1 << 32

func (l *listing) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	var e *fuse.DirEntry
	switch i := l.next - len(l.named); {
	case i < 0:
		named := l.named[l.next]
		named.Off = uint64(l.next + 1)
		e = &named
	case i < len(l.messages.UIDs):
		var errno syscall.Errno
		if e, errno = l.messages.entry(ctx, i); errno != 0 {
			return nil, errno
		}
	default:
		return nil, 0
	}
	l.next++
	return e, 0
}

func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	switch {
	case off >= uidOffset+1<<32:
		return syscall.EINVAL
	case off > uidOffset:
		l.next = len(l.named) + l.messages.After(uint32(off-uidOffset))
	default:
		l.next = int(min(off, uint64(len(l.named))))
	}
	return 0
}

func (l *listing) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if l.lookup == nil {
		return nil, syscall.ENOENT // the library makes that an entry without a node
	}
	return l.lookup(ctx, name, out)
}
