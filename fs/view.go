package fs

import (
	"context"
	"path"
	"strconv"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// MessageName is the name of a message's directory: its UID.
func MessageName(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }

// ParseMessageName is the inverse of MessageName. A UID has one name only: no sign,
// no leading zero.
func ParseMessageName(name string) (uid uint32, ok bool) {
	if len(name) == 0 || name[0] < '1' || name[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil
}

// named is an entry in the directory of a mailbox that the server does not know by this
// name.
type named struct{ mailbox, name string }

// view is the messages of a mailbox as a directory shows them: each in a directory
// of its own, with a name that tells its UID. What is read, hidden or
// deleted of a message is kept by mail.ID, so it is the same however one has come
// to it.
type view struct {
	fsys    *FS
	mailbox string // "" for none
}

// listing returns the messages.
func (v view) listing(ctx context.Context) (mail.Listing, error) {
	if v.mailbox == "" {
		return mail.Listing{}, nil
	}
	return v.fsys.mail.Messages(ctx, v.mailbox)
}

// lookup answers a LOOKUP of a message in dir.
func (v view) lookup(ctx context.Context, dir *gofs.Inode, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	uid, isNumber := ParseMessageName(name)
	moved, isMoved := v.fsys.leaving.find(v.mailbox, name)
	if !isNumber && !isMoved || v.mailbox == "" {
		return nil, syscall.ENOENT
	}
	ctx, finish := v.fsys.call(ctx)
	defer finish()
	l, err := v.listing(ctx)
	id := mail.ID{Folder: v.mailbox, UIDValidity: l.UIDValidity, UID: uid}
	child := v.fsys.message
	switch {
	case err != nil:
	case isNumber && l.Has(uid):
	case isMoved && l.UIDValidity == moved.UIDValidity && l.Has(moved.UID):
		id, child = moved, func(id mail.ID) *messageNode { return v.fsys.movedMessage(id, name) }
	default:
		err = mail.ErrNotFound
	}
	if err != nil {
		// Under a new UIDVALIDITY there may be a message of this number, and
		// nobody would tell the kernel so.
		out.SetEntryTimeout(onTheWay)
		return nil, v.fsys.errno("look up", path.Join(v.fsys.shown(v.mailbox), name), err)
	}
	n := child(id)
	n.fillEntry(out, n.number(), 0, true)
	if id.UID != uid {
		out.SetEntryTimeout(onTheWay)
	}
	return dir.NewInode(ctx, n, n.number()), 0
}

// list adds the messages to a listing.
func (v view) list(ctx context.Context, to *listing) syscall.Errno {
	ctx, finish := v.fsys.call(ctx)
	defer finish()
	l, err := v.listing(ctx)
	if err != nil {
		return v.fsys.errno("list", v.fsys.shown(v.mailbox), err)
	}
	to.uids = l
	to.numbers = messageNumbers(mail.ID{Folder: v.mailbox, UIDValidity: l.UIDValidity})
	return 0
}

// messageIn returns the message that the kernel knows by this name in a directory,
// nil if there is none.
func messageIn(dir *gofs.Inode, name string) *messageNode {
	inode := dir.GetChild(name)
	if inode == nil {
		return nil
	}
	child, _ := inode.Operations().(*messageNode) // or it is a folder
	return child
}

// node returns what the kernel knows of a message, nil for nothing.
func (fsys *FS) node(id mail.ID) *messageNode {
	folder := fsys.inodeOf(id.Folder)
	if folder == nil {
		return nil
	}
	if n := messageIn(folder, MessageName(id.UID)); n != nil && n.content.ID() == id {
		return n
	}
	return nil
}
