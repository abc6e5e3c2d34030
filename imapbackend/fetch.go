package imapbackend

import (
	"errors"
	"fmt"
	"io"
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

// fetch is one UID FETCH. take is called for each message that comes.
//
// The library hands out literals as streams, and a stream that nobody reads
// stops the whole connection: so each is read at once, into memory, and one
// that is too large for that ends the connection.
func (s *session) fetch(what string, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer)) error {
	s.alone.RLock()
	defer s.alone.RUnlock()
	return s.fetchLocked(what, set, options, take)
}

// fetchAlone is fetch while no other FETCH is under way on this connection, so
// that each answer belongs to it.
func (s *session) fetchAlone(what string, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer)) error {
	s.alone.Lock()
	defer s.alone.Unlock()
	return s.fetchLocked(what, set, options, take)
}

func (s *session) fetchLocked(what string, set imap.UIDSet, options *imap.FetchOptions, take func(*imapclient.FetchMessageBuffer)) error {
	tooLarge := false
	err := s.command(what, func() error {
		cmd := s.client.Fetch(set, options)
		for data := cmd.Next(); data != nil; data = cmd.Next() {
			m, err := collect(data)
			if err != nil {
				tooLarge = errors.Is(err, errTooLarge)
				s.conn.Close() // ends the stream that is left unread
				if !tooLarge {
					// The library's reader is at work again, and Close
					// below would read the literal beside it.
					<-s.client.Closed()
				}
				break
			}
			take(m)
		}
		return cmd.Close()
	})
	if tooLarge {
		return fmt.Errorf("%s: %w", what, errTooLarge)
	}
	return err
}

// collect reads one message's answer.
func collect(data *imapclient.FetchMessageData) (*imapclient.FetchMessageBuffer, error) {
	m := &imapclient.FetchMessageBuffer{SeqNum: data.SeqNum}
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
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
				if item.Literal.Size() > mostLiteral {
					return nil, errTooLarge
				}
				section.Bytes = make([]byte, 0, item.Literal.Size())
				w := sliceWriter{&section.Bytes}
				n, err := io.Copy(w, item.Literal)
				if err == nil && n < item.Literal.Size() {
					err = io.ErrUnexpectedEOF // the library ends a cut literal like a whole one
				}
				if err != nil {
					return nil, err
				}
			}
			m.BodySection = append(m.BodySection, section)
		}
	}
	return m, nil
}

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
// marked as read. Fetch ends when the server has answered or has been silent
// for Config.Timeout.
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
	set := imap.UIDSetNum(imap.UID(id.UID))

	var content []byte
	var found bool
	take := func(m *imapclient.FetchMessageBuffer) {
		for _, got := range m.BodySection {
			if uint32(m.UID) == id.UID && answers(got.Section, item) {
				content, found = got.Bytes, true
			}
		}
	}
	need := need{folder: id.Folder, bulk: n < 0 || n >= bulkSize}
	err := b.pool.withMessage(need, id, func(s *session) error {
		lane := &s.lanes[id.UID%uint32(len(s.lanes))]
		lane.Lock()
		defer lane.Unlock()
		found = false
		err := s.fetch(what, set, options, take)
		if err != nil || found {
			return err
		}
		// The library gives an answer to the first command that asked for the
		// same UID, which may have been another one, or nobody. Once more with
		// no other command beside it. Or the message is gone.
		return s.fetchAlone(what, set, options, take)
	})
	if err == nil && !found {
		err = fmt.Errorf("%s: %w", what, mail.ErrNotFound)
	}
	if errors.Is(err, mail.ErrNotFound) {
		b.refreshSoon(id.Folder)
	}
	if err != nil {
		return nil, err
	}
	if n >= 0 && int64(len(content)) > n {
		return nil, fmt.Errorf("%s: %w", what, errTooLarge)
	}
	return content, nil
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
