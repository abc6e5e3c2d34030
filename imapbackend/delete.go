package imapbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Delete removes one message: it is expunged, or with Config.Trash moved to the
// trash if it is not there already. It returns nil only when the server has
// said OK to all, and the folder has the message no more.
func (b *Backend) Delete(ctx context.Context, id mail.ID) error {
	return b.do(ctx, "delete "+id.String(), func() error {
		if b.cfg.ReadOnly {
			return mail.ErrReadOnly
		}
		f := b.folder(id.Folder)
		if id.UIDValidity == 0 {
			return fmt.Errorf("delete %s: the server numbers its messages anew at any time (no UIDVALIDITY): %w", id, mail.ErrUnsupported)
		}
		trash, err := b.trashFolder()
		if err != nil {
			return err
		}
		remove := expungeOne(id)
		if trash != "" && trash != id.Folder {
			remove = moveOne(id, trash)
			defer b.refreshSoon(trash)
		}
		need := need{folder: id.Folder, messages: true, validity: id.UIDValidity}
		err = b.pool.once(need, remove)
		if errors.Is(err, errBroken) || errors.Is(err, errTimeout) || errors.Is(err, errMalformed) {
			// Nobody knows whether it was done. Look, and never send it
			// blindly again.
			var there bool
			there, err = b.exists(id)
			if err == nil && there {
				err = b.pool.once(need, remove)
			}
		}
		if errors.Is(err, errKept) {
			// Another client can take the mark away between STORE and EXPUNGE.
			err = b.pool.once(need, remove)
		}
		if errors.Is(err, mail.ErrRefused) {
			err = cmp.Or(b.selectAnew(id), err)
		}
		if err != nil {
			return err
		}
		f.remove(id)
		b.structures.Remove(id)
		b.store.Delete(structureKey(id))
		return nil
	})
}

// expungeOne returns the exchange that deletes id for good: STORE \Deleted and
// UID EXPUNGE (RFC 9051 §6.4.9, before that RFC 4315) of this UID alone. What
// others have marked \Deleted stays: a plain EXPUNGE would take it along, so
// without UID EXPUNGE nothing is deleted and the error is mail.ErrUnsupported.
func expungeOne(id mail.ID) func(*lease) error {
	return func(s *lease) error {
		if err := s.mayRemove(id); err != nil {
			return err
		}
		if !s.can(imap.CapUIDPlus) {
			return fmt.Errorf("delete %s: the server cannot expunge one message alone (UIDPLUS), and others would go with it: %w", id, mail.ErrUnsupported)
		}
		set := imap.UIDSetNum(imap.UID(id.UID))
		var stored, expunged error
		there, err := s.sendAndLook("delete "+id.String(), id, func() (wait func() error) {
			count := s.ear.expunging()
			store := s.client.Store(set, deleted(imap.StoreFlagsAdd), nil)
			expunge := s.client.UIDExpunge(set)
			return func() error {
				stored, expunged = store.Close(), expunge.Close()
				if count() > 1 {
					s.b.pool.changed(s.session) // others expunged something too
				}
				return cmp.Or(stored, expunged)
			}
		})
		kept := err == nil && there
		if kept || stored == nil && isStatus(expunged) && there {
			// Marked but still there: take the mark away, so that nothing has
			// changed and no later EXPUNGE of another client deletes it.
			undo := s.command("undo the deletion of "+id.String(), func() error {
				return s.client.Store(set, deleted(imap.StoreFlagsDel), nil).Close()
			})
			if undo != nil {
				s.b.log.Error("a message is left marked as deleted", "folder", id.Folder, "uid", id.UID, "error", undo)
			}
		}
		if kept {
			return fmt.Errorf("delete %s: %w", id, errKept)
		}
		return s.whyRefused(err)
	}
}

// mayRemove finds out whether id can be removed. Nothing may be sent before the
// folder is known to be selected under the UIDVALIDITY that the message was
// listed with: else the UID could be that of another message.
func (l *lease) mayRemove(id mail.ID) error {
	if err := l.confirm(); err != nil {
		return err
	}
	if err := l.stillTheSame(id); err != nil {
		return err
	}
	permanent := l.sel.data.permanent
	if len(permanent) > 0 && !slices.Contains(permanent, `\deleted`) {
		return fmt.Errorf("delete %s: %w", id, mail.ErrReadOnly)
	}
	return nil
}

// confirmedFor is how long the UIDVALIDITY of a selected folder is taken for true
// where the server may not tell of another one.
const confirmedFor = time.Second

// stillTheSame asks for the UIDVALIDITY of the selected folder anew, where it has
// not been told for a while: another client may have deleted the folder and made one
// of the same name, and Courier lets a connection that has the old one selected go
// on in the new one. Servers with CONDSTORE (RFC 7162) keep a state for each folder
// with which they notice.
func (l *lease) stillTheSame(id mail.ID) error {
	if l.caps.Has(imap.CapCondStore) || time.Since(l.sel.confirmed()) < confirmedFor {
		return nil
	}
	states, end := l.ear.tell()
	defer end()
	err := l.command("ask for the state of a folder", func() error {
		_, err := l.client.Status(l.b.onWire(id.Folder), &imap.StatusOptions{UIDValidity: true}).Wait()
		return err
	})
	state, told := states[l.b.wireName(id.Folder)]
	switch {
	case err != nil && !errors.Is(err, mail.ErrRefused):
		return err
	case told && state.UIDValidity != 0 && state.UIDValidity != id.UIDValidity:
		l.b.pool.unselected(l.sel)
		return fmt.Errorf("%s: %w", id, mail.ErrStale)
	}
	l.sel.confirm()
	return nil
}

// sendAndLook sends what is to take id away, and a UID SEARCH for it in the same
// flight: OK is not enough. In a folder that has become read-only Dovecot says
// so to all and does nothing, and of EXPUNGE reports nobody knows which message
// they are about. there tells whether the folder still has it, as far as is
// known: true where send was refused and the search too.
func (l *lease) sendAndLook(what string, id mail.ID, send func() (wait func() error)) (there bool, err error) {
	l.searching.Lock()
	defer l.searching.Unlock()
	var sent, looked error
	there = true
	err = l.command(what, func() error {
		wait := send()
		// Dovecot runs up to four commands before it does what they have
		// expunged, and the search would find all still there.
		for range 3 {
			l.client.Noop()
		}
		end := l.ear.searching()
		look := l.client.UIDSearch(theMessage(id), nil)
		sent = wait()
		_, looked = look.Wait()
		found, unread := end(false)
		if looked == nil && unread == nil {
			there = has(found, id.UID)
		}
		return cmp.Or(sent, looked)
	})
	switch {
	case err != nil && isStatus(sent) && looked == nil && !there:
		return false, nil // another client was faster
	case errors.Is(err, mail.ErrNotFound) && looked == nil:
		return true, errNoTarget(err)
	case sent == nil && (isStatus(looked) || looked == nil && there):
		// The server may have searched ahead, or cannot behind a deletion.
		there, err := l.holdsLocked(id)
		return err != nil || there, err
	}
	return there, err
}

// isStatus tells whether err is a NO or BAD of the server.
func isStatus(err error) bool {
	_, ok := errors.AsType[*imap.Error](err)
	return ok
}

// whyRefused adds to a refusal what is known of its reason.
func (l *lease) whyRefused(err error) error {
	if errors.Is(err, mail.ErrRefused) {
		if l.sel.data.readOnly || len(l.sel.data.permanent) == 0 {
			// Servers open a folder that may only be read without any
			// permanent flags; not all say [READ-ONLY].
			return fmt.Errorf("%w: %w", mail.ErrReadOnly, err)
		}
		l.b.pool.unselected(l.sel) // see selectAnew
	}
	return err
}

// selectAnew finds out whether a refusal has a simple reason: the folder is not
// the one any more in which id was listed. Where another client has deleted it,
// Dovecot says no more than NO on a connection that has it selected, and STATUS
// there still tells the old UIDVALIDITY.
func (b *Backend) selectAnew(id mail.ID) error {
	err := b.pool.with(need{folder: id.Folder, messages: true, validity: id.UIDValidity}, (*lease).confirm)
	if errors.Is(err, mail.ErrStale) || errors.Is(err, mail.ErrNotFound) {
		return err
	}
	return nil
}

// errKept says that the server has said OK and kept the message.
var errKept = fmt.Errorf("the server keeps it: %w", mail.ErrReadOnly)

func deleted(op imap.StoreFlagsOp) *imap.StoreFlags {
	return &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
}

// exists asks the server whether id is still there.
func (b *Backend) exists(id mail.ID) (bool, error) {
	var there bool
	err := b.pool.with(need{folder: id.Folder, messages: true, validity: id.UIDValidity}, func(s *lease) error {
		var err error
		there, err = s.holds(id)
		return err // of an unconfirmed folder nothing is believed
	})
	return there, err
}
