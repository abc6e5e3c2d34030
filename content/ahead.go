package content

import (
	"context"
	"slices"
	"sync"

	"imapfs/cache"
	"imapfs/mail"
)

// Programs go through a folder in the order of its listing: grep -r, cp -r,
// tar. Reading message by message would cost a round trip each. So the order is
// recognised, and the next messages are fetched before they are asked for, many
// with one command, like a disk reads ahead.
const (
	// aheadRun is how many messages have to be opened in a row before
	// anything is fetched ahead: whoever opens them at random does not do that.
	aheadRun = 3
	// aheadFirst is how much is fetched ahead at first, 128 kB. It doubles
	// each time that the reader has to wait.
	aheadFirst = 128 << 10
	// aheadFlight bounds what has been asked for and has not come, 4 MB: at
	// 800 Mbit/s that lasts for 40 ms. Somebody else who wants a message of it
	// waits no longer than for this.
	aheadFlight = 4 << 20
	// aheadBatch bounds one command, 1 MB.
	aheadBatch = 1 << 20
	// aheadSkip is how many messages a reader can leave out, or be behind by,
	// and still be taken for the same one: some read with several threads.
	aheadSkip = 8
	// aheadText is for how many messages beyond the reader text is made of what
	// has come, while he is busy with others.
	aheadText = 8
	// aheadDescribe is for how many messages at a time sizes are asked for.
	aheadDescribe = 1024
)

// walks fetches ahead for those who go through folders in order.
type walks struct {
	store  *Store
	byName func(folder string, l mail.Listing) []uint32 // see Store.ByName

	mu     sync.Mutex // guards what follows
	recent []*walk    // the latest first, some of each folder
	closed bool
	jumps  map[string]*jumps // by folder
}

// mostWalks bounds the readers that are kept apart.
const mostWalks = 16

// walk is one reader of one folder. Its fields are guarded by walks.mu.
type walk struct {
	folder   string
	validity uint32 // UIDVALIDITY
	order
	at      int      // index of the message that was opened last
	run     int      // messages opened in a row
	window  int64    // how much to read ahead; 0: not recognised yet
	first   int      // index of the first message that could be read ahead
	asked   int      // index of the first message that was not asked for
	flight  int64    // bytes that were asked for and have not come
	ahead   []queued // what is here or on its way and was not opened yet, in order
	unread  int64    // bytes of it
	filling bool     // fill is running
	texts   int      // index of the first message whose text was not made
	making  bool     // makeTexts is running
}

// queued is a message ahead of the reader.
type queued struct {
	index int
	size  int64
}

// opened is told of each message whose content is wanted, before it is looked
// for.
func (w *walks) opened(ctx context.Context, id mail.ID) {
	if w.follow(id) {
		return
	}
	// A new reader. The listing is in memory: the message comes from it.
	list, err := w.store.server.Messages(ctx, id.Folder)
	if err != nil || list.UIDValidity != id.UIDValidity || !list.Has(id.UID) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jumped(id, list) {
		return
	}
	for _, other := range w.recent {
		if other.folder == id.Folder && other.run > 0 && other.run < aheadRun {
			other.run = 1 // in a row means with nothing between
		}
	}
	w.add(&walk{folder: id.Folder, validity: list.UIDValidity, order: order{uids: list.UIDs}, at: list.After(id.UID) - 1, run: 1})
}

// add adds a reader. It is called with w.mu held.
func (w *walks) add(r *walk) {
	w.recent = slices.Insert(w.recent, 0, r)
	w.recent = w.recent[:min(len(w.recent), mostWalks)]
}

// ordered notes that somebody has listed some messages of a folder, and may read them in this order.
func (w *walks) ordered(folder string, l mail.Listing) {
	if len(l.UIDs) <= aheadRun {
		return // nothing is left when he is recognised
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.recent {
		if r.folder == folder && r.validity == l.UIDValidity && slices.Equal(r.uids, l.UIDs) {
			return
		}
	}
	w.add(&walk{folder: folder, validity: l.UIDValidity, order: order{uids: l.UIDs}, at: -1})
}

// follow finds the reader who has come to this message.
func (w *walks) follow(id mail.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.noteOpened(id)
	for i, r := range w.recent {
		if r.folder != id.Folder || r.validity != id.UIDValidity {
			continue
		}
		index, found := r.find(id.UID)
		following := r.run >= aheadRun
		switch {
		case !found:
			continue
		case index == r.at:
		case r.run == 0 && r.at < 0: // he begins, see ordered
			r.at, r.run = index, 1
		case index == r.at+1, following && index > r.at && index <= r.at+aheadSkip:
			r.run++
			r.at = index
			r.passed()
		case following && index < r.at && index >= r.at-aheadSkip:
		default:
			continue
		}
		copy(w.recent[1:], w.recent[:i])
		w.recent[0] = r
		if r.run >= aheadRun {
			if r.window == 0 {
				r.window, r.first, r.asked = min(aheadFirst, w.most()), r.at+1, r.at+1
			}
			w.start(r)
			if !r.making && !w.closed {
				r.making = true
				go w.makeTexts(r)
			}
		}
		return true
	}
	return false
}

// reads tells whether somebody who reads messages in order is about to read this one: its structure
// is not asked for by itself then.
func (w *walks) reads(id mail.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.recent, func(r *walk) bool {
		if r.window == 0 || r.folder != id.Folder || r.validity != id.UIDValidity {
			return false
		}
		index, found := r.find(id.UID)
		return found && index > r.at && index <= r.at+aheadSkip
	})
}

// makeTexts makes the texts that the reader wants next. It runs in a goroutine
// of its own, and ends when it has done so.
func (w *walks) makeTexts(r *walk) {
	for {
		w.mu.Lock()
		r.texts = max(r.texts, r.at+1)
		if w.closed || r.texts > r.at+aheadText || r.texts >= len(r.uids) {
			r.making = false
			w.mu.Unlock()
			return
		}
		id := mail.ID{Folder: r.folder, UIDValidity: r.validity, UID: r.uids[r.texts]}
		r.texts++
		w.mu.Unlock()
		if p := w.store.parsedNow(id); p != nil {
			p.headers()
			p.body()
		}
	}
}

// waits is told that somebody has to wait for a message: if it was asked for
// ahead, then not early enough.
func (w *walks) waits(id mail.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.recent {
		if r.window == 0 || r.folder != id.Folder || r.validity != id.UIDValidity {
			continue
		}
		index, found := r.find(id.UID)
		if found && index >= max(r.at, r.first) && index <= r.at+aheadSkip {
			r.window = min(2*r.window, w.most())
			w.start(r)
			return
		}
	}
}

// most is how far a window grows: a quarter of the cache. What was read while a
// window was fetched takes as much again, and neither may push the other out.
func (w *walks) most() int64 { return w.store.cache.Budget() / 4 }

// aheadCost is charged for each message beside its bytes, 1 kB: for what the
// cache takes for it, and because a server may tell sizes that are too small.
const aheadCost = 1 << 10

// passed takes out what the reader has passed.
func (r *walk) passed() {
	for len(r.ahead) > 0 && r.ahead[0].index <= r.at {
		r.unread -= r.ahead[0].size
		r.ahead = r.ahead[1:]
	}
	r.asked = max(r.asked, r.at+1)
}

// weigh sets the size of a message ahead to what the server has sent.
func (r *walk) weigh(index int, size int64) {
	i, found := slices.BinarySearchFunc(r.ahead, index, func(p queued, index int) int { return p.index - index })
	if found {
		r.unread += size - r.ahead[i].size
		r.ahead[i].size = size
	}
}

// stop makes the walk one that has to be recognised anew.
func (r *walk) stop() {
	r.run, r.window, r.ahead, r.unread = 0, 0, nil, 0
}

// start lets fill run if there is room for another batch. It is called with
// w.mu held.
func (w *walks) start(r *walk) {
	if !r.filling && !w.closed && r.room() {
		r.filling = true
		go w.fill(r)
	}
}

// batch is how many bytes are asked for with one command.
func (r *walk) batch() int64 { return min(r.window/2, aheadBatch) }

// room tells whether another batch should be asked for. A walk that others
// have pushed out of walks.recent is not told of anything any more, and so
// comes to its end by itself.
func (r *walk) room() bool {
	return r.window > 0 && r.asked < len(r.uids) && r.unread <= r.window-r.batch() && r.flight <= aheadFlight-r.batch()
}

// fill asks for batches until the window is full. It runs in a goroutine of its
// own; the calls of the server that it waits for end when the backend closes.
func (w *walks) fill(r *walk) {
	for {
		w.mu.Lock()
		if w.closed || !r.room() {
			r.filling = false
			w.mu.Unlock()
			return
		}
		from, most := r.asked, r.batch()
		w.mu.Unlock()

		chosen, claimed, next, err := w.pick(r, from, most)

		w.mu.Lock()
		r.asked = max(r.asked, next)
		for _, m := range chosen {
			if m.large {
				go w.fetchParts(r, m)
			}
			if m.large || claimed[m.uid] != nil {
				r.flight += m.size
			}
			if m.index > r.at {
				r.ahead = append(r.ahead, m.queued)
				r.unread += m.size
			}
		}
		if err != nil {
			r.stop()
		}
		w.mu.Unlock()
		if err != nil {
			w.store.log.Info("reading ahead", "folder", r.folder, "error", err)
		}
		if len(claimed) > 0 {
			go w.fetch(r, chosen, claimed)
		}
	}
}

// wanted is a message that is read ahead.
type wanted struct {
	queued
	uid   uint32
	large bool
}

// pick chooses the messages of the next batch, from the index from on, up to
// most bytes, and claims the small ones that are not here. next is where to go on.
func (w *walks) pick(r *walk, from int, most int64) (chosen []wanted, claimed claims, next int, err error) {
	claimed = make(claims)
	id := mail.ID{Folder: r.folder, UIDValidity: r.validity}
	to := min(from+aheadDescribe, len(r.uids))
	// Nothing is claimed before this is over: who waits for a claim waits for
	// its fetch only.
	part := mail.Listing{UIDValidity: r.validity, UIDs: slices.Sorted(slices.Values(r.uids[from:to]))}
	if slices.ContainsFunc(r.uids[from:min(to, from+int(most/aheadCost)+1)], func(uid uint32) bool {
		id.UID = uid
		_, known, err := w.store.server.Known(id)
		return err == nil && !known
	}) {
		if err := w.store.server.Describe(r.folder, part); err != nil {
			return nil, nil, from, err
		}
	}
	var bytes int64
	for i := from; i < to; i++ {
		id.UID = r.uids[i]
		attr, known, err := w.store.server.Known(id)
		if err != nil || !known {
			continue // gone
		}
		m := wanted{queued: queued{i, attr.Size + aheadCost}, uid: id.UID, large: attr.Size >= wholeSize}
		if m.large {
			m.size = wholeSize // about what its text takes
		}
		if bytes > 0 && bytes+m.size > most {
			return chosen, claimed, i, nil
		}
		if m.size > w.store.cache.Budget()/8 {
			continue // it would not stay
		}
		bytes += m.size
		if !m.large {
			claimed.claim(w.store.cache, id)
		}
		chosen = append(chosen, m)
	}
	return chosen, claimed, to, nil
}

// fetch fetches what was claimed of what was chosen.
func (w *walks) fetch(r *walk, chosen []wanted, claimed claims) {
	queue := make(map[uint32]queued, len(chosen))
	for _, m := range chosen {
		queue[m.uid] = m.queued
	}
	w.store.busy.begin()
	id := mail.ID{Folder: r.folder, UIDValidity: r.validity}
	err := w.store.fetch(id, claimed, func(uid uint32, load *cache.Load, start []byte) {
		load.Keep(start)
		w.mu.Lock()
		defer w.mu.Unlock()
		r.flight -= queue[uid].size
		r.weigh(queue[uid].index, int64(len(start))+aheadCost)
		w.start(r)
	})
	w.store.busy.end()
	if err != nil {
		w.store.log.Info("reading ahead", "folder", r.folder, "error", err)
	}
	w.mu.Lock()
	for uid := range claimed {
		r.flight -= queue[uid].size
	}
	if err != nil {
		r.stop()
	}
	w.start(r)
	w.mu.Unlock()
	claimed.release()
}

// fetchParts fetches header and text of a large message.
func (w *walks) fetchParts(r *walk, m wanted) {
	message := w.store.Message(mail.ID{Folder: r.folder, UIDValidity: r.validity, UID: m.uid})
	ctx := context.Background() // what is waited for ends when the backend closes
	// Errors come back when somebody reads.
	message.section(ctx, "HEADER")
	if root, err := message.Structure(ctx); err == nil {
		left := int64(wholeSize)
		for _, p := range root.Text() {
			if left -= p.Size; left < 0 {
				break
			}
			message.section(ctx, p.Section)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r.flight -= m.size
	w.start(r)
}

// close ends reading ahead.
func (w *walks) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}
