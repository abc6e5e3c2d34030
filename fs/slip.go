package fs

import (
	"bytes"
	"context"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

// slipNode is a file with a short text, new at each LOOKUP: whoever has it open reads what
// was so at that moment, and the kernel can keep it like any other file. Where do is set it
// can be written: what it says then is done when its writer closes it, and close tells
// what became of it.
type slipNode struct {
	gofs.Inode
	fsys  *FS
	about string    // what it tells of, for the log
	attr  fuse.Attr // but the size
	text  content.Loaded
	do    func(ctx context.Context, text string) syscall.Errno
	// check, where it is set, tells what is wrong with whole lines whatever follows them.
	// Many shells look only at what write(2) says, and not at what close(2) does.
	check func(text string) syscall.Errno

	mu      sync.Mutex // guards what follows
	writer  writer
	written []byte // the text now
	changed bool   // and nothing is done of it yet
	tooLong bool   // not all of it is there
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeSetattrer
	gofs.NodeOpener
	gofs.NodeReader
	gofs.NodeWriter
	gofs.NodeFlusher
	gofs.NodeFsyncer
	gofs.NodeReleaser
} = (*slipNode)(nil)

// mostWritten is how long a text may become, in bytes: the names of some hundred thousand
// messages.
const mostWritten = 8 << 20

// anew returns what tells the slip of this LOOKUP from all others. The inode number stays:
// editors write only into the file that they have read, and go by its number.
func (fsys *FS) anew(id gofs.StableAttr) gofs.StableAttr {
	id.Gen = mix(id.Gen ^ uint64(fsys.snapshots.Add(1)))
	return id
}

// add answers a LOOKUP with the slip.
func (n *slipNode) add(ctx context.Context, dir *gofs.Inode, id gofs.StableAttr, out *fuse.EntryOut) *gofs.Inode {
	out.Attr = n.attr
	out.Size = uint64(len(n.text))
	return dir.NewInode(ctx, n, id)
}

// Getattr implements gofs.NodeGetattrer.
func (n *slipNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	out.Attr = n.attr
	out.Size = uint64(len(n.text))
	if n.written != nil {
		out.Size = uint64(len(n.written))
	}
	return 0
}

// Setattr cuts the text; nobody keeps a date or permissions.
func (n *slipNode) Setattr(ctx context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if errno := n.change(ctx, int64(size), nil); errno != 0 {
			return errno
		}
	}
	return n.Getattr(ctx, f, out)
}

// Open implements gofs.NodeOpener.
func (n *slipNode) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	switch {
	case flags&syscall.O_ACCMODE == syscall.O_RDONLY:
		return nil, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
	case n.do == nil:
		return nil, 0, n.fsys.outcome("write", n.about, errTells)
	case n.attr.Mode&writeBits == 0:
		return nil, 0, n.fsys.outcome("change", n.about, mail.ErrReadOnly)
	}
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// Read implements gofs.NodeReader.
func (n *slipNode) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.mu.Lock()
	text := n.text
	if n.written != nil {
		text = append(content.Loaded(nil), n.written...)
	}
	n.mu.Unlock()
	b, _ := text.Read(ctx, dest, off)
	return fuse.ReadResultData(b), 0
}

// Write implements gofs.NodeWriter.
func (n *slipNode) Write(ctx context.Context, _ gofs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := n.change(ctx, off, data); errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

// change writes data at an offset; without data it ends the text there.
func (n *slipNode) change(ctx context.Context, off int64, data []byte) syscall.Errno {
	if n.do == nil {
		return syscall.EPERM
	}
	w := writerOf(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writer, n.changed = w, true
	if n.tooLong = off+int64(len(data)) > mostWritten || n.tooLong && off > 0; n.tooLong {
		return syscall.EFBIG
	}
	if n.written == nil {
		n.written = append([]byte{}, n.text...)
	}
	end := int(off) + len(data)
	if missing := end - len(n.written); missing > 0 {
		n.written = append(n.written, make([]byte, missing)...)
	}
	if copy(n.written[off:], data); data == nil {
		n.written = n.written[:off]
	}
	if n.check != nil && bytes.HasSuffix(data, []byte("\n")) {
		if errno := n.check(string(n.written)); errno != 0 {
			n.changed = false
			return errno
		}
	}
	return 0
}

// Flush implements gofs.NodeFlusher: a process closes a descriptor. If it is the writer,
// what it has written is done.
func (n *slipNode) Flush(ctx context.Context, _ gofs.FileHandle) syscall.Errno {
	n.mu.Lock()
	w, changed := n.writer, n.changed
	n.mu.Unlock()
	if !changed {
		return 0
	}
	switch w.ends(ctx, n.StableAttr().Ino) {
	case passed:
		return 0
	case killed:
		n.take() // half of it is not what was meant
		return 0
	}
	return n.done(ctx)
}

// Release implements gofs.NodeReleaser: what not the writer closed last is done now, and
// nobody waits for it.
func (n *slipNode) Release(context.Context, gofs.FileHandle) syscall.Errno {
	return n.done(context.Background())
}

// Fsync implements gofs.NodeFsyncer. Only close can tell that this is all.
func (n *slipNode) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno { return 0 }

// take returns what is to be done, once.
func (n *slipNode) take() (text string, changed, tooLong bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed, n.changed = n.changed, false
	return string(n.written), changed, n.tooLong
}

func (n *slipNode) done(ctx context.Context) syscall.Errno {
	text, changed, tooLong := n.take()
	switch {
	case !changed:
		return 0
	case tooLong:
		return syscall.EFBIG
	}
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	return n.do(ctx, text)
}
