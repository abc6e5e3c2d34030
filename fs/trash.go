package fs

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

// The trash of a desktop (the freedesktop.org Trash specification 1.0, "trash directories"
// of a volume): .Trash-UID at the mount point, with the directories files and info. It is
// there only for who asks for it by name. To move a message into files is to move it to
// the account's trash; what that has from elsewhere is not shown, so that who empties the
// trash of a desktop deletes only what went there from here. Where a message came from is
// told by a file in info that the file manager writes; it is kept for the next mount too,
// if the cache on disk keeps it.

// The directories in it. Into the third one GNOME moves what it is about to delete.
const (
	trashFiles    = "files"
	trashInfo     = "info"
	trashExpunged = "expunged"
)

// trash is what was moved there from here.
type trash struct {
	keeping sync.Mutex // held from a change until it is kept

	mu    sync.Mutex        // guards what follows
	items map[named]mail.ID // by directory and name
	infos map[string][]byte // by name
}

// Keeper keeps a few bytes for the next mount, or forgets them.
type Keeper interface {
	Get(key string) ([]byte, bool)
	Put(key string, value []byte)
}

// forgetful is the Keeper of those who have none.
type forgetful struct{}

func (forgetful) Get(string) ([]byte, bool) { return nil, false }
func (forgetful) Put(string, []byte)        {}

const trashKey = "trash"

// mostTrashInfo is how long a file in info may be, and mostTrashed how many there are.
const (
	mostTrashInfo = 16 << 10
	mostTrashed   = 10_000
)

// kept is the form in which it is kept.
type kept struct {
	Names []string // in files
	IDs   []mail.ID
	Infos map[string][]byte
}

func (t *trash) recall(k Keeper) {
	var was kept
	raw, ok := k.Get(trashKey)
	if ok && gob.NewDecoder(bytes.NewReader(raw)).Decode(&was) != nil {
		was = kept{}
	}
	t.items, t.infos = make(map[named]mail.ID), was.Infos
	if t.infos == nil {
		t.infos = make(map[string][]byte)
	}
	for i, name := range was.Names[:min(len(was.Names), len(was.IDs))] {
		t.items[named{trashFiles, name}] = was.IDs[i]
	}
}

// change changes what there is, and keeps it.
func (t *trash) change(k Keeper, f func()) {
	t.keeping.Lock()
	defer t.keeping.Unlock()
	t.mu.Lock()
	f()
	now := kept{Infos: maps.Clone(t.infos)}
	for at, id := range t.items {
		if at.mailbox == trashFiles {
			now.Names, now.IDs = append(now.Names, at.name), append(now.IDs, id)
		}
	}
	t.mu.Unlock()
	var b bytes.Buffer
	if gob.NewEncoder(&b).Encode(now) == nil {
		k.Put(trashKey, b.Bytes())
	}
}

// forget forgets what somebody else has deleted. It is called with t.mu held.
func (t *trash) forget(dir string, gone []string) {
	for _, name := range gone {
		delete(t.items, named{dir, name})
		if dir == trashFiles {
			delete(t.infos, name+".trashinfo")
		}
	}
}

func (t *trash) find(at named) (id mail.ID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id, ok = t.items[at]
	return id, ok
}

// in returns the names in a directory.
func (t *trash) in(dir string) (names []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if dir == trashInfo {
		return slices.Sorted(maps.Keys(t.infos))
	}
	for at := range t.items {
		if at.mailbox == dir {
			names = append(names, at.name)
		}
	}
	slices.Sort(names)
	return names
}

func (t *trash) info(name string) (text []byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, ok = t.infos[name]
	return text, ok
}

// trashName is what the trash of the mount's owner is called.
func (fsys *FS) trashName() string { return fmt.Sprint(".Trash-", fsys.opt.UID) }

// trashes tells whether there is one.
func (fsys *FS) trashes() bool { return !fsys.opt.ReadOnly && fsys.mail.Trash() != "" }

// trashNode is the trash, or a directory in it.
type trashNode struct {
	gofs.Inode
	unchangeableDir
	fsys *FS
	dir  string // "" for the trash itself
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeLookuper
	gofs.NodeOpendirHandler
	gofs.NodeCreater
	gofs.NodeUnlinker
	gofs.NodeRmdirer
	gofs.NodeRenamer
} = (*trashNode)(nil)

// lookupTrash answers a LOOKUP of the trash, or of a directory in it.
func (fsys *FS) lookupTrash(ctx context.Context, parent *gofs.Inode, dir string, out *fuse.EntryOut) *gofs.Inode {
	n := &trashNode{fsys: fsys, dir: dir}
	n.fill(&out.Attr, fsys.start)
	out.SetEntryTimeout(onTheWay)
	return parent.NewInode(ctx, n, n.number())
}

func (n *trashNode) number() gofs.StableAttr {
	return numbersOf("trash "+n.dir, 0).of(0, kindMessage, syscall.S_IFDIR)
}

func (n *trashNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	changed := n.fsys.changes.at(n.fsys.mail.Trash(), n.fsys.start)
	n.fill(&out.Attr, changed)
	return 0
}

// fill sets the attributes. KDE uses no trash that is not for its owner alone.
func (n *trashNode) fill(out *fuse.Attr, date time.Time) {
	n.fsys.fill(out, n.number(), date, 0)
	out.Mode &^= 0o077
}

// Setattr lets a file manager give its directory times and permissions.
func (n *trashNode) Setattr(ctx context.Context, f gofs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.Getattr(ctx, f, out)
}

func (n *trashNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	out.SetEntryTimeout(onTheWay) // also of what is not there
	switch n.dir {
	case "":
		if name != trashFiles && name != trashInfo && name != trashExpunged {
			return nil, syscall.ENOENT
		}
		return n.fsys.lookupTrash(ctx, n.EmbeddedInode(), name, out), 0
	case trashInfo:
		text, ok := n.fsys.trash.info(name)
		if !ok {
			return nil, syscall.ENOENT
		}
		return n.infoFile(ctx, name, text, out), 0
	}
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	id, ok := n.fsys.trash.find(named{n.dir, name})
	if !ok {
		return nil, syscall.ENOENT
	}
	if there, err := n.has(ctx, id); err != nil {
		return nil, n.fsys.errno("look up", n.fsys.inLog(name)+" in the trash", err)
	} else if !there {
		return nil, syscall.ENOENT
	}
	child := n.fsys.messageWith(id, view{fsys: n.fsys}.numbers(id, byOldName, n.dir+"/"+name))
	child.fillEntry(out, child.number(), child.size(), true)
	out.SetEntryTimeout(onTheWay)
	return n.NewInode(ctx, child, child.number()), 0
}

// isTaken tells whether a message has this name: a rename must not put another one in its
// place, or nobody could bring it back.
func (n *trashNode) isTaken(ctx context.Context, name string) bool {
	id, ok := n.fsys.trash.find(named{n.dir, name})
	if !ok {
		return false
	}
	there, err := n.has(ctx, id)
	return there || err != nil
}

// has tells whether a message is still in the trash of the account.
func (n *trashNode) has(ctx context.Context, id mail.ID) (bool, error) {
	l, err := n.fsys.mail.Messages(ctx, id.Folder)
	if err != nil && !slices.ContainsFunc(n.fsys.mail.Folders(), func(f mail.Folder) bool { return f.Name == id.Folder }) {
		return false, nil // the trash of the account was another folder then, or is gone
	}
	return err == nil && l.UIDValidity == id.UIDValidity && l.Has(id.UID), err
}

func (n *trashNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	l := &listing{}
	add := func(name string, mode uint32) {
		l.named = append(l.named, fuse.DirEntry{Name: name, Mode: mode})
	}
	switch n.dir {
	case "":
		add(trashFiles, syscall.S_IFDIR)
		add(trashInfo, syscall.S_IFDIR)
	case trashInfo:
		for _, name := range n.fsys.trash.in(n.dir) {
			add(name, syscall.S_IFREG)
		}
	default:
		var gone []string
		for _, name := range n.fsys.trash.in(n.dir) {
			id, ok := n.fsys.trash.find(named{n.dir, name})
			there, err := n.has(ctx, id)
			if err != nil {
				return nil, 0, n.fsys.errno("list", "the trash", err)
			}
			if ok && there {
				add(name, syscall.S_IFDIR)
			} else {
				gone = append(gone, name)
			}
		}
		if len(gone) > 0 {
			n.change(func(t *trash) { t.forget(n.dir, gone) })
		}
	}
	if len(l.named) == 0 {
		l.named = append(l.named, dot(n.number()))
	}
	return l, 0, 0
}

// infoFile is a file in info. What is written there is kept when it is closed.
func (n *trashNode) infoFile(ctx context.Context, name string, text []byte, out *fuse.EntryOut) *gofs.Inode {
	id := n.fsys.anew(numbersOf("trash info "+name, 0).of(0, content.Raw, syscall.S_IFREG))
	slip := &slipNode{fsys: n.fsys, about: "what the trash keeps", text: text}
	n.fsys.fill(&slip.attr, id, time.Now(), 0)
	slip.do = func(_ context.Context, text string) syscall.Errno {
		if len(text) > mostTrashInfo {
			return syscall.EFBIG
		}
		n.change(func(t *trash) {
			if _, ok := t.infos[name]; ok {
				t.infos[name] = []byte(text)
			}
		})
		return 0
	}
	return slip.add(ctx, n.EmbeddedInode(), id, out)
}

// change changes what is in the trash.
func (n *trashNode) change(f func(t *trash)) {
	n.fsys.trash.change(n.fsys.opt.Keeper, func() { f(&n.fsys.trash) })
}

// Create makes a file in info.
func (n *trashNode) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if n.dir != trashInfo {
		return nil, nil, 0, syscall.EPERM
	}
	if len(n.fsys.trash.in(trashInfo)) >= mostTrashed {
		return nil, nil, 0, syscall.ENOSPC
	}
	n.change(func(t *trash) { t.infos[name] = nil })
	return n.infoFile(ctx, name, nil, out), nil, fuse.FOPEN_DIRECT_IO, 0
}

// Unlink removes a file in info.
func (n *trashNode) Unlink(_ context.Context, name string) syscall.Errno {
	if _, ok := n.fsys.trash.info(name); n.dir != trashInfo || !ok {
		return syscall.ENOENT
	}
	n.change(func(t *trash) { delete(t.infos, name) })
	return 0
}

// refuse refuses what is no message.
func (n *trashNode) refuse(string) syscall.Errno {
	return n.fsys.outcome("move", "this to the trash", errNotTrash)
}

// Mkdir finds that the directories are there.
func (n *trashNode) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

// Rmdir deletes a message for good.
func (n *trashNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	if n.dir == "" || n.dir == trashInfo {
		return n.fsys.decline("remove", "a directory of the trash", errTrashStay)
	}
	child := messageIn(n.EmbeddedInode(), name)
	if child == nil {
		return syscall.ENOENT
	}
	if errno := child.mayGo(ctx); errno != 0 {
		return errno
	}
	errno := child.remove(ctx)
	if errno == 0 || errno == syscall.ENOENT {
		n.change(func(t *trash) { delete(t.items, named{n.dir, name}) })
	}
	return errno
}

// Rename moves a message out of the trash, or to where it is deleted from, and gives a
// file in info another name.
func (n *trashNode) Rename(ctx context.Context, name string, parent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags&^renameNoReplace != 0 {
		return syscall.EINVAL
	}
	message := messageIn(n.EmbeddedInode(), name)
	switch to := parent.(type) {
	case *trashNode:
		switch {
		case n.dir == trashInfo && to.dir == trashInfo:
			n.change(func(t *trash) {
				t.infos[newName] = t.infos[name]
				delete(t.infos, name)
			})
			return 0
		case message != nil && to.dir != "" && to.dir != trashInfo:
			ctx, finish := n.fsys.call(ctx)
			defer finish()
			if to.isTaken(ctx, newName) {
				return syscall.ENOTEMPTY
			}
			n.change(func(t *trash) {
				t.items[named{to.dir, newName}] = message.content.ID()
				delete(t.items, named{n.dir, name})
			})
			return 0
		}
	case *folderNode:
		if message == nil {
			return syscall.EPERM
		}
		at := named{n.dir, name}
		if _, isMessage := mail.ParseName(newName); isMessage {
			name = newName // back to where it was, whatever the trash has called it
		}
		errno := message.moveTo(ctx, name, to, newName)
		if errno == 0 {
			n.change(func(t *trash) { delete(t.items, at) })
		}
		return errno
	}
	return syscall.EPERM
}

// trashChanged tells the kernel of what has gone from the account's trash elsewhere.
func (fsys *FS) trashChanged(c mail.Change) {
	trash := fsys.root.GetChild(fsys.trashName())
	if trash == nil || !c.Renewed && len(c.Removed) == 0 || c.Folder != fsys.mail.Trash() {
		return
	}
	for _, dir := range []string{trashFiles, trashExpunged} {
		inode := trash.GetChild(dir)
		if inode == nil {
			continue
		}
		for name, child := range inode.Children() {
			if message, ok := child.Operations().(*messageNode); ok && message.content.Check() != nil {
				inode.NotifyEntry(name)
			}
		}
		inode.NotifyContent(0, 0)
	}
}

// toTrash moves the message to the account's trash, where a file manager calls it name.
func (n *messageNode) toTrash(ctx context.Context, to *trashNode, name string) syscall.Errno {
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	id, mailbox := n.content.ID(), n.fsys.mail.Trash()
	if to.dir != trashFiles || mailbox == "" {
		return syscall.EPERM
	}
	if mailbox == id.Folder {
		return n.fsys.outcome("move", n.path()+" to the trash", errInTrash)
	}
	if to.isTaken(ctx, name) {
		return syscall.ENOTEMPTY
	}
	return n.discard(ctx, mailbox, func(_, now mail.ID) {
		if now != id {
			to.change(func(t *trash) { t.items[named{trashFiles, name}] = now })
		}
	})
}

// discard moves the message to the account's trash, and tells named which one it is there.
func (n *messageNode) discard(ctx context.Context, trash string, named func(from, now mail.ID)) syscall.Errno {
	was := n.path()
	err := change(ctx, func() error { return n.moveNow(trash, named) })
	errno := n.fsys.outcome("move", was+" to the trash", err)
	if errno == syscall.ESTALE {
		return syscall.ENOENT // see FS.delete
	}
	return errno
}
