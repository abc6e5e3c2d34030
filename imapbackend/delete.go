package imapbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// SpecialTrash as Config.Trash means the mailbox with this special use (RFC 6154).
const SpecialTrash = string(imap.MailboxAttrTrash)

// Delete removes one message: it is expunged, or with Config.Trash moved to the
// trash if it is not there already. It returns nil only when the server has
// said OK to all, and the folder has the message no more.
func (b *Backend) Delete(ctx context.Context, id mail.ID) error {
	return b.do(ctx, "delete "+id.String(), func() error {
		trash, err := b.trashFolder()
		if err != nil {
			return err
		}
		x := deletion(id)
		if trash != "" && trash != id.Folder {
			x = moving(id, trash)
			defer b.refreshSoon(trash)
		}
		if err := b.change(x); err != nil {
			return err
		}
		b.folder(id.Folder).remove(id)
		b.structures.Remove(id)
		b.store.Delete(structureKey(id))
		return nil
	})
}

// trashFolder returns the mailbox that removed messages are moved to, "" for
// none. Its error is a plain line for the user.
func (b *Backend) trashFolder() (string, error) {
	trash := b.cfg.Trash
	if trash == "" {
		return "", nil
	}
	for _, f := range b.Folders() {
		switch {
		case !f.Selectable:
		case f.SpecialUse == SpecialTrash && trash == SpecialTrash,
			f.Name == trash,
			f.Delim != 0 && f.Name == strings.ReplaceAll(trash, "/", string(f.Delim)):
			return f.Name, nil
		}
	}
	if trash == SpecialTrash {
		return "", fmt.Errorf("%s marks no folder as the trash; name it: --trash=FOLDER", b.cfg.URL.Host)
	}
	return "", fmt.Errorf("there is no folder %q on %s for --trash; mount without it to see which there are", trash, b.cfg.URL.Host)
}

// deletion takes id away for good: STORE \Deleted and UID EXPUNGE (RFC 9051 §6.4.9,
// before that RFC 4315) of this UID alone. What others have marked \Deleted stays: a
// plain EXPUNGE would take it along, so without UID EXPUNGE nothing is deleted and
// the error is mail.ErrUnsupported.
func deletion(id mail.ID) *exchange {
	set := imap.UIDSetNum(imap.UID(id.UID))
	plan := func(l *lease) (flight, error) {
		if !l.can(imap.CapUIDPlus) {
			return flight{}, fmt.Errorf("delete %s: the server cannot expunge one message alone (UIDPLUS), and others would go with it: %w", id, mail.ErrUnsupported)
		}
		var stored error
		send := func() func() error {
			count := l.ear.expunging()
			store := l.client.Store(set, deleted(imap.StoreFlagsAdd), nil)
			expunge := l.client.UIDExpunge(set)
			return func() error {
				stored = store.Close()
				expunged := expunge.Close()
				if count() > 1 {
					l.b.pool.changed(l.session) // others expunged something too
				}
				return cmp.Or(stored, expunged)
			}
		}
		// Marked but still there: take the mark away, so that nothing has changed
		// and no later EXPUNGE of another client deletes it.
		undo := func() {
			if stored != nil {
				return
			}
			err := l.command("undo the deletion of "+id.String(), func() error {
				return l.client.Store(set, deleted(imap.StoreFlagsDel), nil).Close()
			})
			if err != nil {
				l.b.log.Error("a message is left marked as deleted", "folder", id.Folder, "uid", id.UID, "error", err)
			}
		}
		return flight{send, undo}, nil
	}
	return &exchange{id: id, what: "delete " + id.String(), flag: `\deleted`, plan: plan}
}

func deleted(op imap.StoreFlagsOp) *imap.StoreFlags {
	return &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
}

// moving takes id to another mailbox: MOVE (RFC 6851), or COPY and then deletion.
// (The library's own way without MOVE can end in a plain EXPUNGE.)
func moving(id mail.ID, to string) *exchange {
	x := deletion(id)
	x.what = "move " + id.String() + " to " + to
	expunge, copied := x.plan, false // tried again, it is not to be there twice
	x.plan = func(l *lease) (flight, error) {
		set := imap.UIDSetNum(imap.UID(id.UID))
		if l.can(imap.CapMove) {
			return flight{send: func() func() error {
				move := l.client.Move(set, l.b.onWire(to))
				return func() error { _, err := move.Wait(); return err }
			}}, nil
		}
		if !l.can(imap.CapUIDPlus) {
			return flight{}, fmt.Errorf("%s: the server can neither move a message (MOVE) nor expunge one alone (UIDPLUS): %w", x.what, mail.ErrUnsupported)
		}
		if copied {
			return expunge(l)
		}
		err := l.command(x.what, func() error { _, err := l.client.Copy(set, l.b.onWire(to)).Wait(); return err })
		if errors.Is(err, mail.ErrNotFound) {
			if there, looked := l.holds(id); looked != nil || there {
				err = errNoTarget(err)
			}
		}
		if err != nil {
			return flight{}, err
		}
		copied = true
		if err := l.mayChange(x); err != nil { // it may have taken long
			return flight{}, err
		}
		return expunge(l)
	}
	return x
}
