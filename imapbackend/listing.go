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

// Messages returns the UIDs of a folder. They are asked for once; what comes
// and goes later is reported to OnChange. While the server is away they are
// those of the last time.
func (b *Backend) Messages(ctx context.Context, name string) (mail.Listing, error) {
	f := b.folder(name)
	for {
		f.mu.Lock()
		f.recall()
		l, source := mail.Listing{UIDValidity: f.validity, UIDs: f.uids}, f.source
		f.mu.Unlock()
		if source == fromServer {
			return l, nil
		}
		if err := b.do(ctx, "list "+name, func() error { _, err := f.search(false); return err }); err != nil {
			if source == fromStore && isUnreached(err) {
				return l, nil
			}
			return l, err
		}
	}
}

// isUnreached tells whether err says nothing of what was asked for, but that
// the server could not be asked.
func isUnreached(err error) bool {
	return errors.Is(err, errAway) || errors.Is(err, errBroken) || errors.Is(err, errTimeout)
}

// search asks for all UIDs of the folder, to fill it, or to find out what has
// changed, and tells whether it found a change. The question goes out behind
// the SELECT, without waiting for that; but where the folder is remembered its
// answer is awaited first, which tells whether there is anything to ask.
func (f *folder) search(again bool) (changed bool, err error) {
	if !again {
		f.countSearches(1)
		defer f.countSearches(-1)
	}
	for {
		outdated := false
		err := f.b.pool.with(need{folder: f.name}, func(l *lease) (err error) {
			changed, outdated, err = f.searchOn(l, again)
			return err
		})
		if err != nil || !outdated {
			return changed, err
		}
	}
}

// searchOn is search on one session. outdated tells that the answer is about a
// folder that has been replaced meanwhile.
func (f *folder) searchOn(l *lease, again bool) (changed, outdated bool, err error) {
	f.mu.Lock()
	isStored := f.source == fromStore
	f.mu.Unlock()
	if isStored {
		if err := l.confirm(); err != nil {
			return false, false, err
		}
	}
	f.mu.Lock()
	if f.source == fromServer && !again {
		f.mu.Unlock()
		return false, false, nil
	}
	f.again = false // what is reported from here on may come too late for the answer
	renewals, next := f.renewals, f.reported
	f.mu.Unlock()
	uids, err := l.searchAll()
	if err != nil {
		return false, false, err
	}
	validity := l.sel.data.UIDValidity

	f.mu.Lock()
	if f.renewals != renewals && f.validity != validity {
		f.mu.Unlock()
		f.b.pool.unselected(l.sel)
		return false, true, nil
	}
	if f.source != fromNowhere && f.validity != validity {
		f.forget()
	}
	added, removed := f.update(uids)
	f.uidNext = max(f.uidNext, uint32(l.sel.data.UIDNext), next) // all reported before the SEARCH
	f.source, f.validity = fromServer, validity
	reported := f.again
	f.mu.Unlock()
	if reported {
		f.b.refreshSoon(f.name)
	}
	if isStored && len(added) > 0 && len(added) <= mostSoon {
		f.describeSoon(validity, added)
	}
	for _, uid := range removed {
		f.b.store.Delete(structureKey(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}))
	}
	if changed = len(added)+len(removed) > 0; changed {
		f.b.notify(mail.Change{Folder: f.name, UIDValidity: validity, Added: added, Removed: removed})
	}
	return changed, false, nil
}

// mostSoon is how many messages that came while there was no mount are asked
// for at once, some 30 kB on the wire.
const mostSoon = 64

// describeSoon asks for attributes and structures of messages that came while
// there was no mount. Whoever looks into the folder wants the newest one's date,
// and then to read them; so the next one to ask waits for this.
func (f *folder) describeSoon(validity uint32, uids []uint32) {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	f.b.group.DoChan("attrs "+f.name, func() (any, error) {
		_, err := f.describe(validity, set, true)
		return nil, err
	})
}

func (f *folder) countSearches(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.searches += n
}

// searchAll is UID SEARCH ALL. With ESEARCH (RFC 4731) the answer is a set of
// ranges, 91 bytes for 100,000 messages, instead of every number.
func (l *lease) searchAll() ([]uint32, error) {
	options := &imap.SearchOptions{ReturnAll: l.can(imap.CapESearch)}
	data, err := l.search("list messages", &imap.SearchCriteria{}, options)
	if serr := l.confirm(); serr != nil || err != nil {
		return nil, cmp.Or(serr, err)
	}
	set, ok := data.All.(imap.UIDSet)
	if !ok && data.All != nil { // nil for an empty folder
		return nil, fmt.Errorf("list messages: an answer without UIDs: %w", errMalformed)
	}

	// A range is cheap to send: never believe more messages than the server
	// has counted out, but for some that arrive just now, nor more than fit
	// into memory (20 bytes each).
	const arriving, mostMessages = 10_000, 10_000_000
	most := uint64(arriving)
	count := l.sel.data.NumMessages
	if mailbox := l.client.Mailbox(); mailbox != nil && mailbox.Name == l.sel.folder {
		count = max(count, mailbox.NumMessages) // more have come since
	}
	most += min(uint64(count), mostMessages)
	var n uint64
	for _, r := range set {
		if r.Start == 0 || r.Stop < r.Start {
			return nil, fmt.Errorf("list messages: %w", errMalformed)
		}
		n += uint64(r.Stop-r.Start) + 1
	}
	if n > most {
		return nil, fmt.Errorf("list messages: %d messages, but %d were expected at most: %w", n, most, errMalformed)
	}
	uids := make([]uint32, 0, n)
	for _, r := range set {
		for uid := uint64(r.Start); uid <= uint64(r.Stop); uid++ {
			uids = append(uids, uint32(uid))
		}
	}
	slices.Sort(uids)
	return slices.Clip(slices.Compact(uids)), nil
}

// mostRefreshPause is the longest pause between two refreshes of a folder, and
// so about how late a change may show on a server that reports what is none.
const mostRefreshPause = 10 * time.Second

// refreshSoon looks at a folder again, in a goroutine that Close waits for.
func (b *Backend) refreshSoon(name string) {
	f := b.folder(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = true
	if f.source == fromNowhere || f.refreshing {
		return // whoever lists it looks at again
	}
	f.refreshing = b.start(f.refresh)
}

// refresh looks at the folder until nothing more is reported. It pauses after
// each look, longer if there was nothing new: some servers report the number of
// messages with every answer, and would be asked for ever.
func (f *folder) refresh() {
	pauses := newBackOff()
	pauses.MaxInterval = mostRefreshPause
	for {
		f.mu.Lock()
		if !f.again || f.b.ctx.Err() != nil {
			f.refreshing = false
			f.mu.Unlock()
			return
		}
		f.again = false
		f.mu.Unlock()
		changed, err := f.search(true)
		if err != nil {
			f.b.log.Warn("cannot list the folder again", "folder", f.name, "error", err)
			f.mu.Lock()
			f.again = f.again || isUnreached(err)
			f.mu.Unlock()
		}
		if changed {
			pauses.Reset()
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-f.b.ctx.Done():
		}
	}
}
