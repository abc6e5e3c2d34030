package content

import (
	"slices"
	"time"

	"imapfs/mail"
)

// Not all who go through a folder do so in the order of its listing. A shell's INBOX/*, KIO and some
// file managers take the names in their order: 1, 10, 100, 101, 2. So where somebody jumps about, and
// his jumps are those from one name to the next, the rest is read ahead in that order.

// order is messages in the order in which they are read.
type order struct {
	uids []uint32
	at   map[uint32]int // where each is; nil if they ascend
}

// find returns the index of a message.
func (o order) find(uid uint32) (index int, found bool) {
	if o.at == nil {
		return slices.BinarySearch(o.uids, uid)
	}
	index, found = o.at[uid]
	return index, found
}

// jumps is how somebody jumps about in a folder.
type jumps struct {
	last      mail.ID // what was opened last
	before    mail.ID // and before that
	at        time.Time
	n         int // jumps, one soon after the other
	explained int // of them in a row, by the order of names

	names    order
	listing  []uint32 // of which names is, or will be
	ordering bool     // it is being found out
}

const (
	// fewJumps is how many there are before anybody looks at the order of names.
	fewJumps = 3
	// jumpsKept is how soon one has to follow the other.
	jumpsKept = 5 * time.Second
	// jumpsExplained is how many have to follow the order of names.
	jumpsExplained = 2
)

// noteOpened notes what was opened last in a folder. It is called with w.mu held.
func (w *walks) noteOpened(id mail.ID) {
	j := w.jumps[id.Folder]
	if j == nil {
		if w.jumps == nil || len(w.jumps) >= mostWalks {
			w.jumps = make(map[string]*jumps)
		}
		j = new(jumps)
		w.jumps[id.Folder] = j
	}
	j.before, j.last = j.last, id
}

// jumped is told of somebody who opens a message that does not follow on what was opened before, in a
// folder with these messages, and tells whether he is known now to read by name. It is called with
// w.mu held.
func (w *walks) jumped(id mail.ID, list mail.Listing) bool {
	j := w.jumps[id.Folder]
	if j == nil || w.byName == nil || w.closed {
		return false
	}
	if time.Since(j.at) > jumpsKept {
		j.n, j.explained = 0, 0
	}
	j.n, j.at = j.n+1, time.Now()
	if len(j.listing) == 0 || len(list.UIDs) != len(j.listing) || &list.UIDs[0] != &j.listing[0] { // listings are replaced as a whole
		if j.n > fewJumps && !j.ordering {
			j.names, j.listing, j.ordering = order{}, list.UIDs, true
			go w.sort(j, id.Folder, list)
		}
		return false
	}
	before, ok := j.names.find(j.before.UID)
	index, found := j.names.find(id.UID)
	if !ok || !found || j.names.at == nil || index != before+1 {
		j.explained = 0
		return false
	}
	if j.explained++; j.explained < jumpsExplained {
		return false
	}
	for _, r := range w.recent {
		if r.folder == id.Folder && r.order.at == nil && r.validity == id.UIDValidity {
			r.stop() // tens of names follow on each other in the listing too
		}
	}
	w.add(&walk{folder: id.Folder, validity: list.UIDValidity, order: j.names, at: index, run: aheadRun})
	return true
}

// sort finds out the order of names. It runs in a goroutine of its own; the server that it may wait for
// gives up when the backend closes.
func (w *walks) sort(j *jumps, folder string, list mail.Listing) {
	uids := w.byName(folder, list)
	at := make(map[uint32]int, len(uids))
	for i, uid := range uids {
		at[uid] = i
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	j.names, j.ordering = order{uids, at}, false
}
