package imapbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// The largest batches: some 200 and 100 kB on the wire.
const (
	mostAttrs      = 2048
	mostStructures = 256
)

// aheadFrom is the size of a batch from which on the next one is asked for
// before anybody needs it.
const aheadFrom = 16

// Known returns what is known of a message without waiting; known is false if
// that is nothing. For who goes through a folder in order, the next messages are
// asked for in time.
func (b *Backend) Known(id mail.ID) (attr mail.Attr, isKnown bool, err error) {
	f := b.folder(id.Folder)
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(id)
	if err != nil || !f.known[i].isKnown() {
		return mail.Attr{}, false, err
	}
	if w := &f.attrs; w.size >= aheadFrom && id.UID >= w.first && id.UID < w.next {
		w.first = w.next // once
		next := mail.ID{Folder: f.name, UIDValidity: f.validity, UID: w.next}
		b.start(func() {
			// Its error comes back when somebody asks for that message.
			b.do(b.ctx, "attrs "+id.Folder, func() error { return f.loadAttrs(next) })
		})
	}
	return f.known[i].attr(), true, nil
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
			if t := f.troubles[troubleOf{uid, describing}]; err == nil && !f.known[i].isKnown() && (t == nil || time.Now().After(t.until)) {
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

// batch returns the UID of id and of those after it for which want holds, as
// many as the window w says. want is called with f.mu held.
func (f *folder) batch(id mail.ID, w *window, most int, want func(i int) bool) ([]uint32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(id)
	if err != nil {
		return nil, err
	}
	n := w.grow(id.UID, most)
	var uids []uint32
	for ; i < len(f.uids) && n > 0; i++ {
		if want(i) {
			uids = append(uids, f.uids[i])
			n--
		}
	}
	w.first, w.next = id.UID, 0
	if i < len(f.uids) {
		w.next = f.uids[i]
	}
	return uids, nil
}

func (f *folder) loadAttrs(id mail.ID) error {
	if err := f.trouble(id, describing); err != nil {
		return err
	}
	uids, err := f.batch(id, &f.attrs, mostAttrs, func(i int) bool { return !f.known[i].isKnown() })
	if err != nil {
		return err
	}
	// Where somebody looks at one message its parts are wanted next.
	gone, failed, err := f.describe(id.UIDValidity, uids, len(uids) == 1)
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
	f.b.log.Info("the server does not describe a message", "folder", f.name, "uid", uid, "error", why)
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
	if err == nil && !f.known[i].isKnown() {
		f.known[i] = knownAs(max(m.Size, 0), date.Unix())
		f.changedAttr(m.UID)
	}
}

// Structure returns the MIME tree of a message, from BODYSTRUCTURE (RFC 9051
// §7.5.2). If it is unsure, or could not be had, the message itself has to be
// looked at.
func (b *Backend) Structure(ctx context.Context, id mail.ID) (*mail.Part, error) {
	f := b.folder(id.Folder)
	for range 3 {
		if root, ok := b.structures.Get(id); ok {
			return root, nil
		}
		if b.recallStructure(id) {
			continue
		}
		asked, err := b.doFor(ctx, "structures "+id.Folder, func() error { return f.loadStructures(id) })
		if err != nil && asked {
			return nil, err
		}
	}
	// Others pushed it out again and again: ask for it alone.
	var root *mail.Part
	err := b.do(ctx, "structure "+id.String(), func() error {
		if err := f.loadStructures(id); err != nil {
			return err
		}
		root, _ = b.structures.Get(id)
		return nil
	})
	if err == nil && root == nil {
		err = fmt.Errorf("structure of %s: %w", id, mail.ErrNotFound)
	}
	return root, err
}

func (f *folder) loadStructures(id mail.ID) error {
	if err := f.trouble(id, structuring); err != nil {
		f.b.structures.Add(id, &mail.Part{Section: "1", Unsure: true})
		return nil
	}
	uids, err := f.batch(id, &f.structures, mostStructures, func(i int) bool {
		return !f.b.structures.Contains(mail.ID{Folder: f.name, UIDValidity: id.UIDValidity, UID: f.uids[i]})
	})
	if err != nil || len(uids) == 0 {
		return err
	}
	options := &imap.FetchOptions{}
	askForStructure(options)
	gone, failed, err := f.fetchEach(id.UIDValidity, uids, options, func(m *wire.Message) bool {
		f.setStructure(id.UIDValidity, m)
		return true
	})
	f.settleTroubles(id.UIDValidity, structuring, uids, failed)
	for uid, why := range failed {
		f.b.log.Info("the server does not tell the parts of a message", "folder", f.name, "uid", uid, "error", why)
		f.b.structures.Add(mail.ID{Folder: f.name, UIDValidity: id.UIDValidity, UID: uid}, &mail.Part{Section: "1", Unsure: true})
	}
	if gone[id.UID] {
		return fmt.Errorf("%s: %w", id, mail.ErrNotFound)
	}
	if failed[id.UID] != nil {
		return nil
	}
	return err
}

// askForStructure has a FETCH ask for the MIME tree, and for those fields of the
// header that show whether it can be believed.
func askForStructure(options *imap.FetchOptions) {
	options.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	options.BodySection = []*imap.FetchItemBodySection{{
		Specifier: imap.PartSpecifierHeader, Peek: true,
		HeaderFields: []string{"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID"},
	}}
}

// mostHeaderFields is how many bytes of these fields are read.
const mostHeaderFields = 64 << 10

// setStructure takes in the MIME tree of a message. Servers read MIME in their own
// ways; one tree is true, which is that of mail.Parse. So the server's is believed
// only if the header, read here, says the same of the message as a whole.
func (f *folder) setStructure(validity uint32, m *wire.Message) {
	root := m.Structure
	if root == nil {
		root = &mail.Part{Section: "1"}
	}
	i := slices.IndexFunc(m.Sections, func(s wire.Section) bool { return strings.HasPrefix(s.Name, headerFields) })
	root.Unsure = root.Unsure || m.Structure == nil || i < 0 || m.Sections[i].Content == nil || root.IsDoubtful(m.Sections[i].Content)
	f.b.setStructure(mail.ID{Folder: f.name, UIDValidity: validity, UID: m.UID}, root)
}

// setStructure keeps the MIME tree of a message.
func (b *Backend) setStructure(id mail.ID, root *mail.Part) {
	b.structures.Add(id, root)
	b.store.Put(structureKey(id), encode(root))
}

// Found is told of the tree that is in the content of a message. If the server has
// told another one, that is forgotten: the tree stays the same after a restart.
func (b *Backend) Found(id mail.ID, root *mail.Part) {
	if told, ok := b.structures.Get(id); ok && (told.Unsure || !told.Same(root)) {
		b.log.Debug("a message is not what the server says that it is", "folder", id.Folder, "uid", id.UID)
		b.setStructure(id, root)
	}
}

// fetchEach fetches options of the messages and hands each to take, which tells
// whether enough was there. It returns those that are gone, and those which the
// server does not give.
func (f *folder) fetchEach(validity uint32, uids []uint32, options *imap.FetchOptions, take func(*wire.Message) bool) (gone map[uint32]bool, failed map[uint32]error, err error) {
	section, most := "", int64(0)
	if len(options.BodySection) > 0 {
		section, most = headerFields, mostHeaderFields
	}
	gone = make(map[uint32]bool)
	failed, err = f.divide(messagesOf(f.name, validity), uids, func(l *lease, uids []uint32, came map[uint32]bool) error {
		lost, err := l.fetchAndLook("describe messages of "+f.name, newAsking(f.name, uids, options, section, most), uids, func(m *wire.Message) {
			if take(m) {
				came[m.UID] = true
			}
		})
		for uid := range lost {
			gone[uid], came[uid] = true, true
		}
		return err
	})
	if len(gone) > 0 {
		f.b.refreshSoon(f.name)
	}
	return gone, failed, err
}

// settleTroubles is settleTrouble for many messages.
func (f *folder) settleTroubles(validity uint32, what string, uids []uint32, failed map[uint32]error) {
	f.mu.Lock()
	none := len(f.troubles) == 0 && len(failed) == 0
	f.mu.Unlock()
	if none {
		return
	}
	for _, uid := range uids {
		f.settleTrouble(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}, what, failed[uid])
	}
}
