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

// Lookup makes a new file each time, with what is so at this moment: the kernel
// can keep it like any other file, and nobody reads half of the old one.
func (n *controlNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if name != statusName || n.fsys.opt.Status == nil {
		return nil, syscall.ENOENT
	}
	file := &statusNode{fsys: n.fsys, text: n.fsys.opt.Status(), at: time.Now()}
	id := numbersOf("status", 0).of(n.fsys.snapshots.Add(1), content.Raw, syscall.S_IFREG)
	n.fsys.fill(&out.Attr, id, file.at, int64(len(file.text)))
	return n.NewInode(ctx, file, id), 0
}

func (n *controlNode) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return &listing{named: []fuse.DirEntry{{Name: statusName, Mode: syscall.S_IFREG}}}, 0, 0
}

// statusNode is what the mount had to say of itself at one moment.
type statusNode struct {
	gofs.Inode
	unchangeable
	fsys *FS
	text content.Loaded
	at   time.Time
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeOpener
	gofs.NodeReader
} = (*statusNode)(nil)

func (n *statusNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fsys.fill(&out.Attr, n.StableAttr(), n.at, int64(len(n.text)))
	return 0
}

func (n *statusNode) Open(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
}

func (n *statusNode) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	b, _ := n.text.Read(ctx, dest, off)
	return fuse.ReadResultData(b), 0
}
