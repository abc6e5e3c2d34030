package content

import (
	"context"
	"encoding/json"
	"fmt"

	"imapfs/mail"
)

// layout tells where the sections of a message are in its bytes: from, to. The
// parts of a message that is kept whole are cut out of it.
type layout map[string][2]int64

// layoutOf has the sections in which what Parse finds in raw is the part that
// the server has described in root. In broken mail it may not be.
func layoutOf(raw []byte, root *mail.Part) layout {
	l := layout{"HEADER": {0, int64(len(mail.SplitHeader(raw)))}}
	parsed := mail.Parse(raw)
	for _, p := range root.Leaves() {
		if mine := parsed.Find(p.Section); mine != nil && mine.Type == p.Type && mine.Encoding == p.Encoding && mine.Size == p.Size {
			if from, to, ok := mine.Range(); ok {
				l[p.Section] = [2]int64{int64(from), int64(to)}
			}
		}
	}
	return l
}

// kept returns the layout of the message if it is kept whole, else nil.
func (m *Message) kept() layout {
	if l := m.layout.Load(); l != nil {
		return *l
	}
	if attr, known := m.Known(); known && attr.Size < wholeSize {
		return nil
	}
	b, ok := m.store.cache.Disk().Get(layoutKey(m.ID()))
	var l layout
	if !ok || json.Unmarshal(b, &l) != nil {
		return nil
	}
	m.layout.Store(&l)
	return l
}

// cut returns the bytes from, to of the raw message, to its end if to is
// negative.
func (m *Message) cut(ctx context.Context, from, to int64) ([]byte, error) {
	var b []byte
	for i := from / pieceSize; to < 0 || i*pieceSize < to; i++ {
		p, err := m.piece(ctx, "", i*pieceSize, pieceSize)
		if err != nil {
			return nil, err
		}
		first := max(from-i*pieceSize, 0)
		last := int64(len(p))
		if to >= 0 {
			last = min(last, to-i*pieceSize)
		}
		if first < last {
			b = append(b, p[first:last]...)
		}
		if len(p) < pieceSize {
			if to > i*pieceSize+int64(len(p)) {
				return nil, fmt.Errorf("%s is shorter than it was: %w", m.ID(), mail.ErrStale)
			}
			break
		}
	}
	return b, nil
}
