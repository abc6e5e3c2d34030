package fs

import (
	"context"
	"strconv"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// listing is an open directory: some named entries, and after them one for
// each UID. It is a snapshot, so that the kernel can come back at any offset.
type listing struct {
	named   []fuse.DirEntry
	uids    []uint32
	numbers numbers // of the messages
	next    int

	// Of a listing that the kernel keeps: a change that came while it was read
	// was told too early to void it.
	fsys    *FS
	folder  string
	changes uint64 // FS.changes before the listing was made
}

var _ = (gofs.FileReaddirenter)((*listing)(nil))

func (l *listing) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	i := l.next
	var e fuse.DirEntry
	switch {
	case i < len(l.named):
		e = l.named[i]
	case i < len(l.named)+len(l.uids):
		uid := l.uids[i-len(l.named)]
		e.Name = strconv.FormatUint(uint64(uid), 10)
		e.Mode = syscall.S_IFDIR
		e.Ino = l.numbers.of(uid, kindMessage, syscall.S_IFDIR).Ino
	default:
		return nil, 0
	}
	l.next++
	e.Off = uint64(l.next)
	return &e, 0
}

var _ = (gofs.FileSeekdirer)((*listing)(nil))

func (l *listing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	if off > uint64(len(l.named)+len(l.uids)) {
		return syscall.EINVAL
	}
	l.next = int(off)
	return 0
}

var _ = (gofs.FileReleasedirer)((*listing)(nil))

func (l *listing) Releasedir(context.Context, uint32) {
	if l.folder != "" && l.fsys.changes.Load() != l.changes {
		l.fsys.notes.add(mail.Change{Folder: l.folder})
	}
}
