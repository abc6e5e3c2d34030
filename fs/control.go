package fs

import (
	"context"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
)

// StatusPath is where a mount tells of itself, from its root.
const StatusPath = controlName + "/" + statusName

// The hidden directory of the mount's own files. It is not listed, so that
// grep -r and tar do not see it.
const (
	controlName = ".imapfs"
	statusName  = "status"
)

// controlNode is that directory.
type controlNode struct {
	gofs.Inode
	unchangeableDir
	fsys *FS
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeLookuper
	gofs.NodeOpendirHandler
} = (*controlNode)(nil)

func (n *controlNode) number() gofs.StableAttr {
	return numbersOf("control", 0).of(0, kindMessage, syscall.S_IFDIR)
}

func (n *controlNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fsys.fill(&out.Attr, n.number(), n.fsys.start, 0)
	return 0
}

// Lookup makes a new file each time, with what is so at this moment.
func (n *controlNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	slip := &slipNode{fsys: n.fsys, about: controlName + "/" + name}
	switch {
	case name == statusName && n.fsys.opt.Status != nil:
		slip.text = n.fsys.opt.Status()
	case name == flagsOfAllName && !n.fsys.opt.ReadOnly:
		slip.do = n.fsys.flagMany
	default:
		return nil, syscall.ENOENT
	}
	id := n.fsys.anew(numbersOf("control "+name, 0).of(0, content.Raw, syscall.S_IFREG))
	n.fsys.fill(&slip.attr, id, time.Now(), 0)
	return slip.add(ctx, n.EmbeddedInode(), id, out), 0
}

func (n *controlNode) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return &listing{named: []fuse.DirEntry{{Name: statusName, Mode: syscall.S_IFREG}}}, 0, 0
}
