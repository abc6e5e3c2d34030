package imapbackend

import (
	"errors"
	"fmt"

	"imapfs/mail"
)

// An arrival that has failed may have come nevertheless. It is remembered, so that nothing
// is there twice when it is tried again, nor in two places when it is not.

// alike names messages that could be taken for each other in a mailbox: they come one
// after the other.
func alike(to string, size int64) string { return fmt.Sprintf("%s\x00%d", to, size) }

// likeness is alike of a message that is moved or copied; of one of which nothing is known,
// which is like no other one, its name.
func (b *Backend) likeness(id mail.ID, to string) string {
	if attr, isKnown, _ := b.Known(id); isKnown {
		return alike(to, attr.Size)
	}
	return to + "\x00" + id.String()
}

// mostDoubts is of how many arrivals it is remembered that nobody knows how they ended.
const mostDoubts = 100

// doubt remembers an arrival that has failed, if the message may have come nevertheless,
// and tells whether that is so.
func (b *Backend) doubt(key string, a *arrival) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	remember := len(b.doubts) < mostDoubts && (a.lost || a.there)
	if remember {
		b.doubts[key] = a
	}
	return remember
}

// arrival returns the one that is in doubt under the key, and looks how it has ended, or
// else a new one.
func (b *Backend) arrival(key string, begin func() *arrival) (*arrival, error) {
	b.mu.Lock()
	a := b.doubts[key]
	delete(b.doubts, key)
	b.mu.Unlock()
	if a == nil {
		return begin(), nil
	}
	var err error
	if a.there {
		a.there, err = b.exists(a.at, true)
		if errors.Is(err, mail.ErrStale) || errors.Is(err, mail.ErrNotFound) {
			err = nil
		}
		if err == nil && !a.there {
			return begin(), nil // it has gone since
		}
		a.there = true
	} else {
		a.sent = true
		if _, err = a.look(); errors.Is(err, errUnseen) {
			return begin(), nil // nobody will ever know
		}
	}
	if err != nil {
		b.doubt(key, a)
		return nil, err
	}
	return a, nil
}

// takeBack deletes a copy whose original has stayed: the message would be in two places.
func (a *arrival) takeBack() error {
	there, err := a.b.exists(a.from, true)
	if err == nil && there {
		if err = a.b.takeAway(deletion(a.at)); err == nil {
			a.b.log.Info("the copy of a message that could not be moved is taken back", "folder", a.b.fullName(a.to), "uid", a.at.UID)
		}
	}
	switch {
	case err == nil:
		a.there, a.lost = false, false
	case !isUnreached(err):
		a.b.log.Error("a message is in two places: it was copied, and cannot be deleted where it was", "folder", a.b.fullName(a.from.Folder), "uid", a.from.UID, "copy", a.at, "error", err)
	}
	return err
}

// takeBackSoon is takeBack for a copy of which nobody knows whether it is there, when the
// server can be asked again; unless somebody has tried to move the message once more. It
// ends with the backend.
func (b *Backend) takeBackSoon(what string, id mail.ID, to string) {
	for pauses := newBackOff(); b.sleep(pauses.NextBackOff()); {
		unlock := b.alike.lock(what, b.likeness(id, to))
		a, err := b.arrival(what, func() *arrival { return nil })
		if err == nil && a != nil && a.there {
			if err = a.takeBack(); isUnreached(err) {
				b.doubt(what, a)
			}
		}
		unlock()
		if !isUnreached(err) {
			return
		}
	}
}
