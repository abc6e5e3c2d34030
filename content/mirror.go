package content

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/semaphore"

	"imapfs/mail"
)

// mirror keeps a complete copy of folders in the cache on disk. It fetches what
// is not there, the newest messages first, in batches of which some are on their
// way at any time, and again whenever the server reports something new. While
// somebody waits for something else no further batch is asked for.
type mirror struct {
	*Store
	wants        func(mail.Folder) bool
	whenComplete func()
	wake         chan struct{}       // something has changed; holds one
	memory       *semaphore.Weighted // bytes for large messages

	// For keepTexts, of the goroutine of Mirror alone: folders of which the text is not known to be
	// here, and chunks of which it is.
	untexted map[string]bool
	texted   map[string]seenTexts

	mu       sync.Mutex // guards what follows
	dirty    map[string]bool
	refused  map[string]map[uint32]string // by folder and UID: what the server does not give, and why
	progress Progress
}

// errNoRoom says that the cache is too small for the mirror.
var errNoRoom = errors.New("the cache on disk is too small for all of it; raise --disk-cache-size")

// errUnwritten says that what the mirror fetches is not kept.
var errUnwritten = errors.New("the cache on disk cannot be written; make room on that disk, or look at the log")

// Mirror fetches all messages of the folders that are wanted, and keeps on doing so
// until ctx ends. It calls complete whenever nothing is missing.
func (s *Store) Mirror(ctx context.Context, wants func(mail.Folder) bool, complete func()) {
	m := s.newMirror(wants, complete)
	pauses, refused := backoff.NewExponentialBackOff(), backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = time.Second, time.Minute
	refused.InitialInterval, refused.MaxInterval, refused.Multiplier = firstRefused, mostRefused, 2
	for {
		err := m.run(ctx)
		var again <-chan time.Time
		switch {
		case err != nil:
			s.log.Info("the mirror rests", "error", err)
			again = time.After(pauses.NextBackOff())
		case m.hasRefused():
			pauses.Reset()
			again = time.After(refused.NextBackOff())
		default:
			pauses.Reset()
			refused.Reset()
		}
		m.rest(err)
		if err == nil {
			m.keepTexts(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-m.wake:
		}
	}
}

func (s *Store) newMirror(wants func(mail.Folder) bool, complete func()) *mirror {
	m := &mirror{Store: s, wants: wants, whenComplete: complete, memory: semaphore.NewWeighted(s.cache.Budget() / 2),
		wake: make(chan struct{}, 1), dirty: make(map[string]bool), untexted: make(map[string]bool), texted: make(map[string]seenTexts), refused: make(map[string]map[uint32]string)}
	s.mirror.Store(m)
	m.changed("")
	return m
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
	for _, f := range m.server.Folders() {
		m.dirty[f.Name] = true
	}
}

// run fetches what is missing in the folders that have changed. One that fails
// waits for the next run, and does not keep the others waiting.
func (m *mirror) run(ctx context.Context) (failed error) {
	var again []string
	disk := m.cache.Disk()
	lost := disk.Lost()
	m.recount()
	m.mu.Lock()
	for folder := range m.refused {
		m.dirty[folder] = true
	}
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
		m.untexted[folder] = true
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
	there := make(map[string]string) // full names
	for _, f := range m.server.Folders() {
		if f.Selectable && m.wants(f) {
			there[f.Name] = f.FullName()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Folders = len(there)
	for folder, uids := range m.refused {
		if there[folder] == "" {
			m.progress.Messages -= len(uids)
			delete(m.refused, folder)
		}
	}
	var all []string
	for folder := range m.dirty {
		if there[folder] != "" {
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
	m.progress.Folder = there[folder]
	return folder, true
}

// missing is a message that is to be fetched.
type missing struct {
	uid  uint32
	size int64 // bytes, as the server tells
}

// folder fetches what is missing in one folder.
func (m *mirror) folder(ctx context.Context, folder string) error {
	list, err := m.server.Messages(ctx, folder)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.progress.Messages -= len(m.refused[folder])
	delete(m.refused, folder) // all of them are asked for again
	m.mu.Unlock()
	list = m.notHere(folder, list)
	if len(list.UIDs) == 0 {
		return nil
	}
	if err := m.server.Describe(folder, list); err != nil {
		return err
	}
	var todo []missing
	var bytes int64
	for _, uid := range slices.Backward(list.UIDs) {
		id := mail.ID{Folder: folder, UIDValidity: list.UIDValidity, UID: uid}
		attr, known, err := m.server.Known(id)
		if err != nil {
			continue // gone
		}
		if !known {
			m.update(func(p *Progress) { p.Messages++ })
			m.refuse(id, errNotDescribed)
			continue
		}
		todo = append(todo, missing{uid, attr.Size})
		bytes += attr.Size
	}
	m.update(func(p *Progress) {
		p.Messages += len(todo)
		p.Bytes += bytes
	})
	return m.fetchAll(ctx, folder, list.UIDValidity, todo)
}

// notHere returns those messages of a folder of which not all is in the cache on
// disk.
func (s *Store) notHere(folder string, l mail.Listing) mail.Listing {
	const atOnce = 4096
	disk := s.cache.Disk()
	left := mail.Listing{UIDValidity: l.UIDValidity}
	id := mail.ID{Folder: folder, UIDValidity: l.UIDValidity}
	for uids := range slices.Chunk(l.UIDs, atOnce) {
		keys := make([]string, len(uids))
		for i, uid := range uids {
			id.UID = uid
			keys[i] = startKey(id)
		}
		for i, size := range disk.Sizes(keys) {
			id.UID = uids[i]
			if size < 0 || size >= wholeSize && !disk.Has(layoutKey(id)) {
				left.UIDs = append(left.UIDs, id.UID)
			}
		}
	}
	return left
}
