package imapbackend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// arrival is a message on its way into a mailbox, by MOVE, COPY or APPEND. The server
// tells which UID it gets there (UIDPLUS). Where that answer is lost, or is none, it is
// looked for among those that have come since.
type arrival struct {
	b    *Backend
	from mail.ID // what is moved or copied
	to   string
	what string // for errors

	// by which it is recognised:
	letter *readings // a new one; nil: from is one
	attr   mail.Attr // of from
	known  bool      // attr is
	header []byte    // of from; nil: not known

	validity, next uint32 // UIDVALIDITY and UIDNEXT of the mailbox before; 0: not known
	sent           bool   // to the server, and how that ended is not known
	lost           bool   // that was so at least once
	answered       bool   // with OK
	taken          bool   // MOVE may have taken from along
	told           bool   // the server has said which one it is
	there          bool
	at             mail.ID // UID 0: not known
}

// Move takes a message to another mailbox, and returns which one it is there; its UID is
// 0 if that is not known. The error is mail.ErrNotFound where another client has taken it
// away before.
func (b *Backend) Move(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	return await(ctx, func() (mail.ID, error) {
		root := b.knownStructure(id)
		a, err := b.carry(id, to)
		if err != nil {
			return mail.ID{}, err
		}
		if !a.there {
			a.sent = a.sent || a.taken
			if there, err := a.look(); !there && !a.taken {
				return mail.ID{}, fmt.Errorf("%s: %w", a.what, mail.ErrNotFound)
			} else if !there {
				b.log.Info("nobody knows which number a message has got", "folder", b.fullName(to), "error", err)
			}
		}
		a.settle(root)
		return a.at, nil
	})
}

// carry takes a message to another mailbox. It returns nil once its folder has it no
// more. Where it could be copied and not be deleted, the copy is taken back.
func (b *Backend) carry(id mail.ID, to string) (*arrival, error) {
	what := "move " + id.String() + " to " + to
	defer b.alike.lock(what, b.likeness(id, to))()
	a, err := b.arrival(what, func() *arrival { return b.arrivalOf(id, to, what) })
	if err != nil {
		return nil, err
	}
	if err := b.takeAway(a.moving(id)); err != nil {
		if a.told && (errors.Is(err, mail.ErrRefused) || errors.Is(err, mail.ErrReadOnly)) {
			a.takeBack()
		}
		if b.doubt(what, a) {
			b.start(func() { b.takeBackSoon(what, id, to) })
		}
		return nil, err
	}
	return a, nil
}

// Copy copies a message to another mailbox, or its own, and returns which one the copy is.
func (b *Backend) Copy(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	return await(ctx, func() (mail.ID, error) {
		what := "copy " + id.String() + " to " + to
		if id.UIDValidity == 0 {
			return mail.ID{}, errNoValidity(what)
		}
		defer b.alike.lock(what, b.likeness(id, to))()
		a, err := b.arrival(what, func() *arrival { return b.arrivalOf(id, to, what) })
		if err != nil {
			return mail.ID{}, err
		}
		if !a.there {
			err = b.change(exchange{messagesOf(id.Folder, id.UIDValidity), a.copy, a.look})
		}
		if errors.Is(err, errUnseen) { // so say some of a message that is gone
			if there, looked := b.exists(id, true); looked == nil && !there {
				return mail.ID{}, fmt.Errorf("%s: %w", what, mail.ErrNotFound)
			}
		}
		if err != nil {
			b.doubt(what, a)
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

// arrivalOf begins the arrival of a message, a new one if id is none, of which nothing is
// sent yet.
func (b *Backend) arrivalOf(id mail.ID, to, what string) *arrival {
	a := &arrival{b: b, from: id, to: to, what: what}
	if id.UID != 0 {
		a.attr, a.known, _ = b.Known(id)
	}
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
		switch {
		case a.there: // and the message where it was too
			return expunge(l)
		case l.can(imap.CapMove):
			return flight{send: func() func() error { return a.sendMove(l) }}, nil
		case !l.can(imap.CapUIDPlus):
			return flight{}, fmt.Errorf("%s: the server can neither move a message (MOVE) nor expunge one alone (UIDPLUS): %w", x.what, mail.ErrUnsupported)
		case l.sel.data.readOnly:
			return flight{}, fmt.Errorf("%s: %w", x.what, mail.ErrReadOnly)
		}
		if err := a.copy(l); err != nil {
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
func (a *arrival) sendMove(l *lease) (wait func() error) {
	l.putting.Lock()
	count := l.ear.expunging()
	heard, end := l.ear.gather()
	cmd := l.client.Move(imap.UIDSetNum(imap.UID(a.from.UID)), l.b.onWire(a.to))
	return func() error {
		defer l.putting.Unlock()
		_, err := cmd.Wait()
		end()
		n := count()
		if n > 1 {
			l.b.pool.changed(l.session) // others expunged something too
		}
		a.take(heard, err)
		// OK alone is also said of a message that another client has expunged.
		a.taken = !isStatus(err) && (err != nil || a.there || n > 0 || !l.caps.Has(imap.CapUIDPlus))
		return err
	}
}

// copy sends COPY (RFC 9051 §6.4.7), and returns nil once the copy is known to be there.
func (a *arrival) copy(l *lease) error {
	if err := l.confirm(); err != nil {
		return err
	}
	if err := l.stillTheSame(a.from); err != nil {
		return err
	}
	if err := a.expect(l); err != nil {
		return err
	}
	err := a.put(l, func() error {
		_, err := l.client.Copy(imap.UIDSetNum(imap.UID(a.from.UID)), l.b.onWire(a.to)).Wait()
		return err
	})
	if isStatus(err) {
		there, looked := l.holds(a.from)
		switch {
		case looked == nil && !there:
			return fmt.Errorf("%w (%w)", mail.ErrNotFound, err)
		case errors.Is(err, mail.ErrNotFound):
			return errNoTarget(err)
		}
	}
	if err == nil && !a.there {
		// OK alone is also what some say of a message that is not there.
		return fmt.Errorf("%s: %w", a.what, errUnseen) // look finds out
	}
	return err
}

// put sends a command that puts the message into the mailbox, and takes in what the server
// says of it.
func (a *arrival) put(l *lease, send func() error) error {
	l.putting.Lock()
	defer l.putting.Unlock()
	heard, end := l.ear.gather()
	a.sent = true
	err := l.command(a.what, send)
	end()
	a.take(heard, err)
	return err
}

// errUnseen says that the server has not said what it has done, if only OK, and that
// looking does not tell it either.
var errUnseen = fmt.Errorf("the server does not say what it has done, and where the message is now cannot be found out: %w", errMalformed)

// take takes in what the server has said while the message was put into the mailbox.
func (a *arrival) take(heard *gathered, err error) {
	if err != nil {
		a.sent = a.sent && !isStatus(err)
		a.lost = a.lost || a.sent
		return
	}
	a.answered = true
	for _, put := range heard.put {
		if uid, ok := put.New(a.from.UID); ok {
			a.at = mail.ID{Folder: a.to, UIDValidity: put.UIDValidity, UID: uid}
			a.there, a.told = true, true
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
	if err := a.identify(); err != nil {
		return false, err
	}
	a.b.pool.came(a.to)
	if _, err := a.b.folder(a.to).search(true); err != nil {
		return false, err
	}
	l, err := a.b.Messages(a.b.ctx, a.to)
	if err != nil {
		return false, err
	}
	if a.validity != 0 && l.UIDValidity != a.validity {
		a.next = 0 // what has come since has any number
	}
	a.validity = l.UIDValidity
	if a.letter == nil && (!a.known || a.next == 0) { // it could be one that has been there before
		return false, fmt.Errorf("%s: %w", a.what, errUnseen)
	}
	found, err := a.among(l)
	if err != nil {
		return false, err
	}
	if found.UID != 0 {
		a.at, a.there = found, true
		return true, nil
	}
	if a.answered {
		return false, fmt.Errorf("%s: %w", a.what, errUnseen)
	}
	a.sent = false
	return false, nil
}

// identify asks by what a message that is moved or copied is recognised, as long as it is
// there.
func (a *arrival) identify() error {
	if a.letter != nil || a.header != nil {
		return nil
	}
	attr, err := a.b.Attr(a.b.ctx, a.from)
	if err == nil {
		a.attr, a.known = attr, true
		a.header, err = a.b.Fetch(a.from, "HEADER", 0, -1)
	}
	if errors.Is(err, mail.ErrNotFound) || errors.Is(err, mail.ErrStale) || err != nil && isTheirs(err) {
		return nil
	}
	return err
}

// among returns which one of the messages that have come since it is; UID 0 for none, or
// if it could be more than one.
func (a *arrival) among(l mail.Listing) (mail.ID, error) {
	first := max(0, len(l.UIDs)-mostLooked)
	if a.next > 0 {
		first = max(first, l.After(a.next-1))
	}
	var alike []mail.ID
	for _, uid := range slices.Backward(l.UIDs[first:]) {
		id := mail.ID{Folder: a.to, UIDValidity: l.UIDValidity, UID: uid}
		if id == a.from {
			continue
		}
		is, err := a.isAt(id)
		switch {
		case err != nil && !errors.Is(err, mail.ErrNotFound):
			return mail.ID{}, err
		case is && (a.letter != nil || a.header != nil):
			return id, nil
		case is:
			alike = append(alike, id)
		}
	}
	if len(alike) == 1 {
		return alike[0], nil
	}
	return mail.ID{}, nil
}

// isAt tells whether id is the message: of the same size and content, or Message-ID, if
// it is a new one; else of the same size and header, or date where its header is not
// known.
func (a *arrival) isAt(id mail.ID) (bool, error) {
	attr, err := a.b.Attr(a.b.ctx, id)
	switch {
	case err != nil:
		return false, err
	case a.letter == nil && a.header == nil:
		return attr.Size == a.attr.Size && attr.Date.Equal(a.attr.Date), nil
	case a.letter == nil && attr.Size != a.attr.Size:
		return false, nil
	case a.letter != nil && attr.Size != a.letter.size && !a.b.quirks.sizesLie.Load():
		return false, nil
	}
	header, err := a.b.Fetch(id, "HEADER", 0, -1)
	if err != nil {
		return false, err
	}
	if a.letter == nil {
		return bytes.Equal(header, a.header), nil
	}
	if !bytes.Equal(bytes.TrimSpace(header), bytes.TrimSpace(a.letter.header)) {
		one, other := mail.MessageID(header), mail.MessageID(a.letter.header)
		return one != "" && one == other, nil // some servers rewrite it
	}
	content, err := a.b.Fetch(id, "", 0, -1)
	return err == nil && sha256.Sum256(content) == a.letter.sum, err
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
	if !b.folder(a.to).add(a.at, a.attr, a.known) {
		b.refreshSoon(a.to)
	}
	if root != nil {
		b.setStructure(a.at, root)
	}
}
