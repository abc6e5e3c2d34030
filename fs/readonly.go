package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// unchangeable refuses every change but deletions: mail cannot be edited. It
// is part of every node.
type unchangeable struct{}

var _ = (gofs.NodeSetattrer)((*unchangeable)(nil))

func (unchangeable) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EPERM
}

// unchangeableDir refuses new entries too. It is part of every directory.
type unchangeableDir struct{ unchangeable }

var _ = (gofs.NodeCreater)((*unchangeableDir)(nil))

func (unchangeableDir) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EPERM
}

var _ = (gofs.NodeMkdirer)((*unchangeableDir)(nil))

func (unchangeableDir) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

var _ = (gofs.NodeMknoder)((*unchangeableDir)(nil))

func (unchangeableDir) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

var _ = (gofs.NodeSymlinker)((*unchangeableDir)(nil))

func (unchangeableDir) Symlink(context.Context, string, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

var _ = (gofs.NodeLinker)((*unchangeableDir)(nil))

func (unchangeableDir) Link(context.Context, gofs.InodeEmbedder, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

var _ = (gofs.NodeRenamer)((*unchangeableDir)(nil))

func (unchangeableDir) Rename(context.Context, string, gofs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EPERM
}

// Unlink and Rmdir are refused unless a directory says otherwise: left out,
// the library would let them succeed and do nothing.

var _ = (gofs.NodeUnlinker)((*unchangeableDir)(nil))

func (unchangeableDir) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

var _ = (gofs.NodeRmdirer)((*unchangeableDir)(nil))

func (unchangeableDir) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }
