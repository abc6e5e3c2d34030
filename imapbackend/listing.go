package imapbackend

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Messages returns the UIDs of a folder. They are asked for once; what comes
// and goes later is reported to OnChange.
func (b *Backend) Messages(ctx context.Context, name string) (mail.Listing, error) {
	var l mail.Listing
	err := b.folder(name).withList(ctx, func(f *folder) {
		l.UIDValidity = f.validity
		l.UIDs = make([]uint32, len(f.messages))
		for i, m := range f.messages {
			l.UIDs[i] = m.uid
		}
	})
	return l, err
}

// Lookup returns the ID and attributes of the message with this UID.
func (b *Backend) Lookup(ctx context.Context, name string, uid uint32) (mail.ID, mail.Attr, error) {
	id := mail.ID{Folder: name, UID: uid}
	err := b.folder(name).withList(ctx, func(f *folder) { id.UIDValidity = f.validity })
	if err != nil {
		return id, mail.Attr{}, err
	}
	attr, err := b.Attr(ctx, id)
	return id, attr, err
}

// withList runs use with f.mu held once the folder is listed.
func (f *folder) withList(ctx context.Context, use func(*folder)) error {
	for {
		f.mu.Lock()
		if f.listed {
			use(f)
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		if err := f.b.do(ctx, "list "+f.name, func() error { return f.search(false) }); err != nil {
			return err
		}
	}
}

// search asks for all UIDs of the folder, to fill it, or to find out what has
// changed.
func (f *folder) search(again bool) error {
	return f.b.pool.with(need{folder: f.name}, func(s *session) error {
		f.mu.Lock()
		listed := f.listed
		f.mu.Unlock()
		if listed && !again {
			return nil
		}
		uids, err := s.searchAll()
		if err != nil {
			return err
		}
		f.b.pool.mu.Lock()
		validity := s.validity
		f.b.pool.mu.Unlock()

		f.mu.Lock()
		if f.listed && f.validity != validity {
			f.forget()
		}
		listed = f.listed
		added, removed := f.update(uids)
		f.listed, f.validity = true, validity
		f.mu.Unlock()
		if listed && len(added)+len(removed) > 0 {
			f.b.notify(mail.Change{Folder: f.name, Added: added, Removed: removed})
		}
		return nil
	})
}

// searchAll is UID SEARCH ALL. With ESEARCH (RFC 4731) the answer is a set of
// ranges, 91 bytes for 100,000 messages, instead of every number.
func (s *session) searchAll() ([]uint32, error) {
	options := &imap.SearchOptions{ReturnAll: s.can(imap.CapESearch)}
	data, err := s.search("list messages", &imap.SearchCriteria{}, options)
	if err != nil {
		return nil, err
	}
	set, ok := data.All.(imap.UIDSet)
	if !ok && data.All != nil { // nil for an empty folder
		return nil, fmt.Errorf("list messages: an answer without UIDs: %w", errMalformed)
	}

	// A range is cheap to send: never believe more messages than the server
	// has counted out, but for some that arrive just now, nor more than fit
	// into memory (24 bytes each).
	const arriving, mostMessages = 10_000, 10_000_000
	most := uint64(arriving)
	if mailbox := s.client.Mailbox(); mailbox != nil {
		most += min(uint64(mailbox.NumMessages), mostMessages)
	}
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
	return slices.Compact(uids), nil
}

// refreshSoon looks at a folder again, in a goroutine that Close waits for.
func (b *Backend) refreshSoon(name string) {
	f := b.folder(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.listed {
		return
	}
	f.again = true
	if f.refreshing {
		return
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
