package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// attachmentsNode is the directory of a message's attachments.
type attachmentsNode struct {
	gofs.Inode
	unchangeableDir
	message *messageNode
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
			return n.message.newFile(ctx, n.EmbeddedInode(), name, child, out, asked)
		}
	}
	if n.hidden.has(name) {
		out.SetEntryTimeout(onTheWay) // see messageNode.Lookup
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
	if len(all) == 0 && n.hidden.any() {
		l.named = append(l.named, dot(n.number()))
	}
	l.lookup = func(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
		ctx, finish := n.message.fsys.wait(ctx)
		defer finish()
		child := &fileNode{message: n.message, kind: kindAttachment, part: files[name]}
		return n.message.newFile(ctx, n.EmbeddedInode(), name, child, out, listed)
	}
	for _, a := range all {
		files[a.Name] = a.Part
		id := (&fileNode{message: n.message, kind: kindAttachment, part: a.Part}).number()
		l.named = append(l.named, fuse.DirEntry{Name: a.Name, Mode: syscall.S_IFREG, Ino: id.Ino})
	}
	return l, 0, 0
}

var _ = (gofs.NodeUnlinker)((*attachmentsNode)(nil))

// Unlink hides an attachment for a while, as in the message's own directory. A
// mv out of the mount ends with it.
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
