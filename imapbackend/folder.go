package imapbackend

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"imapfs/mail"
)

// folder is what is known of one mailbox. A message costs 20 bytes here.
type folder struct {
	b    *Backend
	name string

	recalled      sync.Once    // recall
	flagsRecalled sync.Once    // recallFlags
	searches      atomic.Int32 // that fill the listing

	mu              sync.Mutex // guards what follows
	source          source     // of uids
	validity        uint32     // UIDVALIDITY
	uidNext         uint32     // no message with a UID from here on has been there; 0: not known
	uids            []uint32   // ascending; handed out in listings, so never changed in place
	attrs           []attr     // of the message with the UID at the same index
	flags           flagged
	rights          *mail.Rights                // nil: not told yet
	opened          *mailbox                    // of which SELECT has told last; nil: nothing, or it was refused since
	reopened        int                         // how often that was another word on what may be done than before
	granted         string                      // the letters of MYRIGHTS; "": not told
	troubles        map[troubleOf]*trouble      // what the server did not give
	attrWindow      window                      // reading ahead of attributes
	structureWindow window                      // and of BODYSTRUCTUREs
	envelopeWindow  window                      // and of envelopes
	refreshing      bool                        // a refresh is running
	again           bool                        // and has to run once more
	looks           *backoff.ExponentialBackOff // pauses between its looks
	lookAt          time.Time                   // when the next one may be
	renewals        int                         // how often the server has numbered the messages anew
	reported        uint32                      // UIDNEXT as reported last; the listing may be older
	looking         int                         // searches under way, of whose answers nobody knows how old they are
	ours            []own                       // what has come and gone from here meanwhile
	mark            mark                        // from which UID on new messages come
	dirty           bool                        // the listing has to be stored
	dirtyAttrs      map[uint32]bool             // and these chunks of attributes
	dirtyEnvelopes  map[uint32]bool             // and of envelopes
}

// source is where a folder's listing comes from.
type source int

const (
	fromNowhere source = iota // there is none
	fromStore                 // the server has not been asked since
	fromServer
)

// folder returns the state of the named folder.
func (b *Backend) folder(name string) *folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.folders[name]
	if f == nil {
		f = &folder{b: b, name: name}
		b.folders[name] = f
	}
	return f
}

// used returns the folders that were asked for. Whoever holds the lock of one of
// them may take that of the backend, so this never goes the other way round.
func (b *Backend) used() []*folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.folders))
}

// check finds out whether id still names a message, as far as is known here.
// It is called with f.mu held.
func (f *folder) check(id mail.ID) (int, error) {
	if f.validity != 0 && f.validity != id.UIDValidity {
		return 0, mail.ErrStale
	}
	i, ok := slices.BinarySearch(f.uids, id.UID)
	if !ok {
		return 0, mail.ErrNotFound
	}
	return i, nil
}

// selected takes in what SELECT or STATUS says of the folder (RFC 9051 §6.3.2,
// §6.3.11). The count and UIDNEXT together show every change of the set of
// messages: what came raises UIDNEXT, what only went lowers the count.
func (f *folder) selected(validity, uidNext, count uint32) {
	f.recalled.Do(f.recall)
	f.mu.Lock()
	was := f.validity
	renewed := f.source != fromNowhere && was != validity
	changed := f.source != fromNowhere && (int(count) != len(f.uids) || uidNext > f.uidNext || uidNext == 0)
	switch {
	case renewed:
		f.forget()
		f.validity = validity // what bears another one is stale, not unknown
		f.renewals++
	case f.source == fromStore && !changed:
		f.source = fromServer
	case f.source == fromStore && f.searches.Load() > 0:
		changed = false // it is being looked at already
	}
	// It is taken over when the messages have been listed (searchOn): if that
	// fails, the old listing must not look like the one of now.
	f.reported = uidNext
	f.mu.Unlock()
	switch {
	case renewed:
		f.b.log.Warn("the server has numbered the messages anew", "folder", f.b.fullName(f.name))
		f.b.notify(mail.Change{Folder: f.name, Renewed: true, Was: was})
	case changed:
		f.b.refreshSoon(f.name)
	}
}

// forget drops all that is known of the messages. It is called with f.mu held.
func (f *folder) forget() {
	f.source, f.uids, f.attrs, f.troubles, f.validity, f.uidNext, f.reported = fromNowhere, nil, nil, nil, 0, 0, 0
	f.attrWindow, f.structureWindow, f.envelopeWindow = window{}, window{}, window{}
	f.dirty, f.dirtyAttrs, f.dirtyEnvelopes, f.mark = false, nil, nil, mark{}
	f.forgetStored()
}

// remove takes a message out after it was deleted from here.
func (f *folder) remove(id mail.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, err := f.check(id); err == nil {
		f.uids = slices.Concat(f.uids[:i], f.uids[i+1:])
		f.attrs = slices.Delete(f.attrs, i, i+1)
		if f.flags.of != nil {
			f.flags.of = slices.Delete(f.flags.of, i, i+1)
		}
		f.changed()
	}
	f.note(own{id.UIDValidity, id.UID, false})
}

// own is a message that was put into the folder or taken out of it from here.
type own struct {
	validity, uid uint32
	came          bool
}

// note has those who wait for an answer that may be older know of it. It is called with
// f.mu held.
func (f *folder) note(o own) {
	if f.looking > 0 {
		f.ours = append(f.ours, o)
	}
}

// withOurs is uids, as the server has told them under a UIDVALIDITY, with what has come
// and gone from here since the question was sent.
func withOurs(uids []uint32, validity uint32, ours []own) []uint32 {
	for _, o := range ours {
		if o.validity != validity {
			continue
		}
		switch i, there := slices.BinarySearch(uids, o.uid); {
		case o.came && !there:
			uids = slices.Insert(slices.Clone(uids), i, o.uid)
		case !o.came && there:
			uids = slices.Concat(uids[:i], uids[i+1:])
		}
	}
	return uids
}

// mark is the UID from which on new messages come, under a UIDVALIDITY; 0 where that is
// not known.
type mark struct{ validity, next uint32 }

// add lists a message that has come from here, with its attributes if they are known. It
// returns false if others may have come too.
func (f *folder) add(id mail.ID, a mail.Attr, isKnown bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mark.validity != id.UIDValidity {
		f.mark = mark{validity: id.UIDValidity}
	}
	f.mark.next = max(f.mark.next, id.UID+1)
	f.note(own{id.UIDValidity, id.UID, true})
	if f.source == fromNowhere {
		return true // whoever lists it finds it
	}
	if f.validity != id.UIDValidity || f.source != fromServer {
		return false
	}
	i, there := slices.BinarySearch(f.uids, id.UID)
	if !there {
		f.uids = slices.Insert(slices.Clone(f.uids), i, id.UID)
		f.attrs = slices.Insert(f.attrs, i, attr{})
		if f.flags.of != nil {
			f.flags.of = slices.Insert(f.flags.of, i, 0)
		}
	}
	if isKnown && !f.attrs[i].isKnown() {
		f.attrs[i] = newAttr(a.Size, a.Date.Unix())
		f.changedAttr(id.UID)
	}
	f.changed()
	alone := id.UID == f.uidNext || there
	f.uidNext = max(f.uidNext, id.UID+1)
	return alone
}

// update makes uids, in ascending order, the folder's messages, and returns
// what came and went. It is called with f.mu held.
func (f *folder) update(uids []uint32) (added, removed []uint32) {
	old, oldAttrs, oldFlags := f.uids, f.attrs, f.flags.of
	f.uids = uids
	f.attrs = make([]attr, len(uids))
	if oldFlags != nil {
		f.flags.of = make([]uint32, len(uids))
	}
	j := 0
	for i, uid := range uids {
		for j < len(old) && old[j] < uid {
			removed = append(removed, old[j])
			j++
		}
		if j < len(old) && old[j] == uid {
			f.attrs[i] = oldAttrs[j]
			if oldFlags != nil {
				f.flags.of[i] = oldFlags[j]
			}
			j++
			continue
		}
		if f.source != fromNowhere {
			added = append(added, uid)
		}
	}
	if len(uids) > 0 {
		f.uidNext = max(f.uidNext, uids[len(uids)-1]+1)
	}
	f.changed()
	return added, append(removed, old[j:]...)
}
