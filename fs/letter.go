package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// letterNode is a file that somebody writes into a folder: a message to be, or what a
// program needs for a while.
type letterNode struct{ gofs.Inode }

// Create begins a letter.
func (n *folderNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, n.refuse(name)
}

// moveTo renames the letter to name in the folder that to shows.
func (l *letterNode) moveTo(ctx context.Context, to *folderNode, name string) syscall.Errno {
	return syscall.EPERM
}
