package fs

import (
	"context"
	"errors"
	"syscall"

	"imapfs/mail"
)

// mayGo tells whether rmdir of the message's directory deletes the message.
func (n *messageNode) mayGo(ctx context.Context) syscall.Errno {
	if meansToDelete(ctx) {
		return 0
	}
	if errno := n.check(); errno != 0 {
		return errno
	}
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	left, err := n.shown(ctx)
	if err != nil {
		return n.errno("look into", err)
	}
	if len(left) > 0 {
		return n.fsys.decline("remove", n.path(), errShows)
	}
	return 0
}

// remove deletes the message because its directory is removed. If it fails, all is there
// again.
func (n *messageNode) remove(ctx context.Context) syscall.Errno {
	away := n.fsys.mail.Trash()
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	id := n.content.ID()
	var errno syscall.Errno
	if away != "" && away != id.Folder && discards(ctx) {
		errno = n.discard(ctx, away, func(_, _ mail.ID) {})
	} else {
		errno = n.fsys.delete(ctx, id)
	}
	n.fsys.leaving.showAll(id) // a success leaves nothing behind either
	return errno
}

// delete deletes a message on the server.
func (fsys *FS) delete(ctx context.Context, id mail.ID) syscall.Errno {
	err := change(ctx, func() error { return fsys.deleteNow(id) })
	errno := fsys.outcome("delete", fsys.pathOf(id), err)
	if errno == syscall.ESTALE {
		// The kernel would answer ESTALE by looking the path up anew, and so
		// delete the message that has this number now.
		return syscall.ENOENT
	}
	return errno
}

func (fsys *FS) deleteNow(id mail.ID) error {
	end := fsys.leaving.leave(id)
	err := fsys.mail.Delete(context.Background(), id)
	end()
	if err == nil {
		fsys.log.Info("deleted", "folder", fsys.shown(id.Folder), "uid", id.UID)
	}
	if err == nil || errors.Is(err, mail.ErrNotFound) {
		// With ErrNotFound another client was faster, and the report of it
		// passed unheard.
		fsys.Changed(mail.Change{Folder: id.Folder, UIDValidity: id.UIDValidity, Removed: []uint32{id.UID}})
	}
	return err
}
