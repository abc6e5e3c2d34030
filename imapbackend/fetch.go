package imapbackend

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/mail"
)

// mostLiteral is the largest piece of a message that is taken into memory,
// 64 MiB. Larger ones are asked for in pieces.
const mostLiteral = 64 << 20

var errTooLarge = errors.New("the server sends more than it was asked for")

// fetch is one UID FETCH. take is called for each message that comes, once the
// folder is known to be the right one.
//
// The library hands out literals as streams, and a stream that nobody reads
// stops the whole connection: so each is read at once, into memory, and one
// that is too large for that ends the connection.
func (l *lease) fetch(what string, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer)) error {
	l.alone.RLock()
	defer l.alone.RUnlock()
	return l.fetchLocked(what, set, options, take)
}

// fetchAlone is fetch while no other FETCH is under way on this connection, so
// that each answer belongs to it.
func (l *lease) fetchAlone(what string, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer)) error {
	l.alone.Lock()
	defer l.alone.Unlock()
	return l.fetchLocked(what, set, options, take)
}

func (l *lease) fetchLocked(what string, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer)) error {
	tooLarge := false
	// What comes before the answer to SELECT has to be taken from the library
	// without waiting for that, or neither would go on.
	var early []*imapclient.FetchMessageBuffer
	err := l.command(what, func() error {
		cmd := l.client.Fetch(set, options)
		most := mostBytes(options)
		for data := cmd.Next(); data != nil; data = cmd.Next() {
			m, err := collect(data, most)
			if err != nil {
				tooLarge = errors.Is(err, errTooLarge)
				l.conn.Close() // ends the stream that is left unread
				if !tooLarge {
					// The library's reader is at work again, and Close
					// below would read the literal beside it.
					<-l.client.Closed()
				}
				break
			}
			early = append(early, m)
			if l.sel.answered() {
				l.hand(early, take)
				early = nil
			}
		}
		return cmd.Close()
	})
	l.hand(early, take)
	if tooLarge {
		return fmt.Errorf("%s: %w", what, errTooLarge)
	}
	return err
}

// hand hands messages to take, if they are from the right folder.
func (l *lease) hand(messages []*imapclient.FetchMessageBuffer, take func(*imapclient.FetchMessageBuffer)) {
	if len(messages) == 0 || l.confirm() != nil {
		return
	}
	for _, m := range messages {
		take(m)
	}
}

// mostBytes is how much content an answer for one message may have.
func mostBytes(options *imap.FetchOptions) int64 {
	var sum int64
	for _, item := range options.BodySection {
		if item.Partial == nil {
			return mostLiteral
		}
		sum += item.Partial.Size
	}
	return sum
}

// collect reads one message's answer. Its content may have most bytes.
func collect(data *imapclient.FetchMessageData, most int64) (*imapclient.FetchMessageBuffer, error) {
	m := &imapclient.FetchMessageBuffer{SeqNum: data.SeqNum}
	another := false // an answer that names two messages is of neither
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			another = another || m.UID != 0 && m.UID != item.UID
			m.UID = item.UID
		case imapclient.FetchItemDataRFC822Size:
			m.RFC822Size = item.Size
		case imapclient.FetchItemDataInternalDate:
			m.InternalDate = item.Time
		case imapclient.FetchItemDataFlags:
			m.Flags = item.Flags
		case imapclient.FetchItemDataBodyStructure:
			m.BodyStructure = item.BodyStructure
		case imapclient.FetchItemDataBodySection:
			section := imapclient.FetchBodySectionBuffer{Section: item.Section}
			if item.Literal != nil {
				size := item.Literal.Size()
				if size > most || len(m.BodySection) > 0 {
					return nil, errTooLarge // nobody has asked for so much
				}
				section.Bytes = make([]byte, 0, min(size, firstAlloc))
				n, err := io.Copy(sliceWriter{&section.Bytes}, item.Literal)
				if err == nil && n < size {
					err = io.ErrUnexpectedEOF // the library ends a cut literal like a whole one
				}
				if err != nil {
					return nil, err
				}
			}
			m.BodySection = append(m.BodySection, section)
		}
	}
	if another {
		m.UID = 0
	}
	return m, nil
}

// firstAlloc is how much memory is taken for a literal before anything of it
// has come, 1 MiB: announcing one costs a server nothing.
const firstAlloc = 1 << 20

type sliceWriter struct{ b *[]byte }

func (w sliceWriter) Write(p []byte) (int, error) {
	*w.b = append(*w.b, p...)
	return len(p), nil
}

// bulkSize is where a fetch counts as a large transfer, 256 kB.
const bulkSize = 256 << 10

// Fetch returns n bytes from offset off of a section of a message, fewer at
// its end, all from off if n is negative. The section is "" for the whole
// message, "HEADER", or a part's number (RFC 9051 §6.4.5). The message is not
// marked as read. Attributes that are not known yet come along with the whole
// message. Fetch ends when the server has answered or has been silent for
// Config.Timeout.
func (b *Backend) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	what := fmt.Sprintf("fetch %s[%s]", id, section)
	item := &imap.FetchItemBodySection{Peek: true}
	switch section {
	case "":
	case "HEADER":
		item.Specifier = imap.PartSpecifierHeader
	default:
		for number := range strings.SplitSeq(section, ".") {
			i, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("%s: no such section: %w", what, err)
			}
			item.Part = append(item.Part, i)
		}
	}
	if off > 0 || n >= 0 {
		if n < 0 {
			n = mostLiteral
		}
		item.Partial = &imap.SectionPartial{Offset: off, Size: n}
	}
	options := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{item}}
	_, isKnown, err := b.Known(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !isKnown && section == "" {
		options.RFC822Size, options.InternalDate = true, true
	}
	content, err := b.fetchOne(what, id, item, options, n < 0 || n >= bulkSize)
	if errors.Is(err, errMalformed) && options.InternalDate {
		// Its content may be readable still.
		options.RFC822Size, options.InternalDate = false, false
		content, err = b.fetchOne(what, id, item, options, n < 0 || n >= bulkSize)
	}
	if errors.Is(err, mail.ErrNotFound) {
		b.refreshSoon(id.Folder)
	}
	if err == nil && n >= 0 && int64(len(content)) > n {
		return nil, fmt.Errorf("%s: %w", what, errTooLarge)
	}
	return content, err
}

func (b *Backend) fetchOne(what string, id mail.ID, item *imap.FetchItemBodySection, options *imap.FetchOptions, bulk bool) ([]byte, error) {
	set := imap.UIDSetNum(imap.UID(id.UID))
	var content []byte
	var found, none bool
	take := func(m *imapclient.FetchMessageBuffer) {
		for _, got := range m.BodySection {
			if uint32(m.UID) != id.UID || !answers(got.Section, item) {
				continue
			}
			if got.Bytes == nil {
				// NIL is not an empty section. Dovecot says so, and makes up
				// the rest, of a message that another client has just
				// expunged, or whose file it does not find at the moment.
				none = true
				continue
			}
			content, found = got.Bytes, true
			if !m.InternalDate.IsZero() {
				b.folder(id.Folder).setAttr(id.UIDValidity, id.UID, m.RFC822Size, m.InternalDate)
			}
		}
	}
	err := b.pool.with(need{folder: id.Folder, messages: true, validity: id.UIDValidity, bulk: bulk}, func(l *lease) error {
		defer l.content.lock(id.UID)()
		found = false
		err := l.fetch(what, set, options, take)
		if err != nil || found {
			return err
		}
		if err := l.confirm(); err != nil {
			return err
		}
		// The library gives an answer to the first command that asked for the
		// same UID, which may have been another one, or nobody. Once more with
		// no other command beside it. Or the message is gone.
		none = false
		return l.fetchAlone(what, set, options, take)
	})
	if err == nil && none && !found {
		return nil, fmt.Errorf("%s: the server has the message, but not this of it: %w", what, mail.ErrRefused)
	}
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", what, mail.ErrNotFound)
	}
	return content, err
}

// FetchStarts fetches the first n bytes of each message in l with one command,
// and hands them to take as they come, in any order. A message that take was
// not called for has to be fetched by itself. All calls for a folder that
// overlap go through one connection, behind each other. A message whose answer
// ended the connection is left out from then on: it would do so each time.
func (b *Backend) FetchStarts(folder string, l mail.Listing, n int64, take func(uid uint32, start []byte)) error {
	item := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: n}}
	options := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{item}}
	f := b.folder(folder)
	l.UIDs = f.withoutCulprits(l)
	if len(l.UIDs) == 0 {
		return nil
	}
	var set imap.UIDSet
	for _, uid := range l.UIDs {
		set.AddNum(imap.UID(uid))
	}
	what := "fetch messages of " + folder
	came := make(map[uint32]bool)
	err := b.pool.once(need{folder: folder, messages: true, validity: l.UIDValidity, ahead: true}, func(lease *lease) error {
		defer lease.content.lock(l.UIDs...)()
		return lease.fetch(what, set, options, func(m *imapclient.FetchMessageBuffer) {
			if len(m.BodySection) > 0 { // else it is cut short
				came[uint32(m.UID)] = true
			}
			for _, got := range m.BodySection {
				if set.Contains(m.UID) && answers(got.Section, item) && got.Bytes != nil && int64(len(got.Bytes)) <= n {
					take(uint32(m.UID), got.Bytes)
				}
			}
		})
	})
	if errors.Is(err, errMalformed) || errors.Is(err, errTooLarge) {
		// The first that did not come, as in fetchEach.
		if i := slices.IndexFunc(l.UIDs, func(uid uint32) bool { return !came[uid] }); i >= 0 {
			f.setCulprit(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: l.UIDs[i]})
		}
	}
	return err
}

// withoutCulprits returns the messages of l whose content is likely to be
// readable.
func (f *folder) withoutCulprits(l mail.Listing) []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.culprits) == 0 || f.validity != l.UIDValidity {
		return l.UIDs
	}
	return slices.DeleteFunc(slices.Clone(l.UIDs), func(uid uint32) bool { return f.culprits[uid] })
}

func (f *folder) setCulprit(id mail.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.check(id); err == nil {
		if f.culprits == nil {
			f.culprits = make(map[uint32]bool)
		}
		f.culprits[id.UID] = true
	}
}

// answers tells whether a section in an answer is the one that was asked for.
// The origin octet may be missing where all was asked for from the start.
func answers(got, asked *imap.FetchItemBodySection) bool {
	var gotOff, askedOff int64
	if got.Partial != nil {
		gotOff = got.Partial.Offset
	}
	if asked.Partial != nil {
		askedOff = asked.Partial.Offset
	}
	if asked.Partial == nil && got.Partial != nil {
		return false // a piece, for somebody else
	}
	if len(got.Part) != len(asked.Part) || got.Specifier != asked.Specifier || gotOff != askedOff {
		return false
	}
	for i := range got.Part {
		if got.Part[i] != asked.Part[i] {
			return false
		}
	}
	return true
}
