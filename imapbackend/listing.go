package imapbackend

import (
	"context"
	"time"

	"imapfs/mail"
)

// Messages returns the UIDs of a folder. They are asked for once; what comes
// and goes later is reported to OnChange. While the server is away they are
// those of the last time.
func (b *Backend) Messages(ctx context.Context, name string) (mail.Listing, error) {
	f := b.folder(name)
	f.recalled.Do(f.recall)
	for {
		f.mu.Lock()
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

// IsListed tells whether Messages knows the messages of the folder as they are now.
func (b *Backend) IsListed(name string) bool {
	f := b.folder(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.source == fromServer
}

// search asks for all UIDs of the folder, to fill it, or to find out what has
// changed, and tells whether it found a change. The question goes out behind
// the SELECT, without waiting for that; but where the folder is remembered its
// answer is awaited first, which tells whether there is anything to ask.
func (f *folder) search(again bool) (changed bool, err error) {
	if !again {
		f.searches.Add(1)
		defer f.searches.Add(-1)
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
	if isStored { // and may be confirmed by that
		if err := l.confirm(); err != nil {
			return false, false, err
		}
	}
	f.mu.Lock()
	if f.source == fromServer && !again {
		f.mu.Unlock()
		return false, false, nil
	}
	k := f.look()
	f.mu.Unlock()
	uids, err := l.searchAll()
	defer f.looked()
	if err != nil {
		return false, false, err
	}
	changed, ok := f.takeIn(uids, l.sel.data, k)
	if !ok {
		f.b.pool.unselected(l.sel)
	}
	return changed, !ok, nil
}

// look is what is known of a folder when a search in it is sent.
type look struct {
	isStored bool   // source is fromStore
	renewals int    // and so on, as in folder
	next     uint32 // reported
	since    int    // the first of ours that is of later
}

// look begins a search, which looked ends. It is called with f.mu held.
func (f *folder) look() look {
	f.again = false // what is reported from here on may come too late for the answer
	f.looking++
	return look{f.source == fromStore, f.renewals, f.reported, len(f.ours)}
}

// takeIn makes uids, as SEARCH has told them in the mailbox with this data, the folder's messages,
// and tells whether anything has come or gone; ok is false if the folder is another one since.
func (f *folder) takeIn(uids []uint32, data mailbox, k look) (changed, ok bool) {
	validity := data.validity
	added, removed, ok := f.replace(uids, data, k.renewals, k.next, k.since)
	if !ok {
		return false, false
	}
	if k.isStored && len(added) > 0 && len(added) <= mostSoon {
		f.describeSoon(validity, added)
	}
	for _, uid := range removed {
		f.b.store.Delete(structureKey(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}))
	}
	if changed = len(added)+len(removed) > 0; changed {
		f.b.notify(mail.Change{Folder: f.name, UIDValidity: validity, Added: added, Removed: removed})
	}
	return changed, true
}

// looked notes that the answer to a search has come.
func (f *folder) looked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looking--; f.looking == 0 {
		f.ours = nil
	}
}

// replace makes uids, as SEARCH has told them, the folder's messages, and returns what
// came and went. renewals and next are those of before, since is the first of f.ours
// behind that; ok is false if the folder is another one since.
func (f *folder) replace(uids []uint32, data mailbox, renewals int, next uint32, since int) (added, removed []uint32, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.validity != data.validity {
		if f.renewals != renewals {
			return nil, nil, false
		}
		if f.source != fromNowhere {
			f.forget()
		}
	}
	added, removed = f.update(withOurs(uids, data.validity, f.ours[min(since, len(f.ours)):]))
	f.uidNext = max(f.uidNext, data.uidNext, next) // all reported before the SEARCH
	f.source, f.validity = fromServer, data.validity
	if f.again {
		f.refreshSoon()
	}
	return added, removed, true
}

// mostSoon is how many messages that came while there was no mount are asked
// for at once, some 30 kB on the wire.
const mostSoon = 64

// describeSoon asks for attributes and structures of messages that came while
// there was no mount. Whoever looks into the folder wants the newest one's date,
// and then to read them; so the next one to ask waits for this.
func (f *folder) describeSoon(validity uint32, uids []uint32) {
	f.b.group.DoChan("attrs "+f.name, func() (any, error) {
		_, _, err := f.describe(validity, uids, true)
		return nil, err
	})
}

// mostRefreshPause is the longest pause between two refreshes of a folder, and
// so about how late a change may show on a server that reports what is none.
const mostRefreshPause = time.Minute

// refreshSoon looks at a folder again, in a goroutine that Close waits for.
func (b *Backend) refreshSoon(name string) {
	f := b.folder(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refreshSoon()
}

// refreshSoon is called with f.mu held.
func (f *folder) refreshSoon() {
	f.again = true
	if f.source != fromNowhere && !f.refreshing { // or whoever lists it looks at again
		f.refreshing = f.b.start(f.refresh)
	}
}

// refresh looks at the folder until nothing more is reported. It pauses between two
// looks, longer each time that there was nothing new: some servers report what is
// none with every answer, or each time that IDLE begins, and would be asked for ever.
func (f *folder) refresh() {
	for {
		f.mu.Lock()
		pause := time.Until(f.lookAt)
		if !f.again || f.b.ctx.Err() != nil {
			f.refreshing = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		if !f.b.sleep(pause) {
			continue
		}
		f.mu.Lock()
		f.again = false
		f.mu.Unlock()
		changed, err := f.search(true)
		f.mu.Lock()
		if err != nil {
			f.b.log.Warn("cannot list the folder again", "folder", f.b.fullName(f.name), "error", err)
			f.again = f.again || isUnreached(err)
		}
		if f.looks == nil {
			f.looks = backOff(firstPause, mostRefreshPause)
		}
		if changed || time.Since(f.lookAt) > 2*mostRefreshPause {
			f.looks.Reset()
		}
		f.lookAt = time.Now().Add(f.looks.NextBackOff())
		f.mu.Unlock()
	}
}
