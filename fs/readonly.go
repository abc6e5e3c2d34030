package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
)

// unchangeableDir refuses every change but deletions: mail cannot be edited. It is part of
// every directory.
//
// Many programs that may not write a file unlink it and create it anew (cp -f,
// tar, unzip, vim's :w!). So creating a name that unlink has hidden is refused
// like any other, and brings the name back: it was an overwrite.
type unchangeableDir struct {
	// Of a directory in a message, or the message's own; else nil and nothing:
	message *messageNode
	kind    content.Kind // kindMessage or kindAttachments
}

var _ interface {
	gofs.NodeSetattrer
	gofs.NodeCreater
	gofs.NodeMkdirer
	gofs.NodeMknoder
	gofs.NodeSymlinker
	gofs.NodeLinker
	gofs.NodeRenamer
	gofs.NodeUnlinker
	gofs.NodeRmdirer
} = (*unchangeableDir)(nil)

// refuse refuses to create name. What programs make beside a file that they open is no
// act of somebody.
func (d *unchangeableDir) refuse(name string) syscall.Errno {
	if d.message == nil {
		return syscall.EPERM
	}
	d.message.fsys.leaving.show(d.entry(name))
	if fateOf(name) == toKeep {
		return d.message.fsys.decline("put something into", d.message.path(), errFull)
	}
	return d.message.fsys.outcome("put something into", d.message.path(), errFull)
}

func (d *unchangeableDir) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	if d.message == nil {
		return syscall.EPERM
	}
	return d.message.fsys.outcome("change", d.message.path(), errFixed)
}

func (d *unchangeableDir) Create(_ context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, d.refuse(name)
}

func (d *unchangeableDir) Mkdir(_ context.Context, name string, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

func (d *unchangeableDir) Mknod(_ context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

func (d *unchangeableDir) Symlink(_ context.Context, _, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

func (d *unchangeableDir) Link(_ context.Context, _ gofs.InodeEmbedder, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, d.refuse(name)
}

func (d *unchangeableDir) Rename(_ context.Context, _ string, to gofs.InodeEmbedder, name string, _ uint32) syscall.Errno {
	if to, ok := to.(interface{ refuse(string) syscall.Errno }); ok {
		return to.refuse(name)
	}
	return d.refuse(name)
}

// Unlink and Rmdir are refused unless a directory says otherwise: left out,
// the library would let them succeed and do nothing.

func (*unchangeableDir) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

func (*unchangeableDir) Rmdir(context.Context, string) syscall.Errno { return syscall.EPERM }
