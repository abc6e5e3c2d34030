package imapbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"golang.org/x/sync/errgroup"

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
		var set imap.UIDSet
		f.mu.Lock()
		for _, uid := range uids {
			i, err := f.check(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid})
			if err == nil && !f.known[i].isKnown() {
				set.AddNum(imap.UID(uid))
			}
		}
		f.mu.Unlock()
		batches.Go(func() error {
			_, err := f.describe(l.UIDValidity, set, false)
			return err
		})
	}
	return batches.Wait()
}

// batch returns the UID of id and of those after it for which want holds, as
// many as the window w says. want is called with f.mu held.
func (f *folder) batch(id mail.ID, w *window, most int, want func(i int) bool) (imap.UIDSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(id)
	if err != nil {
		return nil, err
	}
	n := w.grow(id.UID, most)
	var set imap.UIDSet
	for ; i < len(f.uids) && n > 0; i++ {
		if want(i) {
			set.AddNum(imap.UID(f.uids[i]))
			n--
		}
	}
	w.first, w.next = id.UID, 0
	if i < len(f.uids) {
		w.next = f.uids[i]
	}
	return set, nil
}

func (f *folder) loadAttrs(id mail.ID) error {
	set, err := f.batch(id, &f.attrs, mostAttrs, func(i int) bool { return !f.known[i].isKnown() })
	if err != nil {
		return err
	}
	// Where somebody looks at one message its parts are wanted next.
	alone := len(set) == 1 && set[0].Start == set[0].Stop
	gone, err := f.describe(id.UIDValidity, set, alone)
	if err == nil && gone[id.UID] {
		err = fmt.Errorf("%s: %w", id, mail.ErrNotFound)
	}
	return err
}

// describe asks for the attributes of the messages in set, and returns those
// that are gone.
func (f *folder) describe(validity uint32, set imap.UIDSet, structure bool) (gone map[uint32]bool, err error) {
	if len(set) == 0 {
		return nil, nil
	}
	options := &imap.FetchOptions{RFC822Size: true, InternalDate: true, Flags: true}
	if structure {
		options.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	}
	take := func(m *imapclient.FetchMessageBuffer) bool {
		if m.InternalDate.IsZero() {
			return false // news of flags, or an answer to another command
		}
		f.setAttr(validity, uint32(m.UID), m.RFC822Size, m.InternalDate)
		if m.BodyStructure != nil {
			f.setStructure(validity, uint32(m.UID), m.BodyStructure)
		}
		return true
	}
	missing, err := f.fetchEach(validity, set, options, take)
	if err != nil {
		return nil, err
	}
	gone = make(map[uint32]bool)
	f.goThrough(missing, func(uid uint32, unreadable bool) {
		if !unreadable {
			gone[uid] = true
		} else if lessErr := f.describeLess(validity, uid); lessErr != nil {
			err = lessErr
		}
	})
	return gone, err
}

// describeLess asks for a message whose description the library cannot read,
// for less each time: without its structure, then without its date too.
func (f *folder) describeLess(validity, uid uint32) error {
	one := imap.UIDSetNum(imap.UID(uid))
	for _, options := range []*imap.FetchOptions{
		{RFC822Size: true, InternalDate: true},
		{RFC822Size: true},
	} {
		missing, err := f.fetchEach(validity, one, options, func(m *imapclient.FetchMessageBuffer) bool {
			date := m.InternalDate
			if !options.InternalDate {
				date = time.Unix(0, 0)
			}
			if date.IsZero() {
				return false
			}
			f.setAttr(validity, uid, m.RFC822Size, date)
			return true
		})
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			if options.InternalDate {
				f.setUnreadable(validity, uid) // it was the structure
			}
			return nil
		}
	}
	f.setAttr(validity, uid, 0, time.Unix(0, 0)) // nothing can be read of it
	return nil
}

// setUnreadable notes that the message has to be read whole to know its parts.
func (f *folder) setUnreadable(validity, uid uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.check(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}); err == nil {
		if f.unreadable == nil {
			f.unreadable = make(map[uint32]bool)
		}
		f.unreadable[uid] = true
	}
}

func (f *folder) setAttr(validity, uid uint32, size int64, date time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid})
	if err == nil && !f.known[i].isKnown() {
		f.known[i] = knownAs(max(size, 0), date.Unix())
		f.changedAttr(uid)
	}
}

// Structure returns the MIME tree of a message, from BODYSTRUCTURE (RFC 9051
// §7.5.2), or, where that cannot be read, from the whole message.
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
	unknown := func(i int) bool {
		uid := f.uids[i]
		return !f.unreadable[uid] && !f.b.structures.Contains(mail.ID{Folder: f.name, UIDValidity: id.UIDValidity, UID: uid})
	}
	f.mu.Lock()
	_, err := f.check(id)
	unreadable := f.unreadable[id.UID]
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if unreadable {
		raw, err := f.b.Fetch(id, "", 0, -1)
		if err == nil {
			f.b.structures.Add(id, mail.Parse(raw))
		}
		return err
	}
	set, err := f.batch(id, &f.structures, mostStructures, unknown)
	if err != nil || len(set) == 0 {
		return err
	}
	options := &imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{Extended: true}}
	missing, err := f.fetchEach(id.UIDValidity, set, options, func(m *imapclient.FetchMessageBuffer) bool {
		if m.BodyStructure != nil {
			f.setStructure(id.UIDValidity, uint32(m.UID), m.BodyStructure)
		}
		return m.BodyStructure != nil
	})
	if err != nil {
		return err
	}
	var failed error
	f.goThrough(missing, func(uid uint32, unreadable bool) {
		if unreadable {
			// It is read whole when somebody asks for it (see above).
			f.b.log.Info("the BODYSTRUCTURE of a message is not readable", "folder", f.name, "uid", uid)
			f.setUnreadable(id.UIDValidity, uid)
		} else if uid == id.UID {
			failed = fmt.Errorf("%s: %w", id, mail.ErrNotFound)
		}
	})
	return failed
}

func (f *folder) setStructure(validity, uid uint32, bs imap.BodyStructure) {
	id := mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}
	root := part(bs, "", 0)
	f.b.structures.Add(id, root)
	f.b.store.Put(structureKey(id), encode(root))
}

// goThrough calls each for the messages that a batch did not bring: those that
// are gone, and those which the library could not read.
func (f *folder) goThrough(missing map[uint32]bool, each func(uid uint32, unreadable bool)) {
	gone := false
	for uid, unreadable := range missing {
		gone = gone || !unreadable
		each(uid, unreadable)
	}
	if gone {
		f.b.refreshSoon(f.name)
	}
}

// fetchEach fetches options of all messages in set and hands each to take,
// which tells whether all was there. It returns the messages that did not come:
// true for those whose answer the library cannot read, which ends the
// connection: the one bad message is found and left out, so that it never hides
// its neighbours.
//
// Only with no other FETCH beside it is it certain that an answer went where it
// belongs and that an unreadable one was this command's. So what did not come is
// asked for again alone before anything is said of it.
func (f *folder) fetchEach(validity uint32, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer) bool) (missing map[uint32]bool, err error) {
	uids, _ := set.Nums()
	missing = make(map[uint32]bool)
	todo := make([]uint32, len(uids))
	for i, uid := range uids {
		todo[i] = uint32(uid)
	}
	n, alone := len(todo), false
	for len(todo) > 0 {
		var batch imap.UIDSet
		for _, uid := range todo[:n] {
			batch.AddNum(imap.UID(uid))
		}
		came := make(map[uint32]bool)
		unreadable := false
		err := f.b.pool.with(need{folder: f.name, messages: true, validity: validity}, func(l *lease) error {
			fetch := l.fetch
			if alone {
				fetch = l.fetchAlone
			}
			err := fetch("describe messages of "+f.name, batch, options, func(m *imapclient.FetchMessageBuffer) {
				if batch.Contains(m.UID) && take(m) {
					came[uint32(m.UID)] = true
				}
			})
			unreadable = errors.Is(err, errMalformed)
			if unreadable {
				return nil // settled below, rather than tried again
			}
			return err
		})
		if err != nil && (!errors.Is(err, mail.ErrNotFound) || errors.Is(err, errNoFolder)) {
			return nil, err
		}
		found := alone && (!unreadable || n == 1)
		var rest []uint32
		for i, uid := range todo {
			switch {
			case came[uid]:
			case found && i < n:
				missing[uid] = unreadable
			default:
				rest = append(rest, uid)
			}
		}
		switch {
		case found:
			n, alone = len(rest), false
		case unreadable:
			// The first that did not come is the likely culprit.
			n, alone = min(1, len(rest)), true
		default:
			n, alone = len(rest), true
		}
		todo = rest
	}
	return missing, nil
}

// part turns a BODYSTRUCTURE into a tree of parts. Servers count levels as
// deep as they like; a tree deeper than any real mail is cut to a leaf.
func part(bs imap.BodyStructure, section string, depth int) *mail.Part {
	const deepest = 100
	switch bs := bs.(type) {
	case *imap.BodyStructureMultiPart:
		root := &mail.Part{Section: section, Type: bs.MediaType(), Encoding: "7bit"}
		if bs.Extended != nil {
			root.Params = mail.DecodeParams(bs.Extended.Params)
		}
		if depth == deepest {
			return root
		}
		for i, child := range bs.Children {
			number := strconv.Itoa(i + 1)
			if section != "" {
				number = section + "." + number
			}
			root.Children = append(root.Children, part(child, number, depth+1))
		}
		return root
	case *imap.BodyStructureSinglePart:
		if section == "" {
			section = "1"
		}
		var disposition string
		var dispParams map[string]string
		if d := bs.Disposition(); d != nil {
			disposition, dispParams = d.Value, d.Params
		}
		return mail.NewPart(section, bs.MediaType(), bs.Params, disposition, dispParams, bs.ID, bs.Encoding, int64(bs.Size))
	}
	return &mail.Part{Section: "1", Type: "text/plain", Encoding: "7bit"}
}
