package imapbackend

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// piece reads a section of a message.
type piece struct {
	b       *Backend
	id      mail.ID
	section string
	what    string // for errors
}

// read returns n bytes from off, all if n is negative. Servers differ in what a
// partial FETCH brings: all of the section, another part of it, less than is there,
// or a refusal. None of this may look like the end. So in doubt the section is
// fetched whole.
func (p *piece) read(off, n int64) ([]byte, error) {
	if n < 0 {
		return p.readWhole(off, mostLiteral, p.b.pool.with)
	}
	var err error
	if !p.b.quirks.noPartial.Load() {
		var content []byte
		content, err = p.readPart(off, n)
		if err != nil && !isTheirs(err) || err == nil && (int64(len(content)) == n || p.isWhole(off+int64(len(content)))) {
			if err == nil && int64(len(content)) < n && p.section != "" && !p.endsAt(off+int64(len(content))) {
				// It ends before the server has said. Courier goes on with an empty
				// one when the message or its folder has gone.
				if err = p.check(); err == nil && p.isShort(off+int64(len(content))) {
					err = fmt.Errorf("%s: it ends before the server has said: %w", p.what, errNotGiven)
				}
			}
			return content, err
		}
	}
	open := p.b.pool.with
	if errors.Is(err, errCutOff) {
		open = p.b.pool.twice // that was not cheap
	}
	whole, werr := p.readWhole(off, n, open)
	if werr == nil && err != nil {
		p.b.log.Info("the server does not give parts of a message as it is asked for; messages are fetched whole", "error", err)
		p.b.quirks.noPartial.Store(true)
	}
	return whole, werr
}

// isShort tells whether a part that ends at size is much shorter than the server has
// said: by more than line ends can make.
func (p *piece) isShort(size int64) bool {
	root, ok := p.b.structures.Get(p.id)
	if !ok {
		return false
	}
	part := root.Find(p.section)
	attr, known, _ := p.b.Known(p.id)
	return part != nil && part.Size-size > part.Size/8+1024 && (!known || part.Size <= attr.Size) // else it is nonsense
}

// check returns an error if the folder has the message no more, also if the
// connection was not told of that yet.
func (p *piece) check() error {
	return p.b.pool.with(messagesOf(p.id.Folder, p.id.UIDValidity), func(l *lease) error {
		if err := l.command("NOOP", func() error { return l.client.Noop().Wait() }); err != nil {
			return err
		}
		there, err := l.holds(p.id)
		if err == nil && !there {
			err = fmt.Errorf("%s: %w", p.what, mail.ErrNotFound)
		}
		return err
	})
}

// mostParts is into how many a server may cut what it is asked for.
const mostParts = 64

// readPart is read by partial FETCH, one or more.
func (p *piece) readPart(off, n int64) ([]byte, error) {
	var all []byte
	for i := 0; n > 0; i++ {
		if i == mostParts {
			return nil, errOtherPart
		}
		more, err := p.fetch(p.section, &imap.SectionPartial{Offset: off, Size: n}, p.b.pool.with)
		if errors.Is(err, errNotGiven) && len(all) > 0 {
			err = nil // NIL is all that is behind the end
		}
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
		off, n = off+int64(len(more)), n-int64(len(more))
		if len(more) == 0 || p.endsAt(off) {
			break
		}
	}
	return all, nil
}

// endsAt tells whether off is known to be the end of the section, or beyond it.
func (p *piece) endsAt(off int64) bool {
	if p.section == "" {
		attr, known, err := p.b.Known(p.id)
		return err != nil || known && (attr.Size > 0 && off >= attr.Size || p.b.quirks.sizesLie.Load())
	}
	root, ok := p.b.structures.Get(p.id)
	if !ok {
		return false
	}
	part := root.Find(p.section)
	return part != nil && off >= part.Size
}

// isWhole tells whether a message of which so many bytes came is all there, as far
// as the server has told its size. Of a part the size is not known as well.
func (p *piece) isWhole(size int64) bool {
	attr, known, err := p.b.Known(p.id)
	return p.section != "" || err != nil || !known || attr.Size == 0 || size == attr.Size || p.b.quirks.sizesLie.Load()
}

// readWhole is read that asks for all of the section.
func (p *piece) readWhole(off, n int64, open opener) ([]byte, error) {
	b := p.b
	b.wholeMu.Lock()
	whole, here := b.whole, b.wholeOf == *p
	b.wholeMu.Unlock()
	if !here {
		var err error
		if whole, err = p.fetchWhole(open); err != nil {
			return nil, err
		}
	}
	from := min(off, int64(len(whole)))
	to := min(from+n, int64(len(whole)))
	// Whoever reads it in pieces comes for the next one.
	b.wholeMu.Lock()
	if b.wholeOf, b.whole = *p, whole; to == int64(len(whole)) {
		b.wholeOf, b.whole = piece{}, nil
	}
	b.wholeMu.Unlock()
	return whole[from:to], nil
}

// fetchWhole fetches all of the section; a message that does not come, or less of
// it than the server has told, as header and text too. If these are no more, its
// sizes are not to be counted on.
func (p *piece) fetchWhole(open opener) ([]byte, error) {
	whole, err := p.fetch(p.section, nil, open)
	if p.section != "" || err != nil && (!isTheirs(err) || errors.Is(err, errCutOff)) || err == nil && p.isWhole(int64(len(whole))) {
		return whole, err
	}
	header, herr := p.fetch("HEADER", nil, open)
	if herr != nil {
		return whole, cmp.Or(err, herr)
	}
	text, terr := p.fetch("TEXT", nil, open)
	if terr != nil {
		return whole, cmp.Or(err, terr)
	}
	if both := append(header, text...); err != nil || len(both) > len(whole) {
		whole = both
	}
	switch {
	case len(whole) == 0:
		return nil, errNotGiven // not even a header
	case !p.isWhole(int64(len(whole))):
		p.b.quirks.sizesLie.Store(true)
	}
	return whole, nil
}

var (
	// errOtherPart says that it cannot be known which part of a section came.
	errOtherPart = fmt.Errorf("another part of it than was asked for: %w", errMalformed)
	// errNotGiven says that the server has the message, but not this of it.
	errNotGiven = fmt.Errorf("the server has the message, but does not give this of it: %w", mail.ErrRefused)
)

// mostUnasked is how much may come where a part was asked for, 1 MiB: of some
// servers that is always all.
const mostUnasked = 1 << 20

// opener is how a session is got: pool.with, or one with fewer tries.
type opener func(need, func(*lease) error) error

// fetch asks for all of a section, or for part of it.
func (p *piece) fetch(section string, part *imap.SectionPartial, open opener) ([]byte, error) {
	item, err := bodySection(section)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.what, err)
	}
	item.Partial = part
	most := int64(mostLiteral)
	if part != nil {
		most = max(part.Size, mostUnasked)
	}
	options := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{item}}
	attr, isKnown, err := p.b.Known(p.id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.what, err)
	}
	if isKnown {
		options.RFC822Size = true // see below
	} else if p.section == "" {
		options.RFC822Size, options.InternalDate = true, true
	}
	var content []byte
	var gone map[uint32]bool
	var found, given error
	var answer *wire.Message
	another := false
	uids := []uint32{p.id.UID}
	take := func(m *wire.Message) {
		more, why := p.choose(m, section, part)
		if found == nil && given == nil && (why != nil || len(more) <= len(content)) {
			return // there was a better answer before
		}
		content, given = more, why
		found, another = nil, isKnown && m.Size >= 0 && m.Size != attr.Size || !isKnown && time.Since(m.Date) < time.Minute
		answer = m
	}
	err = open(need{folder: p.id.Folder, messages: true, validity: p.id.UIDValidity, bulk: part == nil || part.Size >= bulkSize}, func(l *lease) (err error) {
		defer l.content.lock(p.id.UID)()
		content, found, given, another, answer = nil, errNotGiven, nil, false, nil
		gone, err = l.fetchAndLook(p.what, newAsking(p.id.Folder, uids, options, section, most), uids, take)
		if err == nil && another {
			// Courier makes up a message, of now, in the place of one that another
			// client has expunged, until the connection has been told of that.
			err = l.command("NOOP", func() error { return l.client.Noop().Wait() })
			if err == nil {
				gone, err = l.gone(uids)
			}
		}
		return err
	})
	if _, refused := errors.AsType[*refusal](err); refused && found == nil && given == nil {
		p.b.log.Info("the server sends a message, and says that it cannot", "error", err)
		err = nil
	}
	if err == nil && answer != nil && !gone[p.id.UID] {
		p.b.folder(p.id.Folder).setAttrs(p.id.UIDValidity, answer)
	}
	switch {
	case err != nil:
		return nil, err
	case gone[p.id.UID]:
		return nil, fmt.Errorf("%s: %w", p.what, mail.ErrNotFound)
	case found != nil:
		return nil, fmt.Errorf("%s: %w", p.what, found)
	case errors.Is(given, errNotGiven) && !p.isThere():
		// Dovecot says NIL, and makes up the rest, of a message that another
		// client has just expunged, or whose file it does not find just now.
		return nil, fmt.Errorf("%s: %w", p.what, mail.ErrNotFound)
	case given != nil:
		return nil, fmt.Errorf("%s: %w", p.what, given)
	}
	return content, nil
}

// isThere asks whether the folder has the message; true if nobody knows.
func (p *piece) isThere() bool {
	there, err := p.b.exists(p.id)
	return there || err != nil
}

// choose finds in an answer what was asked for.
func (p *piece) choose(m *wire.Message, section string, part *imap.SectionPartial) ([]byte, error) {
	var ours, exact []wire.Section
	for _, s := range m.Sections {
		if s.Name != section || part == nil && s.Origin > 0 { // a piece, for somebody else
			continue
		}
		ours = append(ours, s)
		if part == nil && s.Origin < 0 || part != nil && s.Origin == part.Offset {
			exact = append(exact, s)
		}
	}
	if len(exact) == 1 {
		ours = exact
	}
	switch {
	case len(ours) == 0 && m.Broken:
		return nil, errMalformed
	case len(ours) == 0:
		return nil, errNotGiven
	case len(ours) > 1:
		return nil, fmt.Errorf("content twice in one answer: %w", errTooLarge)
	}
	s := ours[0]
	switch {
	case s.TooLong && part == nil:
		return nil, errTooLarge
	case s.TooLong:
		return nil, errOtherPart // all of it, most likely
	case s.Content == nil:
		return nil, errNotGiven
	case part == nil:
		return s.Content, nil
	}
	return p.cut(s, part)
}

// cut takes what was asked for out of what came.
func (p *piece) cut(s wire.Section, part *imap.SectionPartial) ([]byte, error) {
	origin := s.Origin
	if origin < 0 {
		attr, known, _ := p.b.Known(p.id)
		if part.Offset > 0 && s.Size <= part.Size && !(p.section == "" && known && attr.Size == s.Size) {
			return nil, errOtherPart // the piece, or all of it?
		}
		origin = 0
	}
	if origin > part.Offset || part.Offset-origin > s.Size {
		return nil, errOtherPart
	}
	content := s.Content[part.Offset-origin:]
	return content[:min(int64(len(content)), part.Size)], nil
}

// bodySection turns the name of a section into an item of FETCH.
func bodySection(section string) (*imap.FetchItemBodySection, error) {
	item := &imap.FetchItemBodySection{Peek: true}
	switch section {
	case "":
	case "HEADER":
		item.Specifier = imap.PartSpecifierHeader
	case "TEXT":
		item.Specifier = imap.PartSpecifierText
	default:
		for number := range strings.SplitSeq(section, ".") {
			i, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("no such section: %w", err)
			}
			item.Part = append(item.Part, i)
		}
	}
	return item, nil
}

// bulkSize is where a fetch counts as a large transfer, 256 kB.
const bulkSize = 256 << 10

// Fetch returns n bytes from offset off of a section of a message, fewer at
// its end, all from off if n is negative. The section is "" for the whole
// message, "HEADER", or a part's number (RFC 9051 §6.4.5). The message is not
// marked as read. Attributes that are not known yet come along with the whole
// message. Fetch ends when the server has answered or has been silent for
// Config.Timeout. What the server did not give is not asked for again for a
// while, which grows.
func (b *Backend) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	f := b.folder(id.Folder)
	p := piece{b: b, id: id, section: section, what: fmt.Sprintf("fetch %s[%s]", id, section)}
	if err := f.trouble(id, section); err != nil {
		return nil, fmt.Errorf("%s: %w", p.what, err)
	}
	content, err := p.read(off, n)
	if errors.Is(err, mail.ErrNotFound) {
		b.refreshSoon(id.Folder)
	}
	if isTheirs(err) && !errors.Is(err, mail.ErrRefused) {
		err = fmt.Errorf("%w (%w)", err, mail.ErrRefused)
	}
	f.settleTrouble(id, section, err)
	return content, err
}

// FetchStarts fetches the first n bytes of each message in l with one command,
// and hands them to take as they come, in any order. A message that take was
// not called for has to be fetched by itself. All calls for a folder that
// overlap go through one connection, behind each other. Where the command fails
// the messages are divided until it is known which of them are to blame; these
// are left out for a while, which grows.
func (b *Backend) FetchStarts(folder string, l mail.Listing, n int64, take func(uid uint32, start []byte)) error {
	f := b.folder(folder)
	item := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: n}}
	options := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{item}}
	need := messagesOf(folder, l.UIDValidity)
	need.ahead = true
	uids := slices.DeleteFunc(slices.Clone(l.UIDs), func(uid uint32) bool {
		return f.trouble(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}, "") != nil
	})
	failed, err := f.divide(need, uids, func(lease *lease, uids []uint32, came map[uint32]bool) error {
		defer lease.content.lock(uids...)()
		err := lease.fetch("fetch messages of "+folder, newAsking(folder, uids, options, "", n), func(m *wire.Message) {
			p := piece{b: b, id: mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: m.UID}}
			start, err := p.choose(m, "", item.Partial)
			came[m.UID] = true
			if err == nil && (int64(len(start)) == n || p.isWhole(int64(len(start)))) {
				take(m.UID, start) // what is in doubt is asked for by itself
			}
		})
		if err == nil {
			for _, uid := range uids { // what did not come is asked for by itself
				came[uid] = true
			}
		}
		return err
	})
	for uid, why := range failed {
		f.settleTrouble(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}, "", why)
	}
	return err
}

// mostLiteral is the largest piece of a message that is taken into memory,
// 64 MiB. Larger ones are asked for in pieces.
const mostLiteral = 64 << 20

var errTooLarge = errors.New("the server sends more than it was asked for")
