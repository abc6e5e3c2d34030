package fs

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"imapfs/mail"
	"imapfs/tree"
)

// SearchName is the directory in each folder in which each name is a query, in the language
// of package query, and a directory with what it finds: .search/from:ines. It is found by
// name and not listed, and so is what is in it.
const SearchName = ".search"

// What a query finds is the messages themselves in a further view: they are read, moved and
// deleted there as where they are. The kernel keeps the names for a moment only; listings,
// which it keeps, are declared void when something changes, and when they are old.

// searchNode is a folder's directory of queries.
type searchNode struct {
	gofs.Inode
	unchangeableDir
	fsys *FS
	key  string // of the folder, tree.Folder.Key
}

// foundNode is a folder as a query shows it.
type foundNode struct {
	gofs.Inode
	unchangeableDir
	fsys   *FS
	key    string
	search *search
	deep   bool // with the folders in it

	expires atomic.Bool // its listing will be declared void
}

var (
	_ interface {
		gofs.NodeGetattrer
		gofs.NodeLookuper
		gofs.NodeOpendirHandler
		gofs.NodeRmdirer
	} = (*searchNode)(nil)
	_ interface {
		gofs.NodeGetattrer
		gofs.NodeLookuper
		gofs.NodeOpendirHandler
		gofs.NodeRmdirer
		gofs.NodeRenamer
		gofs.NodeOnForgetter
	} = (*foundNode)(nil)
)

func (n *searchNode) number() gofs.StableAttr {
	return numbersOf("search in "+n.key, 0).of(0, kindMessage, syscall.S_IFDIR)
}

func (n *foundNode) number() gofs.StableAttr {
	what := fmt.Sprintf("found %d %s %d %s %s", len(n.search.where), n.search.where, len(n.key), n.key, n.search.text)
	return numbersOf(what, 0).of(0, kindMessage, syscall.S_IFDIR)
}

func (n *searchNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fsys.fill(&out.Attr, n.number(), n.fsys.start, 0)
	return 0
}

func (n *foundNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fsys.fill(&out.Attr, n.number(), n.fsys.start, 0)
	return 0
}

// lookupSearch answers a LOOKUP of the queries of a folder.
func (n *folderNode) lookupSearch(ctx context.Context, out *fuse.EntryOut) *gofs.Inode {
	child := &searchNode{fsys: n.fsys, key: n.key}
	n.fsys.fill(&out.Attr, child.number(), n.fsys.start, 0)
	out.SetEntryTimeout(keep)
	return n.NewInode(ctx, child, child.number())
}

// Lookup reads a query. At the top of the mount, and in a folder that holds only folders, it is
// about all of these, else about one.
func (n *searchNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	s := &search{n.key, name}
	if _, err := s.parse(); err != nil {
		return nil, n.fsys.errno("search", n.Path(nil), err)
	}
	f := n.fsys.folders.Keyed(n.key)
	if f == nil {
		return nil, syscall.ENOENT
	}
	child := &foundNode{fsys: n.fsys, key: n.key, search: s, deep: n.key == "" || f.Mailbox() == ""}
	return n.add(ctx, child, n.EmbeddedInode(), out), 0
}

func (*searchNode) add(ctx context.Context, child *foundNode, in *gofs.Inode, out *fuse.EntryOut) *gofs.Inode {
	child.fsys.fill(&out.Attr, child.number(), child.fsys.start, 0)
	out.SetEntryTimeout(onTheWay)
	inode := in.NewInode(ctx, child, child.number())
	child.fsys.found.show(inode.Operations().(*foundNode)) // which can be an earlier one
	return inode
}

// OnForget is told that the kernel has no more use for the directory.
func (n *foundNode) OnForget() { n.fsys.found.hide(n) }

func (n *searchNode) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return &listing{named: []fuse.DirEntry{dot(n.number())}}, 0, 0
}

// Rmdir takes away a query that finds nothing, as rm -r does at its end.
func (n *searchNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	return removeEmpty(ctx, n.EmbeddedInode(), name)
}

func removeEmpty(ctx context.Context, dir *gofs.Inode, name string) syscall.Errno {
	inode := dir.GetChild(name)
	if inode == nil {
		return syscall.ENOENT
	}
	found, ok := inode.Operations().(*foundNode)
	if !ok {
		return syscall.EPERM
	}
	f := found.now()
	if f == nil {
		return syscall.ENOENT
	}
	some, err := found.finds(ctx, f)
	switch {
	case err != nil:
		return found.fsys.errno("search", found.shown(f), err)
	case some:
		return syscall.ENOTEMPTY
	}
	return 0
}

// finds tells whether anything is found, in f or, where n is deep, in what is in it.
func (n *foundNode) finds(ctx context.Context, f *tree.Folder) (bool, error) {
	if !n.deep {
		l, _, err := n.messages(f).found(ctx, nothing)
		return len(l.UIDs) > 0, err
	}
	of, err := n.search.begin(ctx, n.fsys, f)
	if err != nil {
		return false, err
	}
	some, _, err := of.inAny(ctx, n.fsys, f, false)
	return some, err
}

func (n *foundNode) now() *tree.Folder { return n.fsys.folders.Keyed(n.key) }

func (n *foundNode) messages(f *tree.Folder) view {
	return view{fsys: n.fsys, mailbox: f.Mailbox(), search: n.search}
}

// shown is what the folder is called in the log.
func (n *foundNode) shown(f *tree.Folder) string {
	if f.Mailbox() == "" {
		return "all folders"
	}
	return n.fsys.shown(f.Mailbox())
}

func (n *foundNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	f := n.now()
	if f == nil {
		return nil, syscall.ENOENT
	}
	if c := f.Children[name]; c != nil && n.deep {
		child := &foundNode{fsys: n.fsys, key: c.Key, search: n.search, deep: true}
		return (*searchNode)(nil).add(ctx, child, n.EmbeddedInode(), out), 0
	}
	inode, errno := n.messages(f).lookup(ctx, n.EmbeddedInode(), name, out)
	out.SetEntryTimeout(onTheWay) // it may match no more in a moment
	return inode, errno
}

func (n *foundNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f := n.now()
	if f == nil {
		return nil, 0, syscall.ENOENT
	}
	l := &foundListing{node: n, folder: f, messages: n.messages(f).messages(mail.Listing{})}
	if n.deep {
		l.names = f.Names()
		var err error
		if l.of, err = n.search.begin(ctx, n.fsys, f); err != nil {
			return nil, 0, n.fsys.errno("search", n.shown(f), err)
		}
	}
	if !n.expires.Swap(true) {
		n.fsys.notes.later(resultsKept, func() {
			n.expires.Store(false)
			n.NotifyContent(0, 0)
		})
	}
	return l, 0, 0
}

// Rmdir deletes a message, or takes a folder away in which nothing is found any more.
func (n *foundNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	child := messageIn(n.EmbeddedInode(), name)
	if child == nil {
		return removeEmpty(ctx, n.EmbeddedInode(), name)
	}
	if errno := child.mayGo(ctx); errno != 0 {
		return errno
	}
	return child.remove(ctx)
}

// Rename moves a message to a folder, or to the trash.
func (n *foundNode) Rename(ctx context.Context, name string, parent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	message := messageIn(n.EmbeddedInode(), name)
	switch to := parent.(type) {
	case *folderNode:
		if message != nil && flags&^renameNoReplace == 0 && to.now() != nil {
			return message.moveTo(ctx, name, to, newName)
		}
	case *trashNode:
		if message != nil && flags&^renameNoReplace == 0 {
			return message.toTrash(ctx, to, newName)
		}
	}
	return n.unchangeableDir.Rename(ctx, name, parent, newName, flags)
}
