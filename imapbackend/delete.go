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
		if trash != "" && trash != id.Folder {
			root := b.knownStructure(id)
			a, err := b.carry(id, trash)
			if err != nil {
				return err
			}
			if a.settle(root); a.there {
				b.notify(mail.Change{Folder: trash, UIDValidity: a.at.UIDValidity, Added: []uint32{a.at.UID}})
			}
			return nil
		}
		return b.takeAway(deletion(id))
	})
}

// Discard deletes a message for good, also with Config.Trash.
func (b *Backend) Discard(ctx context.Context, id mail.ID) error {
	return b.do(ctx, "discard "+id.String(), func() error { return b.takeAway(deletion(id)) })
}

// removal takes a message out of its folder.
type removal struct {
	id   mail.ID
	what string // for errors
	flag string // that the folder has to keep, in lower case
	// plan finds out how this server can do it, when the folder is confirmed.
	plan func(*lease) (flight, error)
	// look finds out how it stands with what has to come before it; nil: nothing has.
	look func() error
}

// takeAway carries x out. It returns nil only when the server has said OK to all, and
// the folder has the message no more.
func (b *Backend) takeAway(x *removal) error {
	if x.id.UIDValidity == 0 {
		return errNoValidity(x.what)
	}
	change := exchange{messagesOf(x.id.Folder, x.id.UIDValidity), x.on, func() (gone bool, err error) {
		there, err := b.exists(x.id, false)
		if there && x.look != nil {
			err = x.look()
		}
		return !there, err
	}}
	err := b.change(change)
	if errors.Is(err, errKept) {
		// Another client can take the mark away between STORE and EXPUNGE.
		err = b.change(change)
	}
	if errors.Is(err, mail.ErrRefused) {
		err = cmp.Or(b.selectAnew(x.id), err)
	}
	if err == nil {
		b.folder(x.id.Folder).remove(x.id)
		b.structures.Remove(x.id)
		b.store.Delete(structureKey(x.id))
	}
	return err
}

// errNoValidity says why nothing is done with messages of which nobody knows for how
// long they have their numbers.
func errNoValidity(what string) error {
	return fmt.Errorf("%s: the server numbers its messages anew at any time (no UIDVALIDITY): %w", what, mail.ErrUnsupported)
}

// on carries x out on one session, once.
func (x *removal) on(l *lease) error {
	if err := l.mayChange(x); err != nil {
		return err
	}
	f, err := x.plan(l)
	if err != nil {
		return err
	}
	there, sent, err := l.sendAndLook(x, f.send)
	kept := err == nil && there
	if f.undo != nil && there && (kept || isStatus(sent)) {
		f.undo()
	}
	if kept {
		return fmt.Errorf("%s: %w", x.what, errKept)
	}
	return l.whyRefused(err)
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
			f.FullName() == trash,
			f.Delim != 0 && f.FullName() == strings.ReplaceAll(trash, "/", string(f.Delim)):
			return f.Name, nil
		}
	}
	if trash == SpecialTrash {
		return "", fmt.Errorf("%s marks no folder as the trash; name it: --trash=FOLDER", b.cfg.URL.Host)
	}
	return "", fmt.Errorf("there is no folder %q on %s for --trash; mount without it to see which there are", trash, b.cfg.URL.Host)
}

// Trash returns the mailbox for what is moved to the trash by name: that of Config.Trash,
// or the one that the server marks as it (RFC 6154); "" for none.
func (b *Backend) Trash() string {
	for _, f := range b.Folders() {
		if b.cfg.Trash == "" && f.Selectable && f.SpecialUse == SpecialTrash {
			return f.Name
		}
	}
	trash, _ := b.trashFolder()
	return trash
}

// deletion takes id away for good: STORE \Deleted and UID EXPUNGE (RFC 9051 §6.4.9,
// before that RFC 4315) of this UID alone. What others have marked \Deleted stays: a
// plain EXPUNGE would take it along, so without UID EXPUNGE nothing is deleted and
// the error is mail.ErrUnsupported.
func deletion(id mail.ID) *removal {
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
				l.b.log.Error("a message is left marked as deleted", "folder", l.b.fullName(id.Folder), "uid", id.UID, "error", err)
			}
		}
		return flight{send, undo}, nil
	}
	return &removal{id: id, what: "delete " + id.String(), flag: `\deleted`, plan: plan}
}

func deleted(op imap.StoreFlagsOp) *imap.StoreFlags {
	return &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
}
