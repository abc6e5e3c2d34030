package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// attachmentsNode is the directory of a message's attachments.
type attachmentsNode struct {
	gofs.Inode
	unchangeableDir
	message *messageNode
	hidden  hidden
}

func (n *attachmentsNode) number() gofs.StableAttr {
	return n.message.numbers.of(n.message.id.UID, kindAttachments, syscall.S_IFDIR)
}

var _ = (gofs.NodeGetattrer)((*attachmentsNode)(nil))

func (n *attachmentsNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.message.getattr(ctx, n.number(), out)
}

// visible returns the attachments that are not hidden.
func (n *attachmentsNode) visible(ctx context.Context) ([]mail.Attachment, error) {
	root, err := n.message.structure(ctx)
	if err != nil {
		if n.message.isDeleted() {
			return nil, nil // nobody knows any more, and nothing is left to delete
		}
		return nil, err
	}
	var left []mail.Attachment
	for _, a := range root.Attachments() {
		if !n.hidden.has(a.Name) {
			left = append(left, a)
		}
	}
	return left, nil
}

var _ = (gofs.NodeLookuper)((*attachmentsNode)(nil))

func (n *attachmentsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	ctx, finish := n.message.fsys.wait(ctx)
	defer finish()
	all, err := n.visible(ctx)
	if err != nil {
		return nil, n.message.fsys.errno("look into "+n.message.id.String(), err)
	}
	for _, a := range all {
		if a.Name == name {
			child := &fileNode{message: n.message, kind: kindAttachment, part: a.Part}
			return n.message.newFile(ctx, n.EmbeddedInode(), name, child, out)
		}
	}
	return nil, syscall.ENOENT
}

var _ = (gofs.NodeOpendirHandler)((*attachmentsNode)(nil))

func (n *attachmentsNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	ctx, finish := n.message.fsys.wait(ctx)
	defer finish()
	all, err := n.visible(ctx)
	if err != nil {
		return nil, 0, n.message.fsys.errno("list "+n.message.id.String(), err)
	}
	files := make(map[string]*mail.Part, len(all))
	l := &listing{}
	l.lookup = func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
		child := &fileNode{message: n.message, kind: kindAttachment, part: files[name]}
		return n.message.newFile(ctx, n.EmbeddedInode(), name, child, out)
	}
	for _, a := range all {
		files[a.Name] = a.Part
		id := (&fileNode{message: n.message, kind: kindAttachment, part: a.Part}).number()
		l.named = append(l.named, fuse.DirEntry{Name: a.Name, Mode: syscall.S_IFREG, Ino: id.Ino})
	}
	return l, 0, 0
}

var _ = (gofs.NodeUnlinker)((*attachmentsNode)(nil))

// Unlink hides an attachment for a while and leaves the message alone: a mv out
// of the mount ends with an unlink, and must not cost anybody a message.
func (n *attachmentsNode) Unlink(ctx context.Context, name string) syscall.Errno {
	ctx, finish := n.message.fsys.wait(ctx)
	defer finish()
	all, err := n.visible(ctx)
	if err != nil {
		return n.message.fsys.errno("look into "+n.message.id.String(), err)
	}
	for _, a := range all {
		if a.Name == name {
			n.message.fsys.hide(n.EmbeddedInode(), &n.hidden, name)
			return 0
		}
	}
	return syscall.ENOENT
}

// hideFor is how long an unlinked attachment stays away.
const hideFor = time.Minute

// hidden is a set of names that cannot be seen for a while.
type hidden struct {
	mu    sync.Mutex // guards until
	until map[string]time.Time
}

// hide hides a name in dir, and tells the kernel when it is back.
func (fsys *FS) hide(dir *gofs.Inode, h *hidden, name string) {
	h.hide(name)
	back := func() {
		dir.NotifyEntry(name)
		dir.NotifyContent(0, 0)
	}
	fsys.notes.later(hideFor, back)
	fsys.notes.later(hideFor+onTheWay, back)
}

func (h *hidden) hide(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.until = make(map[string]time.Time)
	}
	h.until[name] = time.Now().Add(hideFor)
}

func (h *hidden) has(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.until[name])
}
