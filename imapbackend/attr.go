package imapbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// The largest batches: some 200 and 400 kB on the wire.
const (
	mostAttrs      = 2048
	mostStructures = 1024
)

// aheadFrom is the size of a batch from which on the next one is asked for
// before anybody needs it.
const aheadFrom = 16

// attr is what the server has told of a message. Its zero value, nothing, is
// that of fresh memory: a large folder has 16 bytes for each message, of which
// most are not touched before somebody asks.
type attr struct {
	beyond int64 // RFC822.SIZE + 1; 0: not asked yet
	date   int64 // INTERNALDATE, seconds since 1970
}

// newAttr believes no size that cannot be counted on.
func newAttr(size, date int64) attr { return attr{min(size, 1<<62) + 1, date} }

func (a attr) isKnown() bool { return a.beyond > 0 }

func (a attr) size() int64 { return a.beyond - 1 }

func (a attr) mail() mail.Attr { return mail.Attr{Size: a.size(), Date: time.Unix(a.date, 0)} }

// window guesses how many messages will be asked for: one at first, more for as long as the
// requests follow each other, and when a few have come one soon after the other in some
// other order: file managers have their own.
type window struct {
	first uint32 // UID of the last batch's first message
	next  uint32 // the UID after the last batch; 0: it has reached the end
	size  int
	jumps int       // requests, one soon after the other, that did not follow each other
	at    time.Time // the last one
}

const (
	windowKept = 5 * time.Second // from one request to the next
	fewJumps   = 3
)

// grow returns how many messages are to be asked for, that with this UID first.
func (w *window) grow(uid uint32, most int) int {
	now := time.Now()
	if now.Sub(w.at) > windowKept {
		w.jumps = 0
	}
	w.at = now
	isNext := uid == w.next && w.size > 0
	if !isNext {
		w.jumps++
	}
	if isNext || w.jumps > fewJumps {
		w.size = min(w.size*16, most)
	} else {
		w.size = 1
	}
	return w.size
}

// goOn asks for the next batch if somebody has come into the last one, and that was a large one, of from
// messages or more. It is called with f.mu held.
func (f *folder) goOn(w *window, from int, id mail.ID, what string, load func(mail.ID) error) {
	if w.size < from || id.UID < w.first || id.UID >= w.next {
		return
	}
	w.first = w.next // once
	next := mail.ID{Folder: f.name, UIDValidity: f.validity, UID: w.next}
	f.b.start(func() {
		// Its error comes back when somebody asks for that message.
		f.b.do(f.b.ctx, what+id.Folder, func() error { return load(next) })
	})
}

// Known returns what is known of a message without waiting; known is false if
// that is nothing. For who goes through a folder in order, the next messages are
// asked for in time.
func (b *Backend) Known(id mail.ID) (attr mail.Attr, isKnown bool, err error) {
	f := b.folder(id.Folder)
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(id)
	if err != nil || !f.attrs[i].isKnown() {
		return mail.Attr{}, false, err
	}
	f.goOn(&f.attrWindow, aheadFrom, id, "attrs ", f.loadAttrs)
	return f.attrs[i].mail(), true, nil
}

// Attr returns what is known of a message without its content, from memory
// once it has been asked for. Neighbours that are likely to be wanted next
// come along.
func (b *Backend) Attr(ctx context.Context, id mail.ID) (mail.Attr, error) {
	f := b.folder(id.Folder)
	for range 3 {
		attr, isKnown, err := b.Known(id)
		if err != nil || isKnown {
			return attr, err
		}
		asked, err := b.doFor(ctx, "attrs "+id.Folder, func() error { return f.loadAttrs(id) })
		if err != nil && asked {
			return mail.Attr{}, err
		}
	}
	attr, isKnown, err := b.Known(id)
	if err == nil && !isKnown {
		err = fmt.Errorf("%s: the server does not describe it: %w", id, mail.ErrRefused)
	}
	return attr, err
}

// describesAtOnce is how many batches of attributes are under way at once.
const describesAtOnce = 4

// Describe asks for what is not known yet of the messages in l.
func (b *Backend) Describe(folder string, l mail.Listing) error {
	f := b.folder(folder)
	batches, ctx := errgroup.WithContext(b.ctx)
	batches.SetLimit(describesAtOnce)
	for uids := range slices.Chunk(l.UIDs, mostAttrs) {
		if ctx.Err() != nil {
			break
		}
		var unknown []uint32
		f.mu.Lock()
		for _, uid := range uids {
			i, err := f.check(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid})
			if t := f.troubles[troubleOf{uid, describing}]; err == nil && !f.attrs[i].isKnown() && (t == nil || time.Now().After(t.until)) {
				unknown = append(unknown, uid)
			}
		}
		f.mu.Unlock()
		batches.Go(func() error {
			_, _, err := f.describe(l.UIDValidity, unknown, false)
			return err
		})
	}
	return batches.Wait()
}

// batch returns the UID of id and of those after it for which want holds, and then of those
// at the beginning of the folder, as many as the window w says. want is called with f.mu held.
func (f *folder) batch(id mail.ID, w *window, most int, want func(i int) bool) ([]uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(id)
	if err != nil {
		return nil, err
	}
	follows := id.UID == w.next
	n := w.grow(id.UID, most)
	var uids, before []uint32
	end := i
	for ; end < len(f.uids) && len(uids) < n; end++ {
		if want(end) {
			uids = append(uids, f.uids[end])
		}
	}
	for j := 0; j < i && !follows && len(uids)+len(before) < n; j++ {
		if want(j) {
			before = append(before, f.uids[j])
		}
	}
	w.first, w.next = id.UID, 0
	if end < len(f.uids) {
		w.next = f.uids[end]
	}
	return append(before, uids...), nil
}

func (f *folder) loadAttrs(id mail.ID) error {
	if err := f.trouble(id, describing); err != nil {
		return err
	}
	uids, err := f.batch(id, &f.attrWindow, mostAttrs, func(i int) bool { return !f.attrs[i].isKnown() })
	if err != nil {
		return err
	}
	// Where somebody looks at one message its parts are wanted next.
	structure := len(uids) == 1 && !f.b.structures.Contains(id) && f.trouble(id, structuring) == nil
	gone, failed, err := f.describe(id.UIDValidity, uids, structure)
	if gone[id.UID] {
		return fmt.Errorf("%s: %w", id, mail.ErrNotFound)
	}
	return cmp.Or(failed[id.UID], err)
}

// describe asks for the attributes of messages, and returns those that are gone,
// and those of which the server does not tell them.
func (f *folder) describe(validity uint32, uids []uint32, structure bool) (gone map[uint32]bool, failed map[uint32]error, err error) {
	if len(uids) == 0 {
		return nil, nil, nil
	}
	options := &imap.FetchOptions{RFC822Size: true, InternalDate: true}
	if structure {
		askForStructure(options)
	}
	gone, failed, err = f.fetchEach(validity, uids, options, func(m *wire.Message) bool {
		f.setAttrs(validity, m)
		if structure {
			f.setStructure(validity, m)
		}
		return m.Size >= 0 || !m.Date.IsZero()
	})
	if structure && len(failed) > 0 {
		// The parts may be what cannot be told, or read.
		f.settleTroubles(validity, structuring, uids, failed)
		return f.describe(validity, uids, false)
	}
	for uid, why := range failed {
		if lessErr := f.describeLess(validity, uid, why); lessErr == nil {
			delete(failed, uid)
		}
	}
	f.settleTroubles(validity, describing, uids, failed)
	return gone, failed, err
}

// describeLess asks for less of a message that cannot be described: its size, or
// its date. If both are refused it is shown without, as there is a name for it in
// the folder, and its content may be readable.
func (f *folder) describeLess(validity, uid uint32, why error) error {
	if errors.Is(why, errCutOff) {
		return why // not again and again
	}
	for _, options := range []*imap.FetchOptions{{RFC822Size: true}, {InternalDate: true}} {
		_, failed, err := f.fetchEach(validity, []uint32{uid}, options, func(m *wire.Message) bool {
			f.setAttrs(validity, m)
			return m.Size >= 0 || !m.Date.IsZero()
		})
		if err != nil || len(failed) == 0 {
			return err
		}
	}
	f.b.log.Info("the server does not describe a message", "folder", f.b.fullName(f.name), "uid", uid, "error", why)
	f.setAttrs(validity, &wire.Message{UID: uid, Size: 0})
	return nil
}

// setAttrs takes in what an answer tells of a message. What is missing in it is
// not known for good: a size of 0, or a date of 1970.
func (f *folder) setAttrs(validity uint32, m *wire.Message) {
	if m.Size < 0 && m.Date.IsZero() {
		return
	}
	date := m.Date
	if date.IsZero() {
		date = time.Unix(0, 0)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(mail.ID{Folder: f.name, UIDValidity: validity, UID: m.UID})
	if err == nil && !f.attrs[i].isKnown() {
		f.attrs[i] = newAttr(max(m.Size, 0), date.Unix())
		f.changedAttr(m.UID)
	}
}
