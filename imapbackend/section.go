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

// mostLiteral is the largest piece of a message that is taken into memory,
// 64 MiB. Larger ones are asked for in pieces.
const mostLiteral = 64 << 20

var errTooLarge = errors.New("the server sends more than it was asked for")

// bulkSize is where a fetch counts as a large transfer, 256 kB.
const bulkSize = 256 << 10

// Fetch returns n bytes from offset off of a section of a message, fewer at
// its end, all from off if n is negative. Its name is "" for the whole
// message, "HEADER", or a part's number (RFC 9051 §6.4.5). The message is not
// marked as read. Attributes that are not known yet come along with the whole
// message. Fetch ends when the server has answered or has been silent for
// Config.Timeout. What the server did not give is not asked for again for a
// while, which grows.
func (b *Backend) Fetch(id mail.ID, name string, off, n int64) ([]byte, error) {
	f := b.folder(id.Folder)
	sec := section{b: b, id: id, name: name, what: fmt.Sprintf("fetch %s[%s]", id, name)}
	if err := f.trouble(id, name); err != nil {
		return nil, fmt.Errorf("%s: %w", sec.what, err)
	}
	content, err := sec.read(off, n)
	if errors.Is(err, mail.ErrNotFound) {
		b.refreshSoon(id.Folder)
	}
	if isTheirs(err) && !errors.Is(err, mail.ErrRefused) {
		err = fmt.Errorf("%w (%w)", err, mail.ErrRefused)
	}
	f.settleTrouble(id, name, err)
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
		_, err := lease.fetch("fetch messages of "+folder, newAsking(folder, uids, options, "", n), nil, func(m *wire.Message) {
			sec := section{b: b, id: mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: m.UID}}
			start, err := sec.choose(m, "", item.Partial)
			came[m.UID] = true
			if err == nil && (int64(len(start)) == n || sec.isWhole(int64(len(start)))) {
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

// section is one section of a message (RFC 9051 §6.4.5).
type section struct {
	b    *Backend
	id   mail.ID
	name string
	what string // for errors
}

// read returns n bytes from off, all if n is negative. Servers differ in what a
// partial FETCH brings: all of the section, another part of it, less than is there,
// or a refusal. None of this may look like the end. So in doubt the section is
// fetched whole.
func (sec *section) read(off, n int64) ([]byte, error) {
	if n < 0 {
		return sec.readWhole(off, mostLiteral, sec.b.pool.with)
	}
	var err error
	if !sec.b.quirks.noPartial.Load() {
		var content []byte
		content, err = sec.readPart(off, n)
		end := off + int64(len(content))
		switch {
		case err != nil && !isTheirs(err):
			return nil, err
		case err == nil && end == off+n:
			return content, nil
		case err == nil && sec.isWhole(end):
			if err = sec.mayEndAt(end); !errors.Is(err, errEarlyEnd) {
				return content, err
			}
			more, werr := sec.readWhole(off, n, sec.b.pool.with)
			if werr != nil || len(more) <= len(content) {
				return nil, err
			}
			sec.noPartial(err)
			return more, nil
		}
	}
	open := sec.b.pool.with
	if errors.Is(err, errCutOff) {
		open = sec.b.pool.twice // that was not cheap
	}
	whole, werr := sec.readWhole(off, n, open)
	if werr == nil && err != nil {
		sec.noPartial(err)
	}
	return whole, werr
}

// noPartial has sections fetched whole from now on.
func (sec *section) noPartial(why error) {
	sec.b.log.Info("the server does not give parts of a message as it is asked for; messages are fetched whole", "error", why)
	sec.b.quirks.noPartial.Store(true)
}

// errEarlyEnd says that a section seems to end where it should not.
var errEarlyEnd = errors.New("it ends too early")

func early(err error) error { return fmt.Errorf("%w: %w", errEarlyEnd, err) }

// mayEndAt returns an error if a part ends there before the server has said: an
// errEarlyEnd if it may only be that parts of it are not given as they are asked for.
// Courier goes on with an empty one when the message or its folder has gone.
func (sec *section) mayEndAt(end int64) error {
	if sec.name == "" || sec.endsAt(end) {
		return nil
	}
	there, err := sec.b.exists(sec.id, true)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("%s: %w", sec.what, mail.ErrNotFound)
	}
	root, ok := sec.b.structures.Get(sec.id)
	if !ok {
		return nil
	}
	part := root.Find(sec.name)
	if part == nil {
		return nil
	}
	if err := sec.lookForEnd(end); err != nil {
		return err
	}
	if end == 0 {
		whole, err := sec.fetch(sec.name, nil, sec.b.pool.with)
		switch {
		case err != nil && !isTheirs(err):
			return err
		case len(whole) > 0:
			return early(fmt.Errorf("%s: only all of it is given: %w", sec.what, errNotGiven))
		}
	}
	attr, isKnown, _ := sec.b.Known(sec.id)
	// By more than line ends can make, and of a size that is no nonsense.
	if part.Size-end > part.Size/8+1024 && (!isKnown || part.Size <= attr.Size) {
		return early(fmt.Errorf("%s: it ends before the server has said: %w", sec.what, errNotGiven))
	}
	return nil
}

// lookForEnd returns an error if a part does not end there, or before. SEARCH may still
// find a message whose folder has gone, and then one connection has nothing of it where
// another one still reads the file that it has open. So one of them is asked for all
// that tells: the last byte that there was, the one behind it, and the first one.
func (sec *section) lookForEnd(end int64) error {
	return sec.b.pool.with(messagesOf(sec.id.Folder, sec.id.UIDValidity), func(l *lease) error {
		ask := func(name string, off, n int64) (int, error) {
			b, err := sec.fetch(name, &imap.SectionPartial{Offset: off, Size: n}, func(_ need, f func(*lease) error) error { return f(l) })
			return len(b), err
		}
		if end > 0 {
			n, err := ask(sec.name, end-1, behindLast)
			switch {
			case isTheirs(err):
				return early(err)
			case err != nil || n == 1:
				return err
			case n > 1:
				return early(fmt.Errorf("%s: there is more of it than came: %w", sec.what, errNotGiven))
			}
		}
		name := sec.name
		if end == 0 {
			name = "" // an empty part has no first byte, but its message has
		}
		n, err := ask(name, 0, 1)
		switch {
		case err == nil && n == 0:
			err = early(fmt.Errorf("%s: it has gone while it was read: %w", sec.what, mail.ErrNotFound))
		case err == nil && end > 0:
			err = early(fmt.Errorf("%s: its last byte came before, and does not now: %w", sec.what, errNotGiven))
		case isTheirs(err):
			err = early(err)
		}
		return err
	})
}

// behindLast is how many bytes are asked for where there should be one: some servers give
// less than they are asked for.
const behindLast = 64

// mostParts is into how many a server may cut what it is asked for.
const mostParts = 64

// readPart is read by partial FETCH, one or more.
func (sec *section) readPart(off, n int64) ([]byte, error) {
	var all []byte
	for i := 0; n > 0; i++ {
		if i == mostParts {
			return nil, errOtherPart
		}
		more, err := sec.fetch(sec.name, &imap.SectionPartial{Offset: off, Size: n}, sec.b.pool.with)
		if errors.Is(err, errNotGiven) && len(all) > 0 {
			err = nil // NIL is all that is behind the end
		}
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
		off, n = off+int64(len(more)), n-int64(len(more))
		if len(more) == 0 || sec.endsAt(off) {
			break
		}
	}
	return all, nil
}

// endsAt tells whether off is known to be the end of the section, or beyond it.
func (sec *section) endsAt(off int64) bool {
	if sec.name == "" {
		attr, isKnown, err := sec.b.Known(sec.id)
		return err != nil || isKnown && (attr.Size > 0 && off >= attr.Size || sec.b.quirks.sizesLie.Load())
	}
	root, ok := sec.b.structures.Get(sec.id)
	if !ok {
		return false
	}
	part := root.Find(sec.name)
	return part != nil && off >= part.Size
}

// isWhole tells whether a message of which so many bytes came is all there, as far
// as the server has told its size. Of a part the size is not known as well.
func (sec *section) isWhole(size int64) bool {
	attr, isKnown, err := sec.b.Known(sec.id)
	return sec.name != "" || err != nil || !isKnown || attr.Size == 0 || size == attr.Size || sec.b.quirks.sizesLie.Load()
}

// whole is all of a section.
type whole struct {
	of      section
	content []byte
}

// readWhole is read that asks for all of the section.
func (sec *section) readWhole(off, n int64, open opener) ([]byte, error) {
	w := sec.b.whole.Load()
	if w == nil || w.of != *sec {
		content, err := sec.fetchWhole(open)
		if err != nil {
			return nil, err
		}
		w = &whole{*sec, content}
	}
	from := min(off, int64(len(w.content)))
	part := w.content[from:min(from+n, int64(len(w.content)))]
	if from+int64(len(part)) == int64(len(w.content)) {
		sec.b.whole.Store(nil)
	} else {
		sec.b.whole.Store(w) // whoever reads it in pieces comes for the next one
	}
	return part, nil
}

// fetchWhole fetches all of the section; a message that does not come, or less of
// it than the server has told, as header and text too. If these are no more, its
// sizes are not to be counted on.
func (sec *section) fetchWhole(open opener) ([]byte, error) {
	whole, err := sec.fetch(sec.name, nil, open)
	if sec.name != "" || err != nil && (!isTheirs(err) || errors.Is(err, errCutOff)) || err == nil && sec.isWhole(int64(len(whole))) {
		return whole, err
	}
	header, herr := sec.fetch("HEADER", nil, open)
	if herr != nil {
		return whole, cmp.Or(err, herr)
	}
	text, terr := sec.fetch("TEXT", nil, open)
	if terr != nil {
		return whole, cmp.Or(err, terr)
	}
	if both := append(header, text...); err != nil || len(both) > len(whole) {
		whole = both
	}
	switch {
	case len(whole) == 0:
		return nil, errNotGiven // not even a header
	case !sec.isWhole(int64(len(whole))):
		sec.b.quirks.sizesLie.Store(true)
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

// attempt is what has come of one FETCH.
type attempt struct {
	content []byte
	err     error         // why that is not what was asked for
	answer  *wire.Message // the one that has it; nil: there is none
}

// take takes in an answer, if there was no better one before.
func (a *attempt) take(m *wire.Message, content []byte, err error) {
	if a.answer == nil || a.err != nil || err == nil && len(content) > len(a.content) {
		*a = attempt{content, err, m}
	}
}

// fetch asks for all of a section, or for part of it.
func (sec *section) fetch(name string, part *imap.SectionPartial, open opener) ([]byte, error) {
	item, err := bodySection(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sec.what, err)
	}
	item.Partial = part
	most := int64(mostLiteral)
	if part != nil {
		most = max(part.Size, mostUnasked)
	}
	attr, isKnown, err := sec.b.Known(sec.id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sec.what, err)
	}
	options := &imap.FetchOptions{
		BodySection:  []*imap.FetchItemBodySection{item},
		RFC822Size:   isKnown || sec.name == "", // for isAnother
		InternalDate: !isKnown && sec.name == "",
	}
	// Courier makes up a message, of now, in the place of one that another client has
	// expunged, until the connection has been told of that.
	isAnother := func(m *wire.Message) bool {
		return isKnown && m.Size >= 0 && m.Size != attr.Size || !isKnown && time.Since(m.Date) < time.Minute
	}
	var got attempt
	var gone map[uint32]bool
	uids := []uint32{sec.id.UID}
	need := messagesOf(sec.id.Folder, sec.id.UIDValidity)
	need.bulk = part == nil || part.Size >= bulkSize
	err = open(need, func(l *lease) (err error) {
		defer l.content.lock(sec.id.UID)()
		got = attempt{}
		gone, err = l.fetch(sec.what, newAsking(sec.id.Folder, uids, options, name, most), uids, func(m *wire.Message) {
			content, err := sec.choose(m, name, part)
			got.take(m, content, err)
		})
		if err == nil && got.answer != nil && isAnother(got.answer) {
			if err = l.noop(); err == nil {
				gone, err = l.gone(uids)
			}
		}
		return err
	})
	return sec.conclude(got, gone[sec.id.UID], err)
}

// conclude says what a FETCH has brought. gone tells that the message is not there
// any more, err how the command has ended.
func (sec *section) conclude(got attempt, gone bool, err error) ([]byte, error) {
	if isStatus(err) && got.answer != nil && got.err == nil {
		sec.b.log.Info("the server sends a message, and says that it cannot", "error", err)
		err = nil
	}
	switch {
	case err != nil:
		return nil, err
	case gone:
		err = mail.ErrNotFound
	case got.answer == nil:
		err = errNotGiven
	default:
		sec.b.folder(sec.id.Folder).setAttrs(sec.id.UIDValidity, got.answer)
		if err = got.err; errors.Is(err, errNotGiven) {
			// Dovecot says NIL, and makes up the rest, of a message that another
			// client has just expunged, or whose file it does not find just now.
			if there, looked := sec.b.exists(sec.id, false); !there && looked == nil {
				err = mail.ErrNotFound
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sec.what, err)
	}
	return got.content, nil
}

// choose finds in an answer what was asked for.
func (sec *section) choose(m *wire.Message, name string, part *imap.SectionPartial) ([]byte, error) {
	var ours, exact []wire.Section
	for _, s := range m.Sections {
		if s.Name != name || part == nil && s.Origin > 0 { // a piece, for somebody else
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
	return sec.cut(s, part)
}

// cut takes what was asked for out of what came.
func (sec *section) cut(s wire.Section, part *imap.SectionPartial) ([]byte, error) {
	origin := s.Origin
	if origin < 0 {
		attr, isKnown, _ := sec.b.Known(sec.id)
		if part.Offset > 0 && s.Size <= part.Size && !(sec.name == "" && isKnown && attr.Size == s.Size) {
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
