package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"

	"imapfs/cache"
	"imapfs/mail"
)

// mirror keeps a complete copy of folders in the cache on disk. It fetches what
// is not there, the newest messages first, in batches of which some are on their
// way at any time, and again whenever the server reports something new. While
// somebody waits for something else no further batch is asked for.
type mirror struct {
	fsys     *FS
	patterns []string            // of the folders; none for all
	wake     chan struct{}       // something has changed; holds one
	memory   *semaphore.Weighted // bytes for large messages

	mu       sync.Mutex // guards what follows
	dirty    map[string]bool
	again    map[string]bool              // dirty from the next run on, because of refused
	refused  map[string]map[uint32]string // by folder and UID: what the server does not give, and why
	progress Progress
}

// Progress tells how far the mirror is since the mount began.
type Progress struct {
	Folders      int        `json:"folders"`             // that the mirror is to have
	Folder       string     `json:"folder"`              // being fetched now
	Messages     int        `json:"messages"`            // found to be missing so far
	Here         int        `json:"messages_here"`       // of these fetched
	Bytes        int64      `json:"bytes"`               // of the missing ones, as the server tells
	BytesHere    int64      `json:"bytes_here"`          // fetched
	NotAvailable int        `json:"not_available"`       // messages that the server does not give
	NotGiven     []NotGiven `json:"not_given,omitempty"` // some of these
	Complete     bool       `json:"complete"`            // nothing is missing
	Spared       bool       `json:"open_spared"`         // so that the kernel is told to spare OPEN (spare.go)
	Error        string     `json:"error"`               // why it rests; "" for no reason
}

const (
	// mirrorBatch bounds one command, 512 kB.
	mirrorBatch = 512 << 10
	// mirrorFlight is how many commands are under way at once: 2 MB fill a
	// line of 100 Mbit/s with 160 ms to the server.
	mirrorFlight = 4
	// mostWhole bounds mirrorWhole, 32 MiB.
	mostWhole = 32 << 20
)

// mirrorWhole is up to which size a message is kept as it is: it is taken apart
// in memory, of which a quarter of the cache's budget may be used for it. Of a
// larger one the parts are kept.
func (fsys *FS) mirrorWhole() int64 { return min(mostWhole, fsys.cache.Budget()/4) }

// errNoRoom says that the cache is too small for the mirror.
var errNoRoom = errors.New("the cache on disk is too small for all of it; raise --disk-cache-size")

// errUnwritten says that what the mirror fetches is not kept.
var errUnwritten = errors.New("the cache on disk cannot be written; make room on that disk, or look at the log")

// Mirror fetches all messages of the folders that the patterns name, of all
// folders without a pattern, and keeps on doing so until ctx ends. A * in a
// pattern stands for any text.
func (fsys *FS) Mirror(ctx context.Context, patterns []string) {
	m := newMirror(fsys, patterns)
	pauses, refused := backoff.NewExponentialBackOff(), backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = time.Second, time.Minute
	refused.InitialInterval, refused.MaxInterval, refused.Multiplier = firstRefused, mostRefused, 2
	for {
		err := m.run(ctx)
		var again <-chan time.Time
		switch {
		case err != nil:
			fsys.log.Info("the mirror rests", "error", err)
			again = time.After(pauses.NextBackOff())
		case m.refusedDirty():
			pauses.Reset()
			again = time.After(refused.NextBackOff())
		default:
			pauses.Reset()
			refused.Reset()
		}
		m.rest(err)
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-m.wake:
		}
	}
}

func newMirror(fsys *FS, patterns []string) *mirror {
	m := &mirror{memory: semaphore.NewWeighted(fsys.cache.Budget() / 2), fsys: fsys, patterns: patterns, wake: make(chan struct{}, 1), dirty: make(map[string]bool), refused: make(map[string]map[uint32]string)}
	fsys.mu.Lock()
	fsys.mirror = m
	fsys.mu.Unlock()
	m.changed("")
	return m
}

// MirrorProgress tells how far the mirror is; false if there is none.
func (fsys *FS) MirrorProgress() (Progress, bool) {
	fsys.mu.Lock()
	m := fsys.mirror
	fsys.mu.Unlock()
	if m == nil {
		return Progress{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.progress
	p.Spared = fsys.noOpen.Load()
	return p, true
}

// changed notes that a folder, or with "" the list of folders, has changed.
func (m *mirror) changed(folder string) {
	m.mu.Lock()
	m.progress.Complete = false // until it was looked at
	if folder != "" {
		m.dirty[folder] = true
	} else {
		m.allDirty()
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// allDirty has all folders looked at. It is called with m.mu held.
func (m *mirror) allDirty() {
	for _, f := range m.fsys.mail.Folders() {
		m.dirty[f.Name] = true
	}
}

// recount leaves only what is settled in the progress, when nothing is under
// way: what was not fetched will be found to be missing again.
func (m *mirror) recount() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Messages, m.progress.Bytes = m.progress.Here, m.progress.BytesHere
	for _, uids := range m.refused {
		m.progress.Messages += len(uids)
	}
}

func (m *mirror) update(f func(p *Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.progress)
}

// rest notes why nothing is fetched at the moment.
func (m *mirror) rest(err error) {
	complete := false
	m.update(func(p *Progress) {
		p.Folder, p.Error = "", ""
		if err != nil {
			p.Error = err.Error()
		}
		p.NotAvailable, p.NotGiven = 0, nil
		for folder, uids := range m.refused {
			p.NotAvailable += len(uids)
			for uid, why := range uids {
				p.NotGiven = append(p.NotGiven, NotGiven{folder, uid, why})
			}
		}
		slices.SortFunc(p.NotGiven, func(a, b NotGiven) int {
			return cmp.Or(strings.Compare(a.Folder, b.Folder), cmp.Compare(a.UID, b.UID))
		})
		p.NotGiven = p.NotGiven[:min(len(p.NotGiven), mostNotGiven)]
		p.Complete = err == nil && p.NotAvailable == 0 && len(m.dirty) == 0 // else a change has come just now
		complete = p.Complete
	})
	if complete && len(m.patterns) == 0 {
		m.fsys.spareOpen()
	}
}

// run fetches what is missing in the folders that have changed. One that fails
// waits for the next run, and does not keep the others waiting.
func (m *mirror) run(ctx context.Context) (failed error) {
	var again []string
	disk := m.fsys.cache.Disk()
	lost := disk.Lost()
	m.recount()
	m.mu.Lock()
	for folder := range m.again {
		m.dirty[folder] = true
	}
	m.again = nil
	m.mu.Unlock()
	defer func() {
		if failed == nil {
			disk.Flush()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if disk.Lost() != lost { // it may be of any folder
			m.allDirty()
			failed = cmp.Or(failed, errUnwritten)
		}
		for _, folder := range again {
			m.dirty[folder] = true
		}
	}()
	for ctx.Err() == nil {
		folder, ok := m.next()
		if !ok {
			return failed
		}
		if err := m.folder(ctx, folder); err != nil {
			again = append(again, folder)
			if failed == nil {
				failed = fmt.Errorf("%s: %w", folder, err)
			}
			if errors.Is(err, errNoRoom) || errors.Is(err, errUnwritten) {
				return failed
			}
		}
	}
	return context.Cause(ctx)
}

// next takes the next folder that has changed: INBOX, then by name.
func (m *mirror) next() (string, bool) {
	there := make(map[string]bool)
	for _, f := range m.fsys.mail.Folders() {
		if f.Selectable && m.wants(f.Name) && m.fsys.shows(f.Name) {
			there[f.Name] = true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Folders = len(there)
	for folder, uids := range m.refused {
		if !there[folder] {
			m.progress.Messages -= len(uids)
			delete(m.refused, folder)
		}
	}
	var all []string
	for folder := range m.dirty {
		if there[folder] {
			all = append(all, folder)
		} else {
			delete(m.dirty, folder)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	folder := slices.MinFunc(all, func(a, b string) int {
		if (a == "INBOX") != (b == "INBOX") {
			if a == "INBOX" {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	delete(m.dirty, folder)
	m.progress.Folder = folder
	return folder, true
}

// wants tells whether the mirror is to have a folder.
func (m *mirror) wants(folder string) bool {
	return len(m.patterns) == 0 || slices.ContainsFunc(m.patterns, func(pattern string) bool {
		return MatchesFolder(pattern, folder)
	})
}

// MatchesFolder tells whether name is what pattern means, in which * stands for
// any text.
func MatchesFolder(pattern, name string) bool {
	before, rest, star := strings.Cut(pattern, "*")
	name, ok := strings.CutPrefix(name, before)
	if !star || !ok {
		return ok && name == ""
	}
	for i := range len(name) + 1 {
		if MatchesFolder(rest, name[i:]) {
			return true
		}
	}
	return false
}

// folder fetches what is missing in one folder.
func (m *mirror) folder(ctx context.Context, folder string) error {
	list, err := m.fsys.mail.Messages(ctx, folder)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.progress.Messages -= len(m.refused[folder])
	delete(m.refused, folder) // all of them are asked for again
	m.mu.Unlock()
	missing := m.fsys.unmirrored(folder, list)
	if len(missing.UIDs) == 0 {
		return nil
	}
	if err := m.fsys.mail.Describe(folder, missing); err != nil {
		return err
	}
	var todo []wanted
	var bytes int64
	for _, uid := range slices.Backward(missing.UIDs) {
		id := mail.ID{Folder: folder, UIDValidity: list.UIDValidity, UID: uid}
		attr, known, err := m.fsys.mail.Known(id)
		if err != nil {
			continue // gone
		}
		if !known {
			m.update(func(p *Progress) { p.Messages++ })
			m.refuse(id, errNotDescribed)
			continue
		}
		todo = append(todo, wanted{uid: uid, piece: piece{size: attr.Size}, large: attr.Size >= wholeSize})
		bytes += attr.Size
	}
	m.update(func(p *Progress) {
		p.Messages += len(todo)
		p.Bytes += bytes
	})
	return m.fetchAll(ctx, folder, list.UIDValidity, todo)
}

// fetchAll fetches these messages in their order, a few batches at a time. It
// returns when none is under way any more.
func (m *mirror) fetchAll(ctx context.Context, folder string, validity uint32, todo []wanted) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, mirrorFlight)
	var flight atomic.Int64 // bytes that will be written
	var running sync.WaitGroup
	defer running.Wait()
	start := func(f func() error) bool {
		m.fsys.busy.wait(ctx)
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := f(); err != nil {
				cancel(err)
			}
		})
		return true
	}
	disk := m.fsys.cache.Disk()
	for len(todo) > 0 {
		n, bytes := 0, int64(0)
		for n < len(todo) && (n == 0 || !todo[n].large && bytes+todo[n].size <= mirrorBatch) {
			bytes += todo[n].size
			n++
			if todo[n-1].large {
				break
			}
		}
		batch := todo[:n]
		todo = todo[n:]
		if disk.Failing() {
			cancel(errUnwritten)
			break
		}
		bytes += bytes / 3 // the disk keeps more than the mail
		if disk.Used()+flight.Add(bytes) > disk.Budget() {
			cancel(errNoRoom)
			break
		}
		if !start(func() error {
			defer flight.Add(-bytes)
			if batch[0].large {
				return m.large(ctx, mail.ID{Folder: folder, UIDValidity: validity, UID: batch[0].uid})
			}
			return m.batch(ctx, folder, validity, batch)
		}) {
			break
		}
	}
	running.Wait()
	return context.Cause(ctx)
}

// batch fetches small messages with one command.
func (m *mirror) batch(ctx context.Context, folder string, validity uint32, batch []wanted) error {
	id := mail.ID{Folder: folder, UIDValidity: validity}
	open := make(map[uint32]*cache.Load, len(batch))
	part := mail.Listing{UIDValidity: validity}
	var others []uint32 // that somebody else fetches just now, or that are larger than was said
	for _, w := range batch {
		id.UID = w.uid
		if load := m.fsys.cache.Claim(messageKey(id, "", 0, wholeSize)); load != nil {
			open[w.uid] = load
			part.UIDs = append(part.UIDs, w.uid)
		} else {
			others = append(others, w.uid)
		}
	}
	slices.Sort(part.UIDs)
	if len(part.UIDs) > 0 {
		err := m.fsys.mail.FetchStarts(folder, part, wholeSize, func(uid uint32, start []byte) {
			load := open[uid]
			if load == nil {
				return
			}
			delete(open, uid)
			load.KeepOnDisk(start)
			if len(start) == wholeSize {
				others = append(others, uid)
			} else {
				m.came(int64(len(start)))
			}
		})
		for uid, load := range open {
			load.Release()
			others = append(others, uid)
		}
		if err != nil {
			return err
		}
	}
	for _, uid := range others {
		id.UID = uid
		if err := m.large(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (m *mirror) came(bytes int64) {
	m.update(func(p *Progress) {
		p.Here++
		p.BytesHere += bytes
	})
}

// large fetches one message, of any size, and finds out the sizes of its files.
// In memory it is twice, as it comes and in pieces, and may wait for others that
// are too.
func (m *mirror) large(ctx context.Context, id mail.ID) error {
	if attr, known, err := m.fsys.mail.Known(id); err == nil && known {
		weight := 2 * min(attr.Size, m.fsys.mirrorWhole())
		if err := m.memory.Acquire(ctx, weight); err != nil {
			return err
		}
		defer m.memory.Release(weight)
	}
	n := &messageNode{fsys: m.fsys, id: id, numbers: messageNumbers(id), mirrored: true}
	size, err := n.keepAll(ctx)
	switch {
	case err == nil:
		m.came(size)
	case errors.Is(err, mail.ErrNotFound):
		m.update(func(p *Progress) { p.Messages-- })
		err = nil
	case errors.Is(err, mail.ErrRefused):
		m.refuse(id, err)
		err = nil
	}
	return err
}

// unmirrored returns those messages of a folder of which not all is in the cache
// on disk.
func (fsys *FS) unmirrored(folder string, l mail.Listing) mail.Listing {
	const atOnce = 4096
	disk := fsys.cache.Disk()
	missing := mail.Listing{UIDValidity: l.UIDValidity}
	id := mail.ID{Folder: folder, UIDValidity: l.UIDValidity}
	for uids := range slices.Chunk(l.UIDs, atOnce) {
		keys := make([]string, len(uids))
		for i, uid := range uids {
			id.UID = uid
			keys[i] = messageKey(id, "", 0, wholeSize)
		}
		for i, size := range disk.Sizes(keys) {
			id.UID = uids[i]
			if size < 0 || size >= wholeSize && !disk.Has(layoutKey(id)) {
				missing.UIDs = append(missing.UIDs, id.UID)
			}
		}
	}
	return missing
}

// shows tells whether the mount shows a folder.
func (fsys *FS) shows(folder string) bool {
	fsys.mu.Lock()
	defer fsys.mu.Unlock()
	_, ok := fsys.tree.find(folder)
	return ok
}
