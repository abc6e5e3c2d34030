package fs

import (
	"context"
	"slices"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

// attachmentsNode is the directory of a message's attachments.
type attachmentsNode struct{ messageDir }

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeLookuper
	gofs.NodeOpendirHandler
	gofs.NodeUnlinker
} = (*attachmentsNode)(nil)

func (n *messageNode) newAttachments() *attachmentsNode {
	a := &attachmentsNode{}
	a.message, a.kind = n, kindAttachments
	return a
}

// shown returns all attachments, and those that are not hidden.
func (n *attachmentsNode) shown(ctx context.Context) (all, shown []mail.Attachment, err error) {
	root, err := n.message.content.Structure(ctx)
	if err != nil {
		return nil, nil, err
	}
	all = root.Attachments()
	shown = slices.DeleteFunc(slices.Clone(all), func(a mail.Attachment) bool { return n.hides(a.Name) })
	return all, shown, nil
}

// find returns the attachment of this name if it is shown, else mail.ErrNotFound.
func (n *attachmentsNode) find(ctx context.Context, name string) (*content.File, error) {
	_, shown, err := n.shown(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(shown, func(a mail.Attachment) bool { return a.Name == name })
	if i < 0 {
		return nil, mail.ErrNotFound
	}
	return n.message.content.File(content.Attachment, shown[i].Part), nil
}

func (n *attachmentsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	ctx, finish := n.message.fsys.call(ctx)
	defer finish()
	file, err := n.find(ctx, name)
	if err != nil {
		if n.hides(name) {
			out.SetEntryTimeout(onTheWay) // see messageNode.Lookup
		}
		return nil, n.message.errno("look into", err)
	}
	return n.message.lookupFile(ctx, n.EmbeddedInode(), name, file, out, asked)
}

func (n *attachmentsNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	ctx, finish := n.message.fsys.call(ctx)
	defer finish()
	all, shown, err := n.shown(ctx)
	if err != nil {
		return nil, 0, n.message.errno("list", err)
	}
	files := make(map[string]*mail.Part, len(shown))
	l := &listing{lookup: func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
		ctx, finish := n.message.fsys.call(ctx)
		defer finish()
		file := n.message.content.File(content.Attachment, files[name])
		return n.message.lookupFile(ctx, n.EmbeddedInode(), name, file, out, listed)
	}}
	if len(shown) == 0 && len(all) > 0 {
		l.named = append(l.named, dot(n.number()))
	}
	for _, a := range shown {
		files[a.Name] = a.Part
		id := n.message.numbers.attachment(n.message.uid, a.Part.Section)
		l.named = append(l.named, fuse.DirEntry{Name: a.Name, Mode: syscall.S_IFREG, Ino: id.Ino})
	}
	return l, 0, 0
}

// Unlink hides an attachment for a while, as in the message's own directory. A
// mv out of the mount ends with it.
func (n *attachmentsNode) Unlink(ctx context.Context, name string) syscall.Errno {
	ctx, finish := n.message.fsys.call(ctx)
	defer finish()
	if _, err := n.find(ctx, name); err != nil {
		return n.message.errno("look into", err)
	}
	n.message.fsys.leaving.hide(n.entry(name))
	return 0
}
