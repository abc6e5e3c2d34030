package fs

import (
	"context"
	"runtime"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Where all mail is mirrored each size can be exact at lookup, and nothing is
// left for OPEN to do. Answered with ENOSYS once, the kernel sends neither OPEN
// nor RELEASE for as long as the mount lives, and a file that it has read costs
// one request, the FLUSH of close; none where the mount is only for reading (requests.go).
// It keeps to the sizes that it was told; so before that, all estimates are taken back,
// and none is given out any more: a message that is not there yet is loaded at lookup.

// Write implements gofs.NodeWriter: without OPEN nobody else can say no.
func (*fileNode) Write(context.Context, gofs.FileHandle, []byte, int64) (uint32, syscall.Errno) {
	return 0, syscall.EPERM
}

// spareOpen leads to that. It is called whenever the mirror is complete.
func (fsys *FS) spareOpen() {
	if runtime.GOOS == "linux" && fsys.onlyExact.CompareAndSwap(false, true) {
		fsys.notes.add(fsys.voidEstimates)
		// An answer with an estimate may have been on its way.
		fsys.notes.later(onTheWay, func() {
			fsys.voidEstimates()
			fsys.noOpen.Store(!fsys.opt.MarkRead) // it has to know who reads
		})
	}
}

// voidEstimates takes back all sizes that are not exact.
func (fsys *FS) voidEstimates() { voidEstimates(fsys.root.EmbeddedInode()) }

func voidEstimates(inode *gofs.Inode) {
	for _, child := range inode.Children() {
		if file, ok := child.Operations().(*fileNode); ok {
			child.NotifyContent(-1, 0)
			file.told.void()
		} else {
			voidEstimates(child)
		}
	}
}
