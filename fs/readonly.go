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
//
// Many programs that may not write a file unlink it and create it anew (cp -f,
// tar, unzip, vim's :w!). So creating a name that unlink has hidden is refused
// like any other, and brings the name back: it was an overwrite.
type unchangeableDir struct {
	unchangeable
	unhides interface{ unhide(name string) } // the directory, where unlink hides names; else nil
}

// refuse refuses to create name.
func (d *unchangeableDir) refuse(name string) syscall.Errno {
	if d.unhides != nil {
		d.unhides.unhide(name)
	}
	return syscall.EPERM
}

var _ = (gofs.NodeCreater)((*unchangeableDir)(nil))

func (d *unchangeableDir) Create(_ context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, d.refuse(name)
}

var _ = (gofs.NodeMkdirer)((*unchangeableDir)(nil))

func (d *unchangeableDir) Mkdir(_ context.Context, name string, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

var _ = (gofs.NodeMknoder)((*unchangeableDir)(nil))

func (d *unchangeableDir) Mknod(_ context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

var _ = (gofs.NodeSymlinker)((*unchangeableDir)(nil))

func (d *unchangeableDir) Symlink(_ context.Context, _, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

var _ = (gofs.NodeLinker)((*unchangeableDir)(nil))

func (d *unchangeableDir) Link(_ context.Context, _ gofs.InodeEmbedder, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

var _ = (gofs.NodeRenamer)((*unchangeableDir)(nil))

func (*unchangeableDir) Rename(_ context.Context, _ string, to gofs.InodeEmbedder, name string, _ uint32) syscall.Errno {
	if to, ok := to.(interface{ refuse(string) syscall.Errno }); ok {
		return to.refuse(name)
	}
	return syscall.EPERM
}

// Unlink and Rmdir are refused unless a directory says otherwise: left out,
// the library would let them succeed and do nothing.

var _ = (gofs.NodeUnlinker)((*unchangeableDir)(nil))

func (*unchangeableDir) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

var _ = (gofs.NodeRmdirer)((*unchangeableDir)(nil))

func (*unchangeableDir) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }
