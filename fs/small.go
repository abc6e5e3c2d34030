package fs

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

// small is a message that is in memory as a whole, taken apart.
type small struct {
	raw     []byte
	root    *mail.Part
	headers func() []byte // headers.txt
	body    func() []byte // body.txt
}

// smallsKept is for how many messages the work of taking them apart is kept:
// their files are read one after the other.
const smallsKept = 32

func newSmall(raw []byte) *small {
	s := &small{raw: raw, root: mail.Parse(raw)}
	s.headers = sync.OnceValue(func() []byte { return mail.HeadersText(mail.SplitHeader(raw)) })
	s.body = sync.OnceValue(func() []byte {
		parts := s.root.Text()
		bodies := make([][]byte, len(parts))
		for i, p := range parts {
			bodies[i], _ = s.root.Bytes(raw, p.Section)
		}
		return mail.BodyText(parts, bodies)
	})
	return s
}

// text returns the content of a file that is made of the whole message.
func (s *small) text(k kind) ([]byte, bool) {
	switch k {
	case kindHeaders:
		return s.headers(), true
	case kindBody:
		return s.body(), true
	case kindRaw:
		return s.raw, true
	}
	return nil, false
}

// small returns the message taken apart, nil if it is too large for that.
func (n *messageNode) small(ctx context.Context) (*small, error) {
	n.fsys.walks.opened(ctx, n.id)
	if attr, known := n.known(); known && attr.Size >= wholeSize {
		return nil, nil
	}
	raw, err := n.start(ctx)
	if err != nil || len(raw) == wholeSize {
		return nil, err
	}
	return n.fsys.takenApart(n.id, raw), nil
}

// start returns the first bytes of the message, all if they are fewer than
// wholeSize.
func (n *messageNode) start(ctx context.Context) ([]byte, error) {
	if _, here := n.fsys.cache.Peek(messageKey(n.id, "", 0, wholeSize)); !here {
		n.fsys.walks.waits(n.id)
	}
	return n.piece(ctx, "", 0, wholeSize)
}

// smallNow is small if that costs no question to the server, else nil.
func (fsys *FS) smallNow(id mail.ID) *small {
	raw, ok := fsys.cache.Peek(messageKey(id, "", 0, wholeSize))
	if !ok || len(raw) == wholeSize {
		return nil
	}
	return fsys.takenApart(id, raw)
}

func (fsys *FS) takenApart(id mail.ID, raw []byte) *small {
	if s, ok := fsys.smalls.Get(id); ok {
		return s
	}
	s := newSmall(raw)
	fsys.mail.Found(id, s.root)
	if other, ok, _ := fsys.smalls.PeekOrAdd(id, s); ok {
		return other
	}
	return s
}
