package content

import (
	"context"
	"sync"

	"imapfs/mail"
)

// wholeSize is below which a message is fetched whole, 128 kB: one round trip
// then serves all of its files. Of a larger one only the parts that somebody
// reads are fetched. What counts is what the server sends, not the size that
// it tells: so many bytes are asked for, and fewer are the whole message.
const wholeSize = 128 << 10

// parsed is a small message that is in memory as a whole, taken apart.
type parsed struct {
	raw     []byte
	root    *mail.Part
	headers func() []byte // headers.txt
	body    func() []byte // body.txt
}

// parsedKept is for how many messages the work of taking them apart is kept:
// their files are read one after the other.
const parsedKept = 32

func parse(raw []byte) *parsed {
	p := &parsed{raw: raw, root: mail.Parse(raw)}
	p.headers = sync.OnceValue(func() []byte { return mail.HeadersText(mail.SplitHeader(raw), p.root.Charset()) })
	p.body = sync.OnceValue(func() []byte {
		parts := p.root.Text()
		bodies := make([][]byte, len(parts))
		for i, part := range parts {
			bodies[i], _ = p.root.Bytes(raw, part.Section)
		}
		return mail.BodyText(parts, bodies)
	})
	return p
}

// text returns the content of a file that is made of the whole message.
func (p *parsed) text(k Kind) ([]byte, bool) {
	switch k {
	case Headers:
		return p.headers(), true
	case Body:
		return p.body(), true
	case Raw:
		return p.raw, true
	}
	return nil, false
}

// parse returns the message taken apart, nil if it is too large for that.
func (m *Message) parse(ctx context.Context) (*parsed, error) {
	m.store.walks.opened(ctx, m.ID())
	if m.isLarge() {
		return nil, nil
	}
	raw, err := m.start(ctx)
	if err != nil || len(raw) == wholeSize {
		return nil, err
	}
	return m.store.takenApart(m.ID(), raw), nil
}

// start returns the first bytes of the message, all if they are fewer than
// wholeSize.
func (m *Message) start(ctx context.Context) ([]byte, error) {
	if _, here := m.store.cache.Peek(startKey(m.ID())); !here {
		m.store.walks.waits(m.ID())
	}
	return m.piece(ctx, "", 0, wholeSize)
}

// parsedNow is parse if that costs no question to the server, else nil.
func (s *Store) parsedNow(id mail.ID) *parsed {
	raw, ok := s.cache.Peek(startKey(id))
	if !ok || len(raw) == wholeSize {
		return nil
	}
	return s.takenApart(id, raw)
}

func (s *Store) takenApart(id mail.ID, raw []byte) *parsed {
	if p, ok := s.parsed.Get(id); ok {
		return p
	}
	p := parse(raw)
	s.server.Found(id, p.root)
	if other, ok, _ := s.parsed.PeekOrAdd(id, p); ok {
		return other
	}
	return p
}
