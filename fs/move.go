package fs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"

	"imapfs/mail"
)

// A message that is moved gets another number, which nobody knows before. So whatever
// rename(2) calls it is a name for a minute only, under which it is found by who has moved
// it (leaving). The kernel's inode stays under that name; the number is another directory.
// A message of the folder that has this number stays what it is and where it is: the
// kernel, which takes it for replaced, is told to look again, and finds it in a new inode.

// moveTo moves the message into the folder that to shows, because its directory is
// renamed from name to newName there.
func (n *messageNode) moveTo(ctx context.Context, name string, to *folderNode, newName string) syscall.Errno {
	ctx, finish := n.fsys.call(ctx)
	defer finish()
	id := n.content.ID()
	folder := to.now()
	if folder == nil {
		return syscall.ENOENT
	}
	mailbox := folder.Mailbox()
	refuse := func(r *refusal) syscall.Errno {
		return n.fsys.outcome("move", n.path()+" to "+to.pathOf(newName), r)
	}
	switch {
	case folder.Children[newName] != nil:
		return refuse(errFolder)
	case mailbox == "":
		return refuse(errNoMailbox)
	case mailbox == id.Folder:
		return refuse(errNumber)
	case !isNameOf(newName, name) && !isNameOf(newName, mail.Number(id.UID)):
		return refuse(errNewNumber)
	}
	l, err := to.messages(folder).listing(ctx)
	if err != nil {
		return n.fsys.errno("list", to.shown(), err)
	}
	was := n.path()
	err = change(ctx, func() error {
		return n.moveNow(mailbox, func(from, now mail.ID) { n.fsys.called(mailbox, newName, from, now, l) })
	})
	errno := n.fsys.outcome("move", was+" to "+to.shown(), err)
	if errno == syscall.ESTALE {
		return syscall.ENOENT // the kernel would look the path up anew, see FS.delete
	}
	return errno
}

// isNameOf tells whether name is given to what is called old: this, or with something
// behind it that makes it another one, as "483 (1)".
func isNameOf(name, old string) bool {
	rest, ok := strings.CutPrefix(name, old)
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// moveNow moves the message to a mailbox. named is told which one it was and is, the same
// if nobody knows, before the kernel is told that it has gone.
func (n *messageNode) moveNow(mailbox string, named func(from, now mail.ID)) error {
	fsys, from := n.fsys, n.content.ID()
	end := fsys.leaving.leave(from)
	err := n.content.Move(func(id mail.ID) (mail.ID, error) { return fsys.mail.Move(context.Background(), id, mailbox) })
	end()
	if err != nil && !errors.Is(err, mail.ErrNotFound) {
		return err
	}
	left := mail.Change{Folder: from.Folder, UIDValidity: from.UIDValidity, Removed: []uint32{from.UID}}
	if err != nil {
		fsys.Changed(left)
		return err // another client was faster
	}
	to := n.content.ID()
	fsys.log.Info("moved", "folder", fsys.shown(from.Folder), "uid", from.UID, "to", fsys.shown(mailbox), "as", to.UID)
	named(from, to)
	fsys.Changed(left)
	if to != from {
		fsys.Changed(mail.Change{Folder: mailbox, UIDValidity: to.UIDValidity, Added: []uint32{to.UID}})
	}
	return nil
}

// called is told that a message, which is now another one than it was, was moved to a
// mailbox where the kernel calls it name. before is what was there.
func (fsys *FS) called(mailbox, name string, from, now mail.ID, before mail.Listing) {
	uid, _ := mail.ParseName(name)
	there := view{fsys: fsys, mailbox: mailbox}.id(before, uid)
	switch {
	case before.Has(uid) && slices.Contains(fsys.namesOf(there), name):
		fsys.leaving.replaced(there)
		fsys.lookAgain(mailbox, name)
	case now == from:
		fsys.lookAgain(mailbox, name) // nobody knows which one it is
	default:
		fsys.leaving.call(mailbox, name, now, func() { fsys.lookAgain(mailbox, name) })
	}
}

// lookAgain has the kernel forget what it knows by this name. While it holds the folder
// for a rename it does so behind that, and at once if it is told before the answer. Until
// then the name leads whoever is quick to what was moved, not to what it is the number of.
func (fsys *FS) lookAgain(mailbox, name string) {
	fsys.notes.atOnce(func() {
		if folder := fsys.inodeOf(mailbox); folder != nil {
			folder.NotifyEntry(name)
		}
	})
}
