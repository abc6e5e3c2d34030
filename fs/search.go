package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sync/errgroup"

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
	ctx, finish := found.fsys.call(ctx)
	defer finish()
	some, err := found.finds(ctx, f)
	switch {
	case err != nil:
		return found.fsys.errno("search", found.shown(f), err)
	case some[f.Key]:
		return syscall.ENOTEMPTY
	}
	return 0
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
	l := &listing{}
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	some, err := n.finds(ctx, f)
	if err != nil {
		return nil, 0, n.fsys.errno("search", n.shown(f), err)
	}
	for _, name := range f.Names() {
		if c := f.Children[name]; some[c.Key] {
			id := (&foundNode{key: c.Key, search: n.search, deep: true}).number()
			l.named = append(l.named, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: id.Ino})
		}
	}
	if errno := n.messages(f).list(ctx, l); errno != 0 {
		return nil, 0, errno
	}
	if len(l.named)+len(l.messages.UIDs) == 0 {
		l.named = append(l.named, dot(n.number()))
	}
	if !n.expires.Swap(true) {
		n.fsys.notes.later(resultsKept, func() {
			n.expires.Store(false)
			n.NotifyContent(0, 0)
		})
	}
	return l, 0, 0
}

// searchedAtOnce is how many folders are searched at the same time; how many connections
// there are limits it too.
const searchedAtOnce = 8

// finds tells, by their keys, of the folders in which something is found, or in one below: of
// f alone, or of all that is in it. One that the server does not let anybody into is left out.
func (n *foundNode) finds(ctx context.Context, f *tree.Folder) (map[string]bool, error) {
	var (
		mu       sync.Mutex // guards what follows
		some     = make(map[string]bool)
		searched int
		refused  error
	)
	look, ctx := errgroup.WithContext(ctx)
	look.SetLimit(searchedAtOnce)
	var each func(f *tree.Folder, above []string)
	each = func(f *tree.Folder, above []string) {
		above = append(above[:len(above):len(above)], f.Key)
		if f.Mailbox() != "" {
			look.Go(func() error {
				l, err := n.messages(f).listing(ctx)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, mail.ErrRefused), errors.Is(err, mail.ErrNotFound):
					refused = err // this folder; the others have theirs
					return nil
				case err != nil:
					return err
				}
				searched++
				for _, key := range above {
					some[key] = some[key] || len(l.UIDs) > 0
				}
				return nil
			})
		}
		for _, c := range f.Children {
			if n.deep {
				each(c, above)
			}
		}
	}
	each(f, nil)
	err := look.Wait()
	if err == nil && searched == 0 {
		err = refused
	}
	if err == nil && refused != nil {
		n.fsys.failures.log(slog.LevelWarn, "search in some folders of", n.shown(f), syscall.EIO, refused)
	}
	return some, err
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
