package fs

import (
	"context"
	"slices"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
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

// messageDir is what the directories of a message have in common: its own, and
// that of its attachments.
type messageDir struct {
	gofs.Inode
	unchangeableDir
}

func (d *messageDir) number() gofs.StableAttr { return d.message.numberOf(d.kind, syscall.S_IFDIR) }

func (d *messageDir) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n := d.message
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	if errno := n.check(); errno != 0 {
		return errno
	}
	if _, err := n.content.Attr(ctx); err != nil {
		return n.errno("look at", err)
	}
	date, known := n.date()
	n.fill(&out.Attr, d.number(), date, d.size())
	if known {
		out.SetTimeout(keep)
	}
	return 0
}

// size is RFC822.SIZE of the directory of a message, 0 until it is known and for that of its
// attachments.
func (d *messageDir) size() int64 {
	attr, known := d.message.content.Known()
	if !known || d.kind != kindMessage {
		return 0
	}
	return attr.Size
}

// entry is a name in the directory, for the table of what is leaving.
func (d *unchangeableDir) entry(name string) hiddenName {
	return hiddenName{d.message.content.ID(), d.kind, name}
}

func (d *messageDir) hides(name string) bool { return d.message.fsys.leaving.hides(d.entry(name)) }

// messageNode is the directory of one message.
type messageNode struct {
	messageDir
	fsys    *FS
	content *content.Message
	numbers numbers
	uid     uint32 // with which it was found: its inode numbers stay where it is moved
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeLookuper
	gofs.NodeOpendirHandler
	gofs.NodeUnlinker
	gofs.NodeRmdirer
	gofs.NodeOnForgetter
} = (*messageNode)(nil)

// OnForget is told that the kernel has no more use for the directory.
func (n *messageNode) OnForget() { n.fsys.given.forget(n.content.ID(), n) }

func (fsys *FS) messageWith(id mail.ID, numbers numbers) *messageNode {
	n := &messageNode{fsys: fsys, content: fsys.content.Message(id), numbers: numbers, uid: id.UID}
	n.message, n.kind = n, kindMessage
	return n
}

// numberOf is the number of something in the message, but attachments.
func (n *messageNode) numberOf(k content.Kind, mode uint32) gofs.StableAttr {
	return n.numbers.of(n.uid, k, mode)
}

// errno reports what has failed with the message.
func (n *messageNode) errno(verb string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return n.fsys.errno(verb, n.path(), err)
}

// path is where the message is, from the root of the mount.
func (n *messageNode) path() string { return n.fsys.pathOf(n.content.ID()) }

// check finds out whether the message is still there, without asking the
// server.
func (n *messageNode) check() syscall.Errno { return n.errno("look at", n.content.Check()) }

// date returns the date of the message, that of the mount until it is known.
func (n *messageNode) date() (date time.Time, known bool) {
	if attr, known := n.content.Known(); known {
		return attr.Date, true
	}
	return n.fsys.start, false
}

// fillEntry answers a LOOKUP of the message or of something in it.
func (n *messageNode) fillEntry(out *fuse.EntryOut, id gofs.StableAttr, size int64, exact bool) {
	date, known := n.date()
	n.fill(&out.Attr, id, date, size)
	out.SetEntryTimeout(keep)
	if known && exact {
		out.SetAttrTimeout(keep)
	}
}

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
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	if errno := n.check(); errno != 0 {
		return nil, errno
	}
	if n.hides(name) {
		// With a timeout of its own the library makes it an answer that the
		// kernel does not keep.
		out.SetEntryTimeout(onTheWay)
		return nil, syscall.ENOENT
	}
	if name == attachmentsName {
		child := n.newAttachments()
		n.fillEntry(out, child.number(), 0, true)
		return n.NewInode(ctx, child, child.number()), 0
	}
	if name == flagsName {
		return n.lookupFlags(ctx, out)
	}
	kind, ok := kinds[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	file := n.content.File(kind, nil)
	if kind == content.HTML {
		root, err := n.content.Structure(ctx)
		if err != nil {
			return nil, n.errno("look into", err)
		}
		html := root.HTML()
		if len(html) == 0 {
			return nil, syscall.ENOENT
		}
		file.Part = html[0]
	}
	return n.lookupFile(ctx, n.EmbeddedInode(), name, file, out, why)
}

// kinds has the files of a message by their names.
var kinds = map[string]content.Kind{headersName: content.Headers, bodyName: content.Body, rawName: content.Raw, htmlName: content.HTML}

func (n *messageNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	if errno := n.check(); errno != 0 {
		return nil, 0, errno
	}
	l := &listing{lookup: func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
		return n.lookup(ctx, name, out, listed)
	}}
	names, err := n.shown(ctx)
	if err != nil {
		return nil, 0, n.errno("list", err)
	}
	if len(names) == 0 {
		l.named = append(l.named, dot(n.number()))
	}
	for _, name := range names {
		kind, mode := kinds[name], uint32(syscall.S_IFREG)
		if name == attachmentsName {
			kind, mode = kindAttachments, syscall.S_IFDIR
		}
		l.named = append(l.named, fuse.DirEntry{Name: name, Mode: mode, Ino: n.numberOf(kind, mode).Ino})
	}
	return l, 0, 0
}

// shown returns what the directory lists.
func (n *messageNode) shown(ctx context.Context) ([]string, error) {
	names := []string{attachmentsName}
	if n.fsys.opt.ShowHTML {
		root, err := n.content.Structure(ctx)
		if err != nil {
			return nil, err
		}
		if len(root.HTML()) > 0 {
			names = append(names, htmlName)
		}
	}
	names = append(names, bodyName, headersName)
	if n.fsys.opt.ShowRaw {
		names = append(names, rawName)
	}
	return slices.DeleteFunc(names, n.hides), nil
}

// Unlink hides a file for a while and leaves the message alone. It is what rm -r
// does on its way to the directory, but also programs that overwrite.
func (n *messageNode) Unlink(_ context.Context, name string) syscall.Errno {
	if errno := n.check(); errno != 0 {
		return errno
	}
	if name == flagsName {
		return n.fsys.outcome("delete", n.path()+"/"+name, errFlagsFile)
	}
	if _, ok := kinds[name]; !ok {
		return syscall.ENOENT
	}
	n.fsys.leaving.hide(n.entry(name))
	return 0
}

// Rmdir hides the attachments directory, once all in it is hidden.
func (n *messageNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	if name != attachmentsName {
		return syscall.ENOENT
	}
	if inode := n.GetChild(name); inode != nil { // else nobody has looked at it
		ctx, finish := n.fsys.call(ctx)
		defer finish()
		_, left, err := inode.Operations().(*attachmentsNode).shown(ctx)
		if err != nil {
			return n.errno("look into", err)
		}
		if len(left) > 0 {
			return syscall.ENOTEMPTY
		}
	}
	n.fsys.leaving.hide(n.entry(name))
	return 0
}
