package imapbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Delete removes one message for good: STORE \Deleted and UID EXPUNGE (RFC 9051
// §6.4.9, before that RFC 4315) of this UID alone, sent together. It returns
// nil only when the server has said OK to both, and has the message no more.
// What others have marked \Deleted stays: a plain EXPUNGE would take it along,
// so without UID EXPUNGE nothing is deleted and the error is
// mail.ErrUnsupported.
func (b *Backend) Delete(ctx context.Context, id mail.ID) error {
	return b.do(ctx, "delete "+id.String(), func() error {
		if b.cfg.ReadOnly {
			return mail.ErrReadOnly
		}
		f := b.folder(id.Folder)
		if id.UIDValidity == 0 {
			return fmt.Errorf("delete %s: the server numbers its messages anew at any time (no UIDVALIDITY): %w", id, mail.ErrUnsupported)
		}
		need := need{folder: id.Folder, messages: true, validity: id.UIDValidity}
		err := b.pool.once(need, deleteOne(id))
		if errors.Is(err, errBroken) || errors.Is(err, errTimeout) || errors.Is(err, errMalformed) {
			// Nobody knows whether it was done. Look, and never send it
			// blindly again.
			var there bool
			there, err = b.exists(id)
			if err == nil && there {
				err = b.pool.once(need, deleteOne(id))
			}
		}
		if errors.Is(err, errKept) {
			// Another client can take the mark away between STORE and EXPUNGE.
			err = b.pool.once(need, deleteOne(id))
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

// deleteOne returns the exchange that deletes id. Nothing is sent before the
// folder is known to be selected under the UIDVALIDITY that the message was
// listed with: else the UID could be that of another message.
func deleteOne(id mail.ID) func(*lease) error {
	return func(s *lease) error {
		if err := s.confirm(); err != nil {
			return err
		}
		if !s.can(imap.CapUIDPlus) {
			return fmt.Errorf("delete %s: the server cannot expunge one message alone (UIDPLUS), and others would go with it: %w", id, mail.ErrUnsupported)
		}
		permanent := s.sel.data.PermanentFlags
		if len(permanent) > 0 && !slices.Contains(permanent, imap.FlagDeleted) {
			return fmt.Errorf("delete %s: %w", id, mail.ErrReadOnly)
		}
		s.alone.RLock()
		defer s.alone.RUnlock()
		set := imap.UIDSetNum(imap.UID(id.UID))
		var stored, expunged error
		var gone []uint32 // sequence numbers
		err := s.command("delete "+id.String(), func() error {
			store := s.client.Store(set, deleted(imap.StoreFlagsAdd), nil)
			expunge := s.client.UIDExpunge(set)
			// Both are drained at once: what the server reports of other
			// messages may come with either.
			done := make(chan struct{})
			go func() {
				defer close(done)
				stored = store.Close()
			}()
			gone, expunged = expunge.Collect()
			<-done
			if len(gone) > 1 {
				s.b.pool.changed(s.session) // others expunged something too
			}
			return cmp.Or(stored, expunged)
		})
		var status *imap.Error
		kept := false
		if err == nil && len(gone) != 1 {
			// OK is not enough: in a folder that has become read-only Dovecot
			// says so to both and does nothing. Or another client was faster.
			// Of several that have gone, none need be this one.
			kept, err = s.holds(id)
		}
		if kept || stored == nil && errors.As(expunged, &status) {
			// Marked but still there: take the mark away, so that nothing has
			// changed and no later EXPUNGE of another client deletes it.
			undo := s.command("undo the deletion of "+id.String(), func() error {
				return s.client.Store(set, deleted(imap.StoreFlagsDel), nil).Close()
			})
			if undo != nil {
				s.b.log.Error("a message is left marked as deleted", "folder", id.Folder, "uid", id.UID, "error", undo)
			}
		}
		if errors.Is(err, mail.ErrRefused) && len(permanent) == 0 {
			// Servers open a folder that may only be read without any
			// permanent flags; the library does not tell [READ-ONLY].
			return fmt.Errorf("%w: %w", mail.ErrReadOnly, err)
		}
		if errors.Is(err, mail.ErrRefused) {
			s.b.pool.unselected(s.sel) // see selectAnew
		}
		if kept {
			return fmt.Errorf("delete %s: %w", id, errKept)
		}
		return err
	}
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

// holds asks whether the folder has the message.
func (l *lease) holds(id mail.ID) (bool, error) {
	criteria := &imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(imap.UID(id.UID))}}
	data, err := l.search("look for "+id.String(), criteria, nil)
	if err != nil {
		return false, err
	}
	set, _ := data.All.(imap.UIDSet)
	return set.Contains(imap.UID(id.UID)), nil
}

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
