package fs

import (
	"context"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// fileNode is a file of a message: its header, its text, its HTML, the raw
// message or an attachment.
type fileNode struct {
	gofs.Inode
	unchangeable
	message *messageNode
	kind    kind
	part    *mail.Part // of body.html and of an attachment

	mu     sync.Mutex // guards what follows
	stream *stream    // where the file is too large to be loaded by open
	opens  int
	exact  bool // length is the file's size; FS.sizes may have forgotten it
	length int64
}

func (n *fileNode) number() gofs.StableAttr {
	if n.kind == kindAttachment {
		return n.message.numbers.attachment(n.message.id.UID, n.part.Section)
	}
	return n.message.numbers.of(n.message.id.UID, n.kind, syscall.S_IFREG)
}

// size returns the file's size in bytes, and whether it is exact. An estimate
// is never 0: programs do not read files that are empty.
func (n *fileNode) size(ctx context.Context) (size int64, exact bool, err error) {
	if size, ok := n.message.fsys.sizes.Get(n.number()); ok {
		return size, true, nil
	}
	n.mu.Lock()
	s, open, exact, length := n.stream, n.opens > 0, n.exact, n.length
	n.mu.Unlock()
	if exact {
		return length, true, nil
	}
	if s != nil && open {
		// Whoever has opened the file is told the truth, and waits for it.
		size, err := s.size(ctx)
		if err == nil {
			n.setSize(size)
		}
		return size, err == nil, err
	}
	size, err = n.estimate(ctx)
	return max(size, 1), false, err
}

// setSize remembers the exact size: here for as long as the kernel knows the
// node, and in FS.sizes for the next time.
func (n *fileNode) setSize(size int64) {
	n.mu.Lock()
	n.exact, n.length = true, size
	n.mu.Unlock()
	n.message.fsys.sizes.Add(n.number(), size)
}

var _ = (gofs.NodeGetattrer)((*fileNode)(nil))

func (n *fileNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	fsys := n.message.fsys
	ctx, cancel := fsys.wait(ctx)
	defer cancel()
	n.mu.Lock()
	open := n.opens > 0
	n.mu.Unlock()
	if errno := n.message.check(ctx); errno != 0 && !(open && errno == syscall.ENOENT) {
		return errno
	}
	size, exact, err := n.size(ctx)
	if err != nil {
		return fsys.errno("size of a file of "+n.message.id.String(), err)
	}
	fsys.fill(&out.Attr, n.number(), n.message.attr.Date, size)
	if exact {
		out.SetTimeout(keep)
	}
	return 0
}

var _ = (gofs.NodeOpener)((*fileNode)(nil))

// Open loads the file, or begins to where it is large.
func (n *fileNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC|syscall.O_APPEND) != 0 {
		return nil, 0, syscall.EPERM
	}
	fsys := n.message.fsys
	ctx, cancel := fsys.wait(ctx)
	defer cancel()
	if errno := n.message.check(ctx); errno != 0 {
		return nil, 0, errno
	}
	content, err := n.load(ctx)
	if err != nil {
		return nil, 0, fsys.errno("read "+n.message.id.String(), err)
	}
	if b, ok := content.(loaded); ok {
		n.setSize(int64(len(b)))
	}
	n.mu.Lock()
	n.opens++
	n.mu.Unlock()
	return &handle{file: n, content: content}, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
}

// handle is an open file.
type handle struct {
	file    *fileNode
	content content
}

var _ = (gofs.FileReader)((*handle)(nil))

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	fsys := h.file.message.fsys
	ctx, cancel := fsys.wait(ctx)
	defer cancel()
	b, err := h.content.read(ctx, dest, off)
	if err != nil {
		return nil, fsys.errno("read "+h.file.message.id.String(), err)
	}
	return fuse.ReadResultData(b), 0
}

var _ = (gofs.FileReleaser)((*handle)(nil))

func (h *handle) Release(context.Context) syscall.Errno {
	h.file.mu.Lock()
	defer h.file.mu.Unlock()
	h.file.opens--
	return 0
}
