package fs

import (
	"context"
	"slices"
	"strconv"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// folderNode is a directory of messages and of further folders. The root is
// one too.
type folderNode struct {
	gofs.Inode
	unchangeableDir
	fsys *FS
	path []string // of names, from the root
}

func (n *folderNode) number() gofs.StableAttr {
	if d := n.fsys.directory(n.path); d != nil {
		return folderNumber(d.key)
	}
	return n.StableAttr()
}

var _ = (gofs.NodeGetattrer)((*folderNode)(nil))

// Getattr gives a folder the date of its newest message, and as ctime that of
// its last change since the mount began. The former takes a look into the
// folder, which LOOKUP spares: a path leads through many folders that nobody
// wants to know anything of.
func (n *folderNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d := n.fsys.directory(n.path)
	if d == nil {
		return syscall.ENOENT
	}
	date, known := n.newest(ctx, d)
	n.fsys.fill(&out.Attr, n.number(), date, 0)
	changed := n.fsys.changedAt(d)
	out.SetTimes(nil, nil, &changed)
	if known {
		out.SetTimeout(keep)
	}
	return 0
}

// changedAt returns when the messages of a directory have last changed, that of
// the mount if they have not.
func (fsys *FS) changedAt(d *directory) time.Time {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	if at, ok := fsys.changed[d.mailbox]; ok && d.mailbox != "" {
		return at
	}
	return fsys.start
}

// newest returns the date of the newest message, that of the mount if there is
// none. known is false if the server did not say.
func (n *folderNode) newest(ctx context.Context, d *directory) (date time.Time, known bool) {
	if d.mailbox == "" {
		return n.fsys.start, true
	}
	ctx, finish := n.fsys.wait(ctx)
	defer finish()
	l, err := n.fsys.mail.Messages(ctx, d.mailbox)
	if err != nil || len(l.UIDs) == 0 {
		return n.fsys.start, err == nil
	}
	last := mail.ID{Folder: d.mailbox, UIDValidity: l.UIDValidity, UID: l.UIDs[len(l.UIDs)-1]}
	attr, err := n.fsys.mail.Attr(ctx, last)
	if err != nil {
		return n.fsys.start, false
	}
	return attr.Date, true
}

var _ = (gofs.NodeLookuper)((*folderNode)(nil))

func (n *folderNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	d := n.fsys.directory(n.path)
	if d == nil {
		return nil, syscall.ENOENT
	}
	if c := d.children[name]; c != nil {
		child := &folderNode{fsys: n.fsys, path: append(slices.Clip(n.path), name)}
		id := folderNumber(c.key)
		n.fsys.fill(&out.Attr, id, n.fsys.start, 0)
		out.SetEntryTimeout(keep) // and no attribute timeout: see Getattr
		return n.NewInode(ctx, child, id), 0
	}
	if name == controlName && len(n.path) == 0 {
		child := &controlNode{fsys: n.fsys}
		n.fsys.fill(&out.Attr, child.number(), n.fsys.start, 0)
		out.SetEntryTimeout(keep)
		return n.NewInode(ctx, child, child.number()), 0
	}
	uid, ok := parseUID(name)
	if !ok || d.mailbox == "" {
		return nil, syscall.ENOENT
	}
	ctx, finish := n.fsys.wait(ctx)
	defer finish()
	l, err := n.fsys.mail.Messages(ctx, d.mailbox)
	if err == nil && !l.Has(uid) {
		err = mail.ErrNotFound
	}
	if err != nil {
		// Under a new UIDVALIDITY there may be a message of this number, and
		// nobody would tell the kernel so.
		out.SetEntryTimeout(onTheWay)
		return nil, n.fsys.errno("look up "+d.mailbox+"/"+name, err)
	}
	id := mail.ID{Folder: d.mailbox, UIDValidity: l.UIDValidity, UID: uid}
	child := &messageNode{fsys: n.fsys, id: id, numbers: messageNumbers(id)}
	child.fillEntry(out, child.number(), 0, true)
	return n.NewInode(ctx, child, child.number()), 0
}

// parseUID reads a UID as it is listed: no sign, no leading zero.
func parseUID(name string) (uint32, bool) {
	if len(name) == 0 || name[0] < '1' || name[0] > '9' {
		return 0, false
	}
	uid, err := strconv.ParseUint(name, 10, 32)
	return uint32(uid), err == nil
}

var _ = (gofs.NodeOpendirHandler)((*folderNode)(nil))

func (n *folderNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	d := n.fsys.directory(n.path)
	if d == nil {
		return nil, 0, syscall.ENOENT
	}
	l := &listing{}
	for _, name := range d.names() {
		l.named = append(l.named, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: folderNumber(d.children[name].key).Ino})
	}
	if d.mailbox != "" {
		ctx, finish := n.fsys.wait(ctx)
		defer finish()
		messages, err := n.fsys.mail.Messages(ctx, d.mailbox)
		if err != nil {
			return nil, 0, n.fsys.errno("list "+d.mailbox, err)
		}
		l.uids = messages
		l.numbers = messageNumbers(mail.ID{Folder: d.mailbox, UIDValidity: messages.UIDValidity})
	}
	if len(l.named)+len(l.uids.UIDs) == 0 {
		l.named = append(l.named, dot(n.number()))
	}
	return l, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
}

var _ = (gofs.NodeRmdirer)((*folderNode)(nil))

// Rmdir deletes a message. Folders stay.
func (n *folderNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	d := n.fsys.directory(n.path)
	switch {
	case d == nil:
		return syscall.ENOENT
	case d.children[name] != nil:
		return syscall.EPERM
	}
	// The message that the kernel means is the one that it has looked up. Under
	// a new UIDVALIDITY the server has another one by this name.
	child := messageIn(n.EmbeddedInode(), name)
	if child == nil {
		return syscall.ENOENT
	}
	return child.remove(ctx)
}

// messageIn returns the message that the kernel knows by this name in a folder,
// nil if there is none.
func messageIn(folder *gofs.Inode, name string) *messageNode {
	inode := folder.GetChild(name)
	if inode == nil {
		return nil
	}
	child, _ := inode.Operations().(*messageNode) // or it is a folder
	return child
}
