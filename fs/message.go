package fs

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// The names in a message's directory.
const (
	attachmentsName = "attachments"
	bodyName        = "body.txt"
	headersName     = "headers.txt"
	rawName         = "message.eml"
	htmlName        = "body.html"
)

// messageNode is the directory of one message.
type messageNode struct {
	gofs.Inode
	unchangeableDir
	fsys    *FS
	id      mail.ID
	numbers numbers
	last    atomic.Pointer[mail.Attr] // what was known last, also when the message is gone; nil: nothing
	own     atomic.Pointer[mail.Part] // its tree, of a large message of which the server's is unsure
	layout  atomic.Pointer[layout]    // once it is known to be kept whole

	mirrored bool // it is the mirror that looks at it, for nobody
}

func (n *messageNode) number() gofs.StableAttr {
	return n.numbers.of(n.id.UID, kindMessage, syscall.S_IFDIR)
}

// known returns the attributes of the message if they are known.
func (n *messageNode) known() (mail.Attr, bool) {
	if last := n.last.Load(); last != nil {
		return *last, true
	}
	attr, known, _ := n.fsys.mail.Known(n.id)
	if known {
		n.last.Store(&attr)
	}
	return attr, known
}

// attr is known, but asks the server if need be.
func (n *messageNode) attr(ctx context.Context) (mail.Attr, error) {
	if attr, known := n.known(); known {
		return attr, nil
	}
	attr, err := n.fsys.mail.Attr(ctx, n.id)
	if err == nil {
		n.last.Store(&attr)
	}
	return attr, err
}

// date returns the date of the message, that of the mount until it is known.
func (n *messageNode) date() (date time.Time, known bool) {
	if attr, known := n.known(); known {
		return attr.Date, true
	}
	return n.fsys.start, false
}

// fillEntry answers a LOOKUP of the message or of something in it.
func (n *messageNode) fillEntry(out *fuse.EntryOut, id gofs.StableAttr, size int64, exact bool) {
	date, known := n.date()
	n.fsys.fill(&out.Attr, id, date, size)
	out.SetEntryTimeout(keep)
	if known && exact {
		out.SetAttrTimeout(keep)
	}
}

// getattr answers a GETATTR of the message's directories.
func (n *messageNode) getattr(ctx context.Context, id gofs.StableAttr, out *fuse.AttrOut) syscall.Errno {
	ctx, finish := n.fsys.wait(ctx)
	defer finish()
	if errno := n.check(); errno != 0 {
		return errno
	}
	if _, err := n.attr(ctx); err != nil {
		return n.fsys.errno("look at "+n.id.String(), err)
	}
	date, known := n.date()
	n.fsys.fill(&out.Attr, id, date, 0)
	if known {
		out.SetTimeout(keep)
	}
	return 0
}

// check finds out whether the message is still there, without asking the
// server.
func (n *messageNode) check() syscall.Errno {
	_, _, err := n.fsys.mail.Known(n.id)
	return n.fsys.errno("look at "+n.id.String(), err)
}

var _ = (gofs.NodeGetattrer)((*messageNode)(nil))

func (n *messageNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.getattr(ctx, n.number(), out)
}

var _ = (gofs.NodeLookuper)((*messageNode)(nil))

func (n *messageNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return n.lookup(ctx, name, out, asked)
}

// occasion is why a name is looked up.
type occasion int

const (
	asked  occasion = iota // somebody wants to know of it
	listed                 // READDIRPLUS tells what is known along
)

func (n *messageNode) lookup(ctx context.Context, name string, out *fuse.EntryOut, why occasion) (*gofs.Inode, syscall.Errno) {
	ctx, finish := n.fsys.wait(ctx)
	defer finish()
	if errno := n.check(); errno != 0 {
		return nil, errno
	}
	if n.hidden.has(name) {
		// With a timeout of its own the library makes it an answer that the
		// kernel does not keep.
		out.SetEntryTimeout(onTheWay)
		return nil, syscall.ENOENT
	}
	if name == attachmentsName {
		child := &attachmentsNode{message: n}
		n.fillEntry(out, child.number(), 0, true)
		return n.NewInode(ctx, child, child.number()), 0
	}
	child := &fileNode{message: n}
	switch name {
	case headersName:
		child.kind = kindHeaders
	case bodyName:
		child.kind = kindBody
	case rawName:
		child.kind = kindRaw
	case htmlName:
		root, err := n.structure(ctx)
		if err != nil {
			return nil, n.fsys.errno("look into "+n.id.String(), err)
		}
		child.kind, child.part = kindHTML, root.HTML()
		if child.part == nil {
			return nil, syscall.ENOENT
		}
	default:
		return nil, syscall.ENOENT
	}
	return n.newFile(ctx, n.EmbeddedInode(), name, child, out, why)
}

// newFile answers a LOOKUP of a file in the message. Nothing is loaded for a
// listing: an entry without a node is only a name, and the kernel asks when
// somebody wants more.
func (n *messageNode) newFile(ctx context.Context, dir *gofs.Inode, name string, child *fileNode, out *fuse.EntryOut, why occasion) (*gofs.Inode, syscall.Errno) {
	if known := dir.GetChild(name); known != nil {
		if file, ok := known.Operations().(*fileNode); ok && file.number() == child.number() {
			child = file // it may know its size
		}
	}
	if n.fsys.onlyExact.Load() {
		if _, exact := child.exactSize(); !exact && why == listed {
			return nil, syscall.ENOENT
		}
		if _, err := child.exactly(ctx); err != nil {
			return nil, n.fsys.errno("size of a file of "+n.id.String(), err)
		}
	}
	size, final := child.sizeNow()
	n.fillEntry(out, child.number(), size, final)
	return n.NewInode(ctx, child, child.number()), 0
}

var _ = (gofs.NodeOpendirHandler)((*messageNode)(nil))

func (n *messageNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	ctx, finish := n.fsys.wait(ctx)
	defer finish()
	if errno := n.check(); errno != 0 {
		return nil, 0, errno
	}
	l := &listing{lookup: func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
		return n.lookup(ctx, name, out, listed)
	}}
	files, err := n.listed(ctx)
	if err != nil {
		return nil, 0, n.fsys.errno("list "+n.id.String(), err)
	}
	if len(files) == 0 {
		l.named = append(l.named, dot(n.number()))
	}
	for _, f := range files {
		l.named = append(l.named, fuse.DirEntry{Name: f.name, Mode: f.mode, Ino: n.numbers.of(n.id.UID, f.kind, f.mode).Ino})
	}
	return l, 0, 0
}

// entry is something in a message's directory.
type entry struct {
	name string
	kind kind
	mode uint32 // its type
}

// listed returns what the directory shows.
func (n *messageNode) listed(ctx context.Context) ([]entry, error) {
	all := []entry{{attachmentsName, kindAttachments, syscall.S_IFDIR}}
	if n.fsys.opt.ShowHTML {
		root, err := n.structure(ctx)
		if err != nil {
			return nil, err
		}
		if root.HTML() != nil {
			all = append(all, entry{htmlName, kindHTML, syscall.S_IFREG})
		}
	}
	all = append(all, entry{bodyName, kindBody, syscall.S_IFREG}, entry{headersName, kindHeaders, syscall.S_IFREG})
	if n.fsys.opt.ShowRaw {
		all = append(all, entry{rawName, kindRaw, syscall.S_IFREG})
	}
	return slices.DeleteFunc(all, func(e entry) bool { return n.hidden.has(e.name) }), nil
}

var _ = (gofs.NodeUnlinker)((*messageNode)(nil))

// Unlink hides a file for a while and leaves the message alone. It is what rm -r
// does on its way to the directory, but also programs that overwrite.
func (n *messageNode) Unlink(_ context.Context, name string) syscall.Errno {
	if errno := n.check(); errno != 0 {
		return errno
	}
	switch name {
	case headersName, bodyName, rawName, htmlName:
	default:
		return syscall.ENOENT
	}
	n.fsys.hide(n.EmbeddedInode(), &n.hidden, name)
	return 0
}

var _ = (gofs.NodeRmdirer)((*messageNode)(nil))

// Rmdir hides the attachments directory, once all in it is hidden.
func (n *messageNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	if name != attachmentsName {
		return syscall.ENOENT
	}
	if attachments := n.attachments(); attachments != nil {
		ctx, finish := n.fsys.wait(ctx)
		defer finish()
		left, err := attachments.visible(ctx)
		if err != nil {
			return n.fsys.errno("look into "+n.id.String(), err)
		}
		if len(left) > 0 {
			return syscall.ENOTEMPTY
		}
	}
	n.fsys.hide(n.EmbeddedInode(), &n.hidden, name)
	return 0
}

// attachments returns the node of the attachments directory if the kernel knows
// it, else nil.
func (n *messageNode) attachments() *attachmentsNode {
	inode := n.GetChild(attachmentsName)
	if inode == nil {
		return nil
	}
	return inode.Operations().(*attachmentsNode)
}

// showAll brings back what is hidden of the message.
func (n *messageNode) showAll() {
	n.hidden.showAll()
	if attachments := n.attachments(); attachments != nil {
		attachments.hidden.showAll()
	}
}

// remove deletes the message because its directory is removed, whatever that
// shows still. If it fails, all is there again.
func (n *messageNode) remove(ctx context.Context) syscall.Errno {
	ctx, finish := n.fsys.wait(ctx)
	defer finish()
	if countsOnNotEmpty(ctx) {
		left, err := n.listed(ctx)
		if err != nil {
			return n.fsys.errno("look into "+n.id.String(), err)
		}
		if len(left) > 0 {
			return syscall.ENOTEMPTY
		}
	}
	errno := n.fsys.delete(ctx, n.id)
	n.showAll() // a success needs no timers either
	return errno
}

// delete deletes a message on the server. When ctx ends first the deletion goes
// on, and the kernel is told when it is done.
func (fsys *FS) delete(ctx context.Context, id mail.ID) syscall.Errno {
	done := make(chan error, 1)
	go func() { done <- fsys.deleteNow(id) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	errno := fsys.errno("delete "+id.String(), err)
	if errno == syscall.ESTALE {
		// The kernel would answer ESTALE by looking the path up anew, and so
		// delete the message that has this number now.
		return syscall.ENOENT
	}
	return errno
}

func (fsys *FS) deleteNow(id mail.ID) error {
	fsys.mu.Lock()
	fsys.deleting[id] = true
	fsys.mu.Unlock()
	err := fsys.mail.Delete(context.Background(), id)
	fsys.mu.Lock()
	delete(fsys.deleting, id)
	fsys.mu.Unlock()
	if err == nil {
		fsys.log.Info("deleted", "folder", id.Folder, "uid", id.UID)
	}
	if err == nil || errors.Is(err, mail.ErrNotFound) {
		// With ErrNotFound another client was faster, and the report of it
		// passed unheard.
		fsys.Changed(mail.Change{Folder: id.Folder, UIDValidity: id.UIDValidity, Removed: []uint32{id.UID}})
	}
	return err
}

// isDeleting says whether the message is just being deleted from here.
func (n *messageNode) isDeleting() bool {
	n.fsys.mu.Lock()
	defer n.fsys.mu.Unlock()
	return n.fsys.deleting[n.id]
}
