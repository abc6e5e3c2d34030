package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mkdir makes a folder.
func (n *folderNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, n.refuse(name)
}

// removeFolder removes the folder that n shows by this name.
func (n *folderNode) removeFolder(ctx context.Context, name string) syscall.Errno {
	return syscall.EPERM
}

// moveFolder renames the folder that n shows by name, to newName below to.
func (n *folderNode) moveFolder(ctx context.Context, name string, to *folderNode, newName string) syscall.Errno {
	return syscall.EPERM
}
