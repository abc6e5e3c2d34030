package imapbackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// arrival is a message on its way into a mailbox, by MOVE, COPY or APPEND. The server
// tells which UID it gets there (UIDPLUS). Where that answer is lost, or is none, it is
// looked for among those that have come since.
type arrival struct {
	b    *Backend
	to   string
	what string // for errors

	// by which it is recognised:
	attr   mail.Attr // Date is zero where the server sets it
	known  bool      // attr is
	header []byte    // of a new one

	validity, next uint32 // UIDVALIDITY and UIDNEXT of the mailbox before; 0: not known
	sent           bool   // to the server, and how that ended is not known
	answered       bool   // with OK
	there          bool
	silent         bool    // the server has said OK, and would have said what it has moved
	at             mail.ID // UID 0: not known
}

// Move takes a message to another mailbox, and returns which one it is there; its UID is
// 0 if that is not known.
func (b *Backend) Move(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	return await(ctx, func() (mail.ID, error) {
		a, err := b.move(id, to)
		if err != nil {
			return mail.ID{}, err
		}
		if !a.there {
			// It has gone, but who has taken it? Not we, if it is not there.
			sure := a.known || a.silent
			a.sent, a.answered = true, false
			if found, err := a.look(); err != nil {
				b.log.Info("the server does not say which number a message has got", "folder", to, "error", err)
			} else if !found && sure {
				return mail.ID{}, fmt.Errorf("%s: %w", a.what, mail.ErrNotFound)
			}
			a.settle(nil)
		}
		return a.at, nil
	})
}

// move is Move that does not look for a number that the server does not tell.
func (b *Backend) move(id mail.ID, to string) (*arrival, error) {
	what := "move " + id.String() + " to " + to
	defer b.alike.lock(what)()
	a := b.inDoubt(what)
	if a == nil {
		a = b.arrivalOf(id, to, what)
	} else if _, err := a.look(); err != nil {
		b.doubt(what, a)
		return nil, err
	}
	root := b.knownStructure(id)
	if err := b.takeAway(a.moving(id)); err != nil {
		if a.sent || a.there {
			// A copy may be there, and the message is too.
			b.doubt(what, a)
			b.start(func() { b.takeBack(what, id) })
		}
		return nil, err
	}
	a.settle(root)
	return a, nil
}

// takeBack takes back the copy that a move has left which has failed, when the server can
// be asked again, unless somebody has tried to move the message once more. It ends with
// the backend.
func (b *Backend) takeBack(what string, id mail.ID) {
	for pauses := newBackOff(); b.sleep(pauses.NextBackOff()); {
		unlock := b.alike.lock(what)
		a := b.inDoubt(what)
		var err error
		if a != nil {
			if err = a.takeBack(id); isUnreached(err) {
				b.doubt(what, a)
			}
		}
		unlock()
		if !isUnreached(err) {
			if err != nil {
				b.log.Error("a message that was to be moved may be in two folders", "what", what, "error", err)
			}
			return
		}
	}
}

func (a *arrival) takeBack(id mail.ID) error {
	there, err := a.b.exists(id, false)
	if err != nil || !there {
		return err // or it is moved after all
	}
	if found, err := a.look(); err != nil || !found {
		return err
	}
	a.b.log.Info("a copy is taken back of a message that could not be moved", "folder", a.to, "uid", a.at.UID)
	return a.b.takeAway(deletion(a.at))
}

// Copy copies a message to another mailbox, or its own, and returns which one the copy is.
func (b *Backend) Copy(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	return await(ctx, func() (mail.ID, error) {
		a := b.arrivalOf(id, to, "copy "+id.String()+" to "+to)
		if id.UIDValidity == 0 {
			return mail.ID{}, errNoValidity(a.what)
		}
		defer b.alike.lock(a.what)() // two copies that look alike would be taken for one
		err := b.change(exchange{messagesOf(id.Folder, id.UIDValidity), func(l *lease) error {
			if err := l.stillTheSame(id); err != nil {
				return err
			}
			return a.copy(l, id)
		}, a.look})
		if err != nil {
			return mail.ID{}, err
		}
		a.settle(b.knownStructure(id))
		return a.at, nil
	})
}

// await runs f, and returns what it does, or when ctx ends: f goes on then.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

func (b *Backend) arrivalOf(id mail.ID, to, what string) *arrival {
	a := &arrival{b: b, to: to, what: what}
	a.attr, a.known, _ = b.Known(id)
	f := b.folder(to)
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.validity, a.next = f.mark.validity, f.mark.next; f.source == fromServer && f.uidNext > 0 {
		a.validity, a.next = f.validity, f.uidNext
	}
	return a
}

// moving takes id along: MOVE (RFC 6851), or COPY and then deletion. (The library's own
// way without MOVE can end in a plain EXPUNGE.)
func (a *arrival) moving(id mail.ID) *removal {
	x := deletion(id)
	x.what = a.what
	expunge := x.plan
	x.plan = func(l *lease) (flight, error) {
		if l.can(imap.CapMove) {
			return flight{send: func() func() error { return a.sendMove(l, id) }}, nil
		}
		if !l.can(imap.CapUIDPlus) {
			return flight{}, fmt.Errorf("%s: the server can neither move a message (MOVE) nor expunge one alone (UIDPLUS): %w", x.what, mail.ErrUnsupported)
		}
		if a.there { // sent again
			return expunge(l)
		}
		err := a.copy(l, id)
		if errors.Is(err, mail.ErrNotFound) {
			if there, looked := l.holds(id); looked != nil || there {
				err = errNoTarget(err)
			}
		}
		if err != nil {
			return flight{}, err
		}
		if err := l.mayChange(x); err != nil { // it may have taken long
			return flight{}, err
		}
		return expunge(l)
	}
	x.look = func() error {
		_, err := a.look()
		return err
	}
	return x
}

// sendMove sends MOVE, and returns what waits for its answer.
func (a *arrival) sendMove(l *lease, id mail.ID) (wait func() error) {
	l.putting.Lock()
	count := l.ear.expunging()
	heard, end := l.ear.gather()
	cmd := l.client.Move(imap.UIDSetNum(imap.UID(id.UID)), l.b.onWire(a.to))
	return func() error {
		defer l.putting.Unlock()
		_, err := cmd.Wait()
		end()
		if count() > 1 {
			l.b.pool.changed(l.session) // others expunged something too
		}
		a.take(heard, id.UID, err)
		a.silent = err == nil && !a.there && l.can(imap.CapUIDPlus)
		return err
	}
}

// copy sends COPY (RFC 9051 §6.4.7), and returns nil once the copy is known to be there.
func (a *arrival) copy(l *lease, id mail.ID) error {
	if err := a.expect(l); err != nil {
		return err
	}
	l.putting.Lock()
	defer l.putting.Unlock()
	heard, end := l.ear.gather()
	a.sent = true
	err := l.command(a.what, func() error {
		_, err := l.client.Copy(imap.UIDSetNum(imap.UID(id.UID)), l.b.onWire(a.to)).Wait()
		return err
	})
	end()
	a.take(heard, id.UID, err)
	return a.verify(err)
}

// errUnseen says that the server has said OK, and not what it has done.
var errUnseen = fmt.Errorf("the server says OK, and where the message is now cannot be found out: %w", errMalformed)

// verify returns nil only where the server has said which message it is now. OK alone
// is also what some say of a message that is not there.
func (a *arrival) verify(err error) error {
	if err == nil && !a.there {
		return fmt.Errorf("%s: %w", a.what, errUnseen) // look finds out
	}
	return err
}

// take takes in what the server has said of the message that had the UID old, 0 for a
// new one, while it was put into the mailbox.
func (a *arrival) take(heard *gathered, old uint32, err error) {
	if err != nil {
		a.sent = a.sent && !isStatus(err)
		return
	}
	a.answered = true
	for _, put := range heard.put {
		if uid, ok := put.New(old); ok {
			a.at = mail.ID{Folder: a.to, UIDValidity: put.UIDValidity, UID: uid}
			a.there = true
		}
	}
}

// expect finds out from which UID on the message is to be looked for, if that is not
// known.
func (a *arrival) expect(l *lease) error {
	if a.next != 0 || l.b.quirks.noStatus.Load() {
		return nil
	}
	heard, end := l.ear.gather()
	err := l.command("ask for the state of "+a.to, func() error {
		_, err := l.client.Status(l.b.onWire(a.to), &imap.StatusOptions{UIDNext: true, UIDValidity: true}).Wait()
		return err
	})
	end()
	if state, ok := heard.states[l.b.wireName(a.to)]; ok {
		a.validity, a.next = state.UIDValidity, state.UIDNext
	}
	if errors.Is(err, mail.ErrNotFound) {
		return errNoTarget(err)
	}
	if err != nil && !errors.Is(err, mail.ErrRefused) {
		return err
	}
	return nil
}

// mostLooked is among how many messages, the newest ones, the message is looked for.
const mostLooked = 100

// look looks whether the message is in the mailbox, where the answer does not say so.
func (a *arrival) look() (bool, error) {
	if a.there || !a.sent && !a.answered {
		return a.there, nil
	}
	if _, err := a.b.folder(a.to).search(true); err != nil {
		return false, err
	}
	l, err := a.b.Messages(a.b.ctx, a.to)
	if err != nil {
		return false, err
	}
	if a.validity != 0 && l.UIDValidity != a.validity {
		return false, fmt.Errorf("%s: %w", a.what, mail.ErrStale)
	}
	first := max(0, len(l.UIDs)-mostLooked)
	if a.next > 0 {
		first = max(first, l.After(a.next-1))
	}
	for _, uid := range slices.Backward(l.UIDs[first:]) {
		id := mail.ID{Folder: a.to, UIDValidity: l.UIDValidity, UID: uid}
		found, err := a.isAt(id)
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return false, err
		}
		if found {
			a.at, a.there = id, true
			return true, nil
		}
	}
	if a.answered {
		return false, fmt.Errorf("%s: %w", a.what, errUnseen)
	}
	a.sent = false
	return false, nil
}

// isAt tells whether id is the message: of the same size, and of the same date where
// it was on the server before, else with the same header, or Message-ID.
func (a *arrival) isAt(id mail.ID) (bool, error) {
	attr, err := a.b.Attr(a.b.ctx, id)
	switch {
	case err != nil:
		return false, err
	case a.header == nil:
		return a.known && attr.Size == a.attr.Size && attr.Date.Equal(a.attr.Date), nil
	case attr.Size != a.attr.Size && !a.b.quirks.sizesLie.Load():
		return false, nil
	}
	header, err := a.b.Fetch(id, "HEADER", 0, -1)
	if err != nil {
		return false, err
	}
	if bytes.Equal(bytes.TrimSpace(header), bytes.TrimSpace(a.header)) {
		return true, nil
	}
	one, other := mail.MessageID(header), mail.MessageID(a.header)
	return one != "" && one == other, nil
}

// settle takes in that the message is there: it is listed at once, with what is known of
// it, and nobody has to be asked.
func (a *arrival) settle(root *mail.Part) {
	b := a.b
	b.pool.came(a.to)
	if !a.there {
		b.refreshSoon(a.to)
		return
	}
	if !b.folder(a.to).add(a.at, a.attr, a.known && a.header == nil) { // the server may store a new one in its own way
		b.refreshSoon(a.to)
	}
	if root != nil {
		b.setStructure(a.at, root)
	}
}

// appendLimit returns how large a message may be, in bytes; false if the server does not
// say (RFC 7889).
func (s *session) appendLimit() (most int64, ok bool) {
	for c := range s.caps {
		if limit, found := strings.CutPrefix(string(c), "APPENDLIMIT="); found {
			_, err := fmt.Sscanf(limit, "%d", &most)
			return most, err == nil
		}
	}
	return 0, false
}
