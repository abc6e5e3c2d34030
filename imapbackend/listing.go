package imapbackend

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Messages returns the UIDs of a folder. They are asked for once; what comes
// and goes later is reported to OnChange.
func (b *Backend) Messages(ctx context.Context, name string) (mail.Listing, error) {
	f := b.folder(name)
	for {
		f.mu.Lock()
		l, listed := mail.Listing{UIDValidity: f.validity, UIDs: f.uids}, f.listed
		f.mu.Unlock()
		if listed {
			return l, nil
		}
		if err := b.do(ctx, "list "+name, func() error { return f.search(false) }); err != nil {
			return l, err
		}
	}
}

// search asks for all UIDs of the folder, to fill it, or to find out what has
// changed. The question goes out behind the SELECT, without waiting for that.
func (f *folder) search(again bool) error {
	for {
		outdated := false
		err := f.b.pool.with(need{folder: f.name}, func(l *lease) (err error) {
			outdated, err = f.searchOn(l, again)
			return err
		})
		if err != nil || !outdated {
			return err
		}
	}
}

// searchOn is search on one session. outdated tells that the answer is about a
// folder that has been replaced meanwhile.
func (f *folder) searchOn(l *lease, again bool) (outdated bool, err error) {
	f.mu.Lock()
	if f.listed && !again {
		f.mu.Unlock()
		return false, nil
	}
	f.again = false // what is reported from here on may come too late for the answer
	renewals := f.renewals
	f.mu.Unlock()
	uids, err := l.searchAll()
	if err != nil {
		return false, err
	}
	validity := l.sel.data.UIDValidity

	f.mu.Lock()
	if f.renewals != renewals && f.validity != validity {
		f.mu.Unlock()
		f.b.pool.unselected(l.sel)
		return true, nil
	}
	if f.listed && f.validity != validity {
		f.forget()
	}
	added, removed := f.update(uids)
	f.listed, f.validity = true, validity
	reported := f.again
	f.mu.Unlock()
	if reported {
		f.b.refreshSoon(f.name)
	}
	if len(added)+len(removed) > 0 {
		f.b.notify(mail.Change{Folder: f.name, Added: added, Removed: removed})
	}
	return false, nil
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

// refreshSoon looks at a folder again, in a goroutine that Close waits for.
func (b *Backend) refreshSoon(name string) {
	f := b.folder(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = true
	if !f.listed || f.refreshing {
		return // whoever lists it looks at again
	}
	f.refreshing = b.start(func() {
		for {
			f.mu.Lock()
			if !f.again || b.ctx.Err() != nil {
				f.refreshing = false
				f.mu.Unlock()
				return
			}
			f.again = false
			f.mu.Unlock()
			if err := f.search(true); err != nil {
				b.log.Warn("cannot list the folder again", "folder", name, "error", err)
			}
		}
	})
}
