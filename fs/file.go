package fs

import (
	"context"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
)

// fileNode is a file of a message: its header, its text, its HTML, the raw
// message or an attachment.
type fileNode struct {
	gofs.Inode
	message *messageNode
	content *content.File
	told    told
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeSetattrer
	gofs.NodeOpener
} = (*fileNode)(nil)

func (n *fileNode) number() gofs.StableAttr {
	if n.content.Kind == content.Attachment {
		return n.message.numbers.attachment(n.message.uid, n.content.Part.Section)
	}
	return n.message.numberOf(n.content.Kind, syscall.S_IFREG)
}

// lookupFile answers a LOOKUP of a file in the message. Nothing is loaded for a
// listing: an entry without a node is only a name, and the kernel asks when
// somebody wants more.
func (n *messageNode) lookupFile(ctx context.Context, dir *gofs.Inode, name string, file *content.File, out *fuse.EntryOut, why occasion) (*gofs.Inode, syscall.Errno) {
	child := &fileNode{message: n, content: file}
	if known := dir.GetChild(name); known != nil {
		if file, ok := known.Operations().(*fileNode); ok && file.number() == child.number() {
			child = file // it may know its size
		}
	}
	if n.fsys.onlyExact.Load() {
		if _, exact := child.content.Exact(); !exact && why == listed {
			return nil, syscall.ENOENT
		}
		if _, err := child.content.Size(ctx); err != nil {
			return nil, n.errno("tell the size of a file of", err)
		}
	}
	size, final := child.sizeNow()
	n.fillEntry(out, child.number(), size, final)
	return n.NewInode(ctx, child, child.number()), 0
}

// An estimate is never 0: programs do not read files that are empty.
func estimated(size int64) int64 { return max(size, 1) }

// sizeNow is the answer to a LOOKUP, which waits for nothing: the size, or an
// estimate. final tells whether the kernel may keep it.
func (n *fileNode) sizeNow() (size int64, final bool) {
	if size, exact := n.content.Exact(); exact {
		n.told.answer(size)
		return size, true
	}
	size, good := n.content.Guess()
	size = estimated(size)
	open := n.told.answer(size)
	return size, good && n.message.fsys.keepsEstimates() && !open
}

// size is the answer to a GETATTR: while the file is open the size, and who
// asks waits for it; else an estimate will do for most (believers.go). final tells
// whether the kernel may keep it: no estimate if the file was opened meanwhile.
func (n *fileNode) size(ctx context.Context, open bool) (size int64, final bool, err error) {
	size, exact := n.content.Exact()
	switch {
	case exact:
	case n.message.fsys.wantsExact(ctx) || open && n.content.IsStreamed():
		size, err = n.content.Size(ctx)
		exact = true
	default:
		size, err = n.content.Estimate(ctx)
		size = estimated(size)
	}
	if err == nil {
		open = n.told.answer(size)
	}
	return size, exact || n.message.fsys.keepsEstimates() && !open, err
}

func (n *fileNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	fsys := n.message.fsys
	ctx, finish := fsys.call(ctx)
	defer finish()
	open := n.told.isOpen()
	if errno := n.message.check(); errno != 0 && !(open && errno == syscall.ENOENT) {
		return errno
	}
	size, final, err := n.size(ctx, open)
	if err == nil {
		_, err = n.message.content.Attr(ctx)
	}
	if err != nil {
		return n.message.errno("tell the size of a file of", err)
	}
	date, known := n.message.date()
	n.message.fill(&out.Attr, n.number(), date, size)
	if known && final {
		out.SetTimeout(keep)
	}
	return 0
}

// Access looks at the mode alone, for which nothing is loaded.
func (n *fileNode) Access(ctx context.Context, mask uint32) syscall.Errno {
	var attr fuse.Attr
	n.message.fill(&attr, n.number(), n.message.fsys.start, 0)
	return access(ctx, attr.Mode, mask)
}

// Setattr implements gofs.NodeSetattrer.
func (n *fileNode) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return n.refuse(syscall.O_WRONLY)
}

// refuse refuses to change the file. Many programs open for both what they only read, and
// then for reading alone.
func (n *fileNode) refuse(how uint32) syscall.Errno {
	// The name of an attachment is text of the mail.
	object := "an attachment of " + n.message.path()
	for name, kind := range kinds {
		if kind == n.content.Kind {
			object = n.message.path() + "/" + name
		}
	}
	if how&(syscall.O_ACCMODE|syscall.O_TRUNC) == syscall.O_RDWR {
		return n.message.fsys.decline("change", object, errFixed)
	}
	return n.message.fsys.outcome("change", object, errFixed)
}

// Open loads the file, or begins to where it is large: from then on its size is
// exact. If that is known already, nothing is loaded until somebody reads, and
// nobody does while the kernel has the pages.
func (n *fileNode) Open(ctx context.Context, how uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if how&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC|syscall.O_APPEND) != 0 {
		return nil, 0, n.refuse(how)
	}
	fsys := n.message.fsys
	ctx, finish := fsys.call(ctx)
	defer finish()
	if errno := n.message.check(); errno != 0 {
		return nil, 0, errno
	}
	h := &handle{file: n}
	opened := fsys.reads(ctx, n.message.content.ID(), n.content.Kind)
	size, exact := n.content.Exact()
	var err error
	if !exact {
		_, err = h.get(ctx)
	}
	if opened(err == nil); err != nil {
		return nil, 0, n.message.errno("read", err)
	}
	if !exact {
		size, exact = n.content.Exact()
	}
	// Where OPEN is spared a READ opens the file, and the kernel holds the page.
	flags, void, give := n.told.open(size, exact, !fsys.noOpen.Load())
	if give {
		n.give(ctx, size)
	}
	if void {
		// This takes no lock that a request could hold: it is about attributes
		// only, not pages.
		n.NotifyContent(-1, 0)
		// Only now, so that whoever opens the file meanwhile does not read by
		// the estimate that the kernel still has.
		n.told.void()
	}
	if caller, ok := fuse.FromContext(ctx); ok && fsys.meets(caller.Pid) && void {
		n.told.release()
		return nil, 0, syscall.EAGAIN // it has the estimate; the next time it will not
	}
	return h, flags, 0
}

// give puts the content of a small file into the kernel's page cache, if it is
// here, so that the kernel need not ask for it: one request less of the few
// that a program makes for each file. What it does not take it will ask for.
//
// The kernel has the exact size already. It waits for a page that somebody else
// is reading, which another request answers.
func (n *fileNode) give(ctx context.Context, size int64) {
	if text, ok := n.content.Here(ctx); ok && int64(len(text)) == size && size > 0 {
		n.WriteCache(0, text)
	}
}

// handle is an open file.
type handle struct {
	file *fileNode

	mu    sync.Mutex    // guards bytes
	bytes content.Bytes // nil until somebody reads
}

var _ interface {
	gofs.FileReader
	gofs.FileReleaser
} = (*handle)(nil)

// get returns the content, and loads it the first time.
func (h *handle) get(ctx context.Context) (content.Bytes, error) {
	h.mu.Lock()
	b := h.bytes
	h.mu.Unlock()
	if b != nil {
		return b, nil
	}
	b, err := h.file.content.Load(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes = b
	return b, nil
}

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	ctx, finish := h.file.message.fsys.call(ctx)
	defer finish()
	bytes, err := h.get(ctx)
	var b []byte
	if err == nil {
		b, err = bytes.Read(ctx, dest, off)
	}
	if err != nil {
		return nil, h.file.message.errno("read", err)
	}
	return fuse.ReadResultData(b), 0
}

func (h *handle) Release(context.Context) syscall.Errno {
	h.file.told.release()
	h.file.message.fsys.closes(h.file.message.content.ID())
	return 0
}
