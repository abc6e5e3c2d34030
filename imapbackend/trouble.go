package imapbackend

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"imapfs/mail"
)

// Some messages a server does not give: it answers NO, or nothing, or what cannot
// be read, or breaks off, and does so each time, for all that are asked for along
// with that one. So what fails is divided until one message is alone, and that is
// left in peace for a while.

// trouble is what the server did not give.
type trouble struct {
	err    error
	until  time.Time // it is not asked again before
	pauses *backoff.ExponentialBackOff
}

// troubleOf names it: a section, or one of these.
type troubleOf struct {
	uid     uint32
	section string
}

const (
	describing  = "\x00attributes"
	structuring = "\x00structure"
)

// The pauses before the same is asked for again.
const (
	firstTrouble = 10 * time.Second
	firstCutOff  = time.Minute
	mostTrouble  = 15 * time.Minute
)

// trouble returns why the section was not given, if it is too soon to ask again.
func (f *folder) trouble(id mail.ID, section string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.troubles[troubleOf{id.UID, section}]
	if t == nil || time.Now().After(t.until) {
		return nil
	}
	if _, err := f.check(id); err != nil {
		return err
	}
	return t.err
}

// settleTrouble takes in what became of asking for it.
func (f *folder) settleTrouble(id mail.ID, section string, err error) {
	key := troubleOf{id.UID, section}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.troubles, key)
		return
	}
	if _, stale := f.check(id); stale != nil || !isTheirs(err) {
		return
	}
	t := f.troubles[key]
	if t == nil {
		first := firstTrouble
		if errors.Is(err, errCutOff) {
			first = firstCutOff // each try costs connections
		}
		t = &trouble{pauses: backOff(first, mostTrouble)}
		if f.troubles == nil {
			f.troubles = make(map[troubleOf]*trouble)
		}
		f.troubles[key] = t
	}
	t.err, t.until = err, time.Now().Add(t.pauses.NextBackOff())
	f.b.log.Info("the server does not give a message, or what it gives cannot be read", "folder", f.b.fullName(f.name), "uid", id.UID, "again in", time.Until(t.until).Round(time.Second), "error", err)
}

// mostFailures is how many messages in a row may fail, each alone, before the
// others are left alone too.
const mostFailures = 16

// divide has ask ask for messages. Where that fails, or brings not all of them,
// it goes on with fewer at a time. ask notes in came what has come, or need not.
// failed has the messages that fail each alone. Its error is that of the network
// or the folder, or that too many messages fail.
func (f *folder) divide(n need, uids []uint32, ask func(l *lease, uids []uint32, came map[uint32]bool) error) (failed map[uint32]error, err error) {
	failed = make(map[uint32]error)
	failures := 0 // in a row
	for todo := [][]uint32{uids}; len(todo) > 0; {
		batch := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if len(batch) == 0 {
			continue
		}
		came := make(map[uint32]bool)
		try := f.b.pool.onceOpen // fewer at a time is another try
		if len(batch) == 1 {
			try = f.b.pool.twice
		}
		err := try(n, func(l *lease) error { return ask(l, batch, came) })
		if err != nil && !isTheirs(err) && (len(batch) == 1 || !f.b.pool.mayGoOn(err)) {
			return failed, err
		}
		var left []uint32
		for _, uid := range batch {
			if !came[uid] {
				left = append(left, uid)
			}
		}
		if len(left) < len(batch) {
			failures = 0
		}
		switch {
		case len(left) == 0:
		case len(batch) == 1:
			if err == nil {
				err = errNotGiven
			}
			failed[batch[0]] = err
			if failures++; failures == mostFailures && len(todo) > 0 {
				return failed, fmt.Errorf("%d messages in a row of %s: %w", failures, f.name, err)
			}
		case err != nil && len(left) < len(batch):
			// The first that did not come is the likely one.
			todo = append(todo, left[1:], left[:1])
		default:
			half := len(left) / 2
			todo = append(todo, left[half:], left[:half])
		}
	}
	return failed, nil
}

// settleTroubles is settleTrouble for many messages.
func (f *folder) settleTroubles(validity uint32, what string, uids []uint32, failed map[uint32]error) {
	for _, uid := range uids {
		f.settleTrouble(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}, what, failed[uid])
	}
}
