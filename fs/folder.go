package fs

import (
	"cmp"
	"context"
	"path"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
	"imapfs/tree"
)

// folderNode is a directory of messages and of further folders. The root is
// one too.
type folderNode struct {
	gofs.Inode
	unchangeableDir
	fsys *FS
	key  string // tree.Folder.Key, which stays where the folder is renamed

	listedAt atomic.Int64 // when somebody has listed it, in Unix nanoseconds
	around   atomic.Bool  // see looksAround
	entered  atomic.Bool  // a folder in it was listed since
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeAccesser
	gofs.NodeLookuper
	gofs.NodeOpendirHandler
	gofs.NodeRmdirer
	gofs.NodeMkdirer
	gofs.NodeCreater
	gofs.NodeRenamer
	gofs.NodeUnlinker
	gofs.NodeFsyncer
} = (*folderNode)(nil)

// pathOf is where something in the folder is, or would be, from the root of the mount, for
// the log.
func (n *folderNode) pathOf(name string) string {
	if f := n.now(); f == nil || f.Children[name] == nil {
		name = n.fsys.inLog(name)
	}
	return path.Join(n.Path(nil), name)
}

// shown is what the folder is called in the log.
func (n *folderNode) shown() string { return cmp.Or(n.Path(nil), "the top of the mount") }

// now returns the folder as it is now, nil if it is gone.
func (n *folderNode) now() *tree.Folder { return n.fsys.folders.Keyed(n.key) }

func (n *folderNode) messages(f *tree.Folder) view { return view{fsys: n.fsys, mailbox: f.Mailbox()} }

// Getattr gives a folder the date of its newest message, and as ctime that of
// its last change since the mount began. The former takes a look into the
// folder, which LOOKUP spares: a path leads through many folders that nobody
// wants to know anything of.
func (n *folderNode) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f := n.now()
	if f == nil {
		return syscall.ENOENT
	}
	date, known := n.newest(ctx, f)
	n.fsys.fillFolder(&out.Attr, f, date)
	changed := n.fsys.changes.at(f.Mailbox(), n.fsys.start)
	out.SetTimes(nil, nil, &changed)
	if known {
		out.SetTimeout(keep)
	}
	return 0
}

// Access looks at the mode alone, which takes no look into the folder.
func (n *folderNode) Access(ctx context.Context, mask uint32) syscall.Errno {
	f := n.now()
	if f == nil {
		return syscall.ENOENT
	}
	var attr fuse.Attr
	n.fsys.fillFolder(&attr, f, n.fsys.start)
	return access(ctx, attr.Mode, mask)
}

// newest returns the date of the newest message, that of the mount if there is
// none. known is false if the server did not say, or nobody would hear of another one. The
// server is asked only for the message with the highest number, which is the newest one but
// where old mail was put in.
func (n *folderNode) newest(ctx context.Context, f *tree.Folder) (date time.Time, known bool) {
	if f.Mailbox() == "" {
		return n.fsys.start, true
	}
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	if date, known := n.fsys.mail.Newest(f.Mailbox()); known {
		return orStart(n.fsys, date), true
	}
	if above := n.parent(); above != nil {
		if date, ok := above.dateAmong(ctx, f); ok {
			return orStart(n.fsys, date), false
		}
	}
	l, err := n.messages(f).listing(ctx)
	if err != nil || len(l.UIDs) == 0 {
		return n.fsys.start, err == nil
	}
	last := mail.ID{Folder: f.Mailbox(), UIDValidity: l.UIDValidity, UID: l.UIDs[len(l.UIDs)-1]}
	attr, err := n.fsys.mail.Attr(ctx, last)
	if err != nil {
		return n.fsys.start, false
	}
	if date, _ := n.fsys.mail.Newest(f.Mailbox()); date.After(attr.Date) {
		return date, true
	}
	return attr.Date, true
}

// orStart is a date, or that of the mount if there is none.
func orStart(fsys *FS, date time.Time) time.Time {
	if date.IsZero() {
		return fsys.start
	}
	return date
}

// Setattr lets whoever copies a directory into the mount give it times and permissions at
// the end, and leaves those of the folder as they are. As root they give it its owner too,
// which is no change where it is that of the mount.
func (n *folderNode) Setattr(ctx context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	uid, chown := in.GetUID()
	gid, chgrp := in.GetGID()
	if chown && uid != n.fsys.opt.UID || chgrp && gid != n.fsys.opt.GID || in.Valid&fuse.FATTR_SIZE != 0 {
		return n.fsys.outcome("change the owner of", n.shown(), errOwner)
	}
	return n.Getattr(ctx, f, out)
}

func (n *folderNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f := n.now()
	if f == nil {
		return nil, syscall.ENOENT
	}
	if c := f.Children[name]; c != nil {
		return n.child(ctx, c, out), 0
	}
	if name == n.fsys.trashName() && n.key == "" && n.fsys.trashes() {
		return n.fsys.lookupTrash(ctx, n.EmbeddedInode(), "", out), 0
	}
	if name == controlName && n.key == "" {
		child := &controlNode{fsys: n.fsys}
		n.fsys.fill(&out.Attr, child.number(), n.fsys.start, 0)
		out.SetEntryTimeout(keep)
		return n.NewInode(ctx, child, child.number()), 0
	}
	if name == SearchName {
		return n.lookupSearch(ctx, out), 0
	}
	if child := n.lookupLetter(ctx, f.Mailbox(), name, out); child != nil {
		return child, 0
	}
	if name == FolderFlagsName && f.Mailbox() != "" {
		return n.messages(f).lookupFlags(ctx, n.EmbeddedInode(), out)
	}
	return n.messages(f).lookup(ctx, n.EmbeddedInode(), name, out)
}

// child answers with a folder in this one.
func (n *folderNode) child(ctx context.Context, c *tree.Folder, out *fuse.EntryOut) *gofs.Inode {
	n.fsys.fillFolder(&out.Attr, c, n.fsys.start)
	out.SetEntryTimeout(keep) // and no attribute timeout: see Getattr
	return n.NewInode(ctx, &folderNode{fsys: n.fsys, key: c.Key}, folderNumber(c.Key))
}

// fillFolder sets the attributes of a folder. The bit to write stands for all that can be
// done in it: messages put into it or taken out, folders made. It goes only when none of
// these can be done: where the kernel checks the modes (allow_other) it refuses what has
// no bit, without a reason, and what has one too many the server refuses with one. Whether
// a folder can be deleted or renamed (right x of RFC 4314) is a matter of itself, and the
// bit that the kernel looks at is that of the directory above, which others share: no
// bit tells it.
func (fsys *FS) fillFolder(out *fuse.Attr, f *tree.Folder, date time.Time) {
	fsys.fill(out, folderNumber(f.Key), date, 0)
	r := fsys.mail.Rights(f.Mailbox())
	if f.Mailbox() != "" && !r.Insert && !r.Delete && (!r.Create || f.NoInferiors) {
		out.Mode &^= writeBits
	}
}

func (n *folderNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f := n.now()
	if f == nil {
		return nil, 0, syscall.ENOENT
	}
	l := &listing{}
	n.listed()
	for _, name := range f.Names() {
		l.named = append(l.named, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: folderNumber(f.Children[name].Key).Ino})
	}
	l.named = append(l.named, n.fsys.letters.entries(f.Mailbox())...)
	n.listAround(ctx, f)
	if errno := n.messages(f).list(ctx, l); errno != 0 {
		return nil, 0, errno
	}
	if len(l.named)+len(l.messages.UIDs) == 0 {
		l.named = append(l.named, dot(folderNumber(f.Key)))
	}
	return l, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
}

// Rmdir deletes a message, or a folder in which there is nothing.
func (n *folderNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	f := n.now()
	switch {
	case f == nil:
		return syscall.ENOENT
	case f.Children[name] != nil:
		return n.removeFolder(ctx, name)
	}
	// The message that the kernel means is the one that it has looked up. Under
	// a new UIDVALIDITY the server has another one by this name.
	child := messageIn(n.EmbeddedInode(), name)
	if child == nil {
		return syscall.ENOENT
	}
	if errno := child.mayGo(ctx); errno != 0 {
		return errno
	}
	return child.remove(ctx)
}

// refuse refuses what has no place in a folder.
func (n *folderNode) refuse(name string) syscall.Errno {
	if fateOf(name) == toKeep {
		return n.fsys.decline("put", n.pathOf(name), errNoPlace)
	}
	return n.fsys.outcome("put", "this into "+n.shown(), errNoPlace)
}

// Mknod, Symlink and Link implement the interfaces of gofs.

func (n *folderNode) Mknod(_ context.Context, name string, _, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, n.refuse(name)
}

func (n *folderNode) Symlink(_ context.Context, _, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, n.refuse(name)
}

func (n *folderNode) Link(_ context.Context, _ gofs.InodeEmbedder, name string, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, n.refuse(name)
}

// renameNoReplace is RENAME_NOREPLACE of rename(2), for which the kernel has looked.
const renameNoReplace = 1

// Rename moves a message, a folder or a letter.
func (n *folderNode) Rename(ctx context.Context, name string, parent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := parent.(*folderNode)
	trash, toTrash := parent.(*trashNode)
	f := n.now()
	message := messageIn(n.EmbeddedInode(), name)
	switch {
	case flags&^renameNoReplace != 0:
		return syscall.EINVAL
	case toTrash && message != nil:
		return message.toTrash(ctx, trash, newName)
	case !ok:
		return n.unchangeableDir.Rename(ctx, name, parent, newName, flags)
	case f == nil || to.now() == nil:
		return syscall.ENOENT
	case f.Children[name] != nil:
		return n.moveFolder(ctx, name, to, newName)
	}
	inode := n.GetChild(name)
	if inode == nil {
		return syscall.ENOENT
	}
	switch child := inode.Operations().(type) {
	case *messageNode:
		return child.moveTo(ctx, name, to, newName)
	case *letterNode:
		return child.moveTo(ctx, to, newName)
	case *folderNode:
		return syscall.ENOENT // it is gone since the kernel has looked
	}
	return syscall.EPERM
}
