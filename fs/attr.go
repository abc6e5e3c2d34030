package fs

import (
	"runtime"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// keep is how long the kernel may keep what does not change, and what it will
// be told of when it does. It has to be finite; an hour is as good as for ever.
const keep = time.Hour

// keepEstimates says that the kernel may keep an estimated size while nobody
// has the file open. Opening it takes the estimate back by notification, which
// Linux orders with the answers to requests sent before (attr_version in its
// fs/fuse).
const keepEstimates = runtime.GOOS == "linux"

const blockSize = 4096

// fill sets the attributes that all nodes have. perm is what the kind of node
// could allow at most.
func (fsys *FS) fill(out *fuse.Attr, id gofs.StableAttr, date time.Time, size int64) {
	perm := uint32(0666)
	if id.Mode == syscall.S_IFDIR {
		perm = 0777
	}
	if fsys.opt.ReadOnly {
		perm &^= 0222
	}
	out.Ino = id.Ino
	out.Mode = id.Mode | perm&^fsys.opt.Umask
	out.Nlink = 1 // 1 for a directory means that nobody counts (find relies on 2 + subdirectories)
	out.Owner = fuse.Owner{Uid: fsys.opt.UID, Gid: fsys.opt.GID}
	out.Size = uint64(size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = blockSize
	out.SetTimes(&date, &date, &date)
}
