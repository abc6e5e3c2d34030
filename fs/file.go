package fs

import (
	"context"
	"encoding/binary"
	"strconv"
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
	told   int64 // the size that the kernel was told last
	voided bool  // and that it may not believe any more
	given  bool  // the kernel was given the content with OPEN
}

func (n *fileNode) number() gofs.StableAttr {
	if n.kind == kindAttachment {
		return n.message.numbers.attachment(n.message.id.UID, n.part.Section)
	}
	return n.message.numbers.of(n.message.id.UID, n.kind, syscall.S_IFREG)
}

// exactSize returns the file's size in bytes if that is known.
func (n *fileNode) exactSize() (int64, bool) {
	if size, ok := n.message.fsys.sizes.Get(n.number()); ok {
		return size, true
	}
	n.mu.Lock()
	exact, length := n.exact, n.length
	n.mu.Unlock()
	if exact {
		return length, true
	}
	if whole := n.message.fsys.smallNow(n.message.id); whole != nil {
		if text, ok := whole.text(n.kind); ok {
			n.remember(int64(len(text)))
			return int64(len(text)), true
		}
	}
	if b, ok := n.message.fsys.cache.Disk().Get(n.sizeKey()); ok && len(b) == 8 {
		size := int64(binary.BigEndian.Uint64(b))
		n.remember(size)
		return size, true
	}
	return 0, false
}

// sizeKey names the file's exact size in the cache on disk.
func (n *fileNode) sizeKey() string {
	key := append([]byte(messagePrefix(n.message.id)), "size"...)
	key = strconv.AppendInt(key, mail.Version, 10)
	key = append(key, '/')
	if n.part != nil {
		key = append(key, n.part.Section...)
	}
	return string(append(key, byte(n.kind)))
}

// exactly returns the file's size, for which it may have to be loaded.
func (n *fileNode) exactly(ctx context.Context) (int64, error) {
	if size, exact := n.exactSize(); exact {
		return size, nil
	}
	c, err := n.load(ctx)
	if err != nil {
		return 0, err
	}
	size := int64(0)
	switch c := c.(type) {
	case loaded:
		size = int64(len(c))
	case *stream:
		if size, err = c.size(ctx); err != nil {
			return 0, err
		}
	}
	n.setSize(size)
	return size, nil
}

// An estimate is never 0: programs do not read files that are empty.
func estimated(size int64) int64 { return max(size, 1) }

// sizeNow is the answer to a LOOKUP, which waits for nothing: the size, or an
// estimate. final tells whether the kernel may keep it.
func (n *fileNode) sizeNow() (size int64, final bool) {
	if size, exact := n.exactSize(); exact {
		n.setTold(size)
		return size, true
	}
	size, good := n.guess()
	size = estimated(size)
	n.setTold(size)
	n.mu.Lock()
	defer n.mu.Unlock()
	return size, good && keepEstimates && n.opens == 0 // who has it open wants the truth
}

// size is the answer to a GETATTR: while the file is open the size, and who
// asks waits for it; else an estimate will do.
func (n *fileNode) size(ctx context.Context) (int64, error) {
	size, exact := n.exactSize()
	if !exact {
		n.mu.Lock()
		s, open := n.stream, n.opens > 0
		n.mu.Unlock()
		var err error
		if n.message.fsys.onlyExact.Load() {
			size, err = n.exactly(ctx)
		} else if s != nil && open {
			if size, err = s.size(ctx); err == nil {
				n.setSize(size)
			}
		} else {
			size, err = n.estimate(ctx)
			size = estimated(size)
		}
		if err != nil {
			return size, err
		}
	}
	n.setTold(size)
	return size, nil
}

// setTold notes the size that the kernel is told.
func (n *fileNode) setTold(size int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told, n.voided = size, false
}

// setSize remembers the exact size, also for the next mount, unless a look at
// the small message tells it then.
func (n *fileNode) setSize(size int64) {
	n.remember(size)
	if attr, known := n.message.known(); n.part == nil && known && attr.Size < wholeSize {
		return
	}
	n.message.fsys.cache.Disk().Offer(n.sizeKey(), binary.BigEndian.AppendUint64(nil, uint64(size)))
}

// remember keeps the exact size: here for as long as the kernel knows the node,
// and in FS.sizes for the next time.
func (n *fileNode) remember(size int64) {
	n.mu.Lock()
	n.exact, n.length = true, size
	n.mu.Unlock()
	n.message.fsys.sizes.Add(n.number(), size)
}

var _ = (gofs.NodeGetattrer)((*fileNode)(nil))

func (n *fileNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	fsys := n.message.fsys
	ctx, finish := fsys.wait(ctx)
	defer finish()
	n.mu.Lock()
	open := n.opens > 0
	n.mu.Unlock()
	if errno := n.message.check(); errno != 0 && !(open && errno == syscall.ENOENT) {
		return errno
	}
	size, err := n.size(ctx)
	if err == nil {
		_, err = n.message.attr(ctx)
	}
	if err != nil {
		return fsys.errno("size of a file of "+n.message.id.String(), err)
	}
	date, known := n.message.date()
	fsys.fill(&out.Attr, n.number(), date, estimated(size))
	if _, exact := n.exactSize(); exact {
		out.Size = uint64(size)
		if known {
			out.SetTimeout(keep)
		}
	} else if known && err == nil && keepEstimates && !open {
		out.SetTimeout(keep)
	}
	return 0
}

var _ = (gofs.NodeOpener)((*fileNode)(nil))

// Open loads the file, or begins to where it is large: from then on its size is
// exact. If that is known already, nothing is loaded until somebody reads, and
// nobody does while the kernel has the pages.
func (n *fileNode) Open(ctx context.Context, how uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if how&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC|syscall.O_APPEND) != 0 {
		return nil, 0, syscall.EPERM
	}
	fsys := n.message.fsys
	ctx, finish := fsys.wait(ctx)
	defer finish()
	if errno := n.message.check(); errno != 0 {
		return nil, 0, errno
	}
	h := &handle{file: n}
	size, exact := n.exactSize()
	if !exact {
		content, err := h.get(ctx)
		if err != nil {
			return nil, 0, fsys.errno("read "+n.message.id.String(), err)
		}
		if b, ok := content.(loaded); ok {
			size, exact = int64(len(b)), true
			n.setSize(size)
		}
	}
	n.mu.Lock()
	// Nobody knows the size yet, or the kernel was told too much and would put
	// zeros where the file has ended: each read is answered by itself then,
	// until the kernel has asked anew.
	var flags uint32 = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	if !exact || n.told > size {
		flags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	}
	void := !n.voided && (!exact || n.told != size)
	// Where OPEN is spared a READ opens the file, and the kernel holds the page.
	give := exact && n.told == size && !n.voided && !n.given && !fsys.noOpen.Load()
	n.given = n.given || give
	n.opens++ // before the notification: no estimate is given out to keep behind it
	n.mu.Unlock()
	if give {
		n.give(ctx, size)
	}
	if void {
		// This takes no lock that a request could hold: it is about attributes
		// only, not pages.
		n.NotifyContent(-1, 0)
		// Only now, so that whoever opens the file meanwhile does not read by
		// the estimate that the kernel still has.
		n.mu.Lock()
		n.voided = true
		n.mu.Unlock()
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
	whole := n.message.fsys.smallNow(n.message.id)
	if whole == nil {
		return
	}
	if text, ok := whole.text(n.kind); ok && int64(len(text)) == size && size > 0 {
		n.message.fsys.walks.opened(ctx, n.message.id) // as a READ would
		n.WriteCache(0, text)
	}
}

// handle is an open file.
type handle struct {
	file *fileNode

	mu      sync.Mutex // guards content
	content content    // nil until somebody reads
}

// get returns the content, and loads it the first time.
func (h *handle) get(ctx context.Context) (content, error) {
	h.mu.Lock()
	c := h.content
	h.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := h.file.load(ctx)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.content = c
	return c, nil
}

var _ = (gofs.FileReader)((*handle)(nil))

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	fsys := h.file.message.fsys
	ctx, finish := fsys.wait(ctx)
	defer finish()
	content, err := h.get(ctx)
	var b []byte
	if err == nil {
		b, err = content.read(ctx, dest, off)
	}
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
