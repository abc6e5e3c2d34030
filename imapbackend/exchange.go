package imapbackend

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// exchange is one change of what is on the server, in the one way in which anything is
// changed there: confirm that all is as it was when the user has seen it, send the
// commands, verify by what the server says behind them, as OK is not enough, undo what
// half of it has left; and look, before it is sent again, where nobody knows what was
// done. Its values say what is sent: removal (delete.go) takes a message away, arrival
// (arrival.go) brings one, marking (flags_set.go) changes flags.
type exchange struct {
	need need
	on   func(*lease) error   // carries it out on one session, once
	done func() (bool, error) // looks whether it was done
}

// mostSends is how often an exchange is sent at most.
const mostSends = 2

// change carries x out. It returns nil only when it is known to be done.
func (b *Backend) change(x exchange) error {
	if b.cfg.ReadOnly {
		return mail.ErrReadOnly
	}
	err := b.pool.once(x.need, x.on)
	for sends := 1; isBroken(err) && !errors.Is(err, errAway); sends++ {
		// Nobody knows whether it was done. Look, and never send it blindly again.
		done, looked := x.done()
		switch {
		case looked != nil:
			return looked
		case done:
			return nil
		case sends == mostSends:
			return err
		}
		err = b.pool.once(x.need, x.on)
	}
	return err
}

// flight is what is sent at once.
type flight struct {
	send func() (wait func() error) // wait collects the answers
	undo func()                     // takes back what it has left where it was not done; nil: nothing
}

// errKept says that the server has said OK and kept the message.
var errKept = fmt.Errorf("the server keeps it: %w", mail.ErrReadOnly)

// mayChange finds out whether x may be sent: not before the folder is known to be
// selected under the UIDVALIDITY that the message was listed with, or the UID could
// be that of another message.
func (l *lease) mayChange(x *removal) error {
	if err := l.confirm(); err != nil {
		return err
	}
	if err := l.stillTheSame(x.id); err != nil {
		return err
	}
	permanent := l.sel.data.permanent
	if len(permanent) > 0 && !slices.Contains(permanent, x.flag) {
		return fmt.Errorf("%s: %w", x.what, mail.ErrReadOnly)
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
	heard, end := l.ear.gather()
	err := l.command("ask for the state of a folder", func() error {
		_, err := l.client.Status(l.b.onWire(id.Folder), &imap.StatusOptions{UIDValidity: true}).Wait()
		return err
	})
	end()
	state, told := heard.states[l.b.wireName(id.Folder)]
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

// sendAndLook sends what is to take a message away, and a UID SEARCH for it in the
// same flight. In a folder that has become read-only Dovecot says OK to all and does
// nothing, and of EXPUNGE reports nobody knows which message they are about. there
// tells whether the folder still has it, as far as is known: true where send was
// refused and the search too. sent is how send has ended.
func (l *lease) sendAndLook(x *removal, send func() (wait func() error)) (there bool, sent, err error) {
	l.searching.Lock()
	defer l.searching.Unlock()
	var looked error
	there = true
	err = l.command(x.what, func() error {
		wait := send()
		// Dovecot runs up to four commands before it does what they have
		// expunged, and the search would find all still there.
		for range 3 {
			l.client.Noop()
		}
		heard, end := l.ear.gather()
		look := l.client.UIDSearch(theMessage(x.id), nil)
		sent = wait()
		_, looked = look.Wait()
		if end(); looked == nil && !heard.isOdd {
			there = has(heard.found, x.id.UID)
		}
		return cmp.Or(sent, looked)
	})
	switch {
	case err != nil && isStatus(sent) && looked == nil && !there:
		return false, sent, nil // another client was faster
	case errors.Is(err, mail.ErrNotFound) && looked == nil:
		return true, sent, errNoTarget(err)
	case sent == nil && (isStatus(looked) || looked == nil && there):
		// The server may have searched ahead, or cannot behind a deletion.
		there, err := l.holdsLocked(x.id)
		return err != nil || there, sent, err
	}
	return there, sent, err
}

// errNoTarget is err for a message that is there: what the server did not find
// must be the mailbox to move it to.
func errNoTarget(err error) error { return fmt.Errorf("%w: %v", mail.ErrRefused, err) }

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
	err := b.pool.with(messagesOf(id.Folder, id.UIDValidity), (*lease).confirm)
	if errors.Is(err, mail.ErrStale) || errors.Is(err, mail.ErrNotFound) {
		return err
	}
	return nil
}

// exists asks the server whether id is still there. With newly it has to say first what
// it has not told the connection yet. Of an unconfirmed folder nothing is believed.
func (b *Backend) exists(id mail.ID, newly bool) (there bool, err error) {
	err = b.pool.with(messagesOf(id.Folder, id.UIDValidity), func(l *lease) (err error) {
		if newly {
			if err := l.noop(); err != nil {
				return err
			}
		}
		there, err = l.holds(id)
		return err
	})
	return there && err == nil, err
}
