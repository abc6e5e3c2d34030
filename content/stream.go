package content

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"imapfs/mail"
)

// stream reads a large part or message piece by piece. A decoded offset can be
// found in an encoded part only by decoding what is before it. So a mark is
// kept for each piece that was decoded: where it begins in the file, and the
// decoder's state. Whatever falls out of the cache later is fetched and decoded
// again from its mark alone. Where nothing is encoded the marks are plain, and
// reading can begin anywhere.
//
// The size is known when the end was seen: the server's own number for it is
// never believed.
type stream struct {
	message *Message
	section string
	plain   bool  // not encoded
	claimed int64 // octets before decoding, as the server says

	mu    sync.Mutex // guards what follows
	marks []mark     // by piece; the first is always there
	total int64      // bytes of the file; -1 until the end was seen
}

type mark struct {
	off     int64 // where the piece begins in the file
	decoder mail.Decoder
}

func newStream(m *Message, section, encoding string, claimed int64) *stream {
	d := mail.NewDecoder(encoding)
	return &stream{message: m, section: section, plain: d.Identity(), claimed: claimed, marks: []mark{{0, d}}, total: -1}
}

// fetch returns piece i as the server has it.
func (s *stream) fetch(ctx context.Context, i int64) ([]byte, error) {
	return s.message.piece(ctx, s.section, i*pieceSize, pieceSize)
}

// ahead fetches piece i in the background, into the cache.
func (s *stream) ahead(i int64) {
	if i*pieceSize < s.claimed {
		// The load goes on when this caller does not wait for it.
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.fetch(ctx, i)
	}
}

// Read implements Bytes.
func (s *stream) Read(ctx context.Context, dest []byte, off int64) ([]byte, error) {
	n := 0
	for n < len(dest) {
		b, err := s.at(ctx, off+int64(n))
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			break
		}
		n += copy(dest[n:], b)
	}
	return dest[:n], nil
}

// at returns the bytes of the file from off to the end of their piece, none at
// the end of the file.
func (s *stream) at(ctx context.Context, off int64) ([]byte, error) {
	if s.plain {
		i := off / pieceSize
		s.ahead(i + 1)
		b, err := s.fetch(ctx, i)
		if err != nil {
			return nil, err
		}
		return b[min(off-i*pieceSize, int64(len(b))):], nil
	}
	for {
		s.mu.Lock()
		i, found := slices.BinarySearchFunc(s.marks, off, func(m mark, off int64) int {
			if m.off < off {
				return -1
			} else if m.off > off {
				return 1
			}
			return 0
		})
		if !found {
			i--
		}
		// Pieces can be empty: the last one that begins here has the bytes.
		for i+1 < len(s.marks) && s.marks[i+1].off == off {
			i++
		}
		start, known := s.marks[i].off, i+1 < len(s.marks)
		ended := s.total >= 0 && off >= s.total
		s.mu.Unlock()
		if ended {
			return nil, nil
		}
		b, err := s.decoded(ctx, int64(i))
		if err != nil {
			return nil, err
		}
		if off-start < int64(len(b)) {
			return b[off-start:], nil
		}
		if known {
			return nil, fmt.Errorf("piece %d of %s[%s] has shrunk: %w", i, s.message.ID(), s.section, mail.ErrStale)
		}
	}
}

// decoded returns piece i decoded, and sets the mark of the next one, or the
// total. The mark of piece i has to be there.
func (s *stream) decoded(ctx context.Context, i int64) ([]byte, error) {
	s.ahead(i + 1)
	s.ahead(i + 2)
	raw, err := s.fetch(ctx, i)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	m := s.marks[i]
	s.mu.Unlock()

	last := len(raw) < pieceSize
	b := m.decoder.Decode(make([]byte, 0, len(raw)), raw, last)

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case last:
		s.total = m.off + int64(len(b))
	case int64(len(s.marks)) == i+1:
		s.marks = append(s.marks, mark{m.off + int64(len(b)), m.decoder})
	}
	return b, nil
}

// size returns the exact size of the file, once the end has been seen.
func (s *stream) size(ctx context.Context) (int64, error) {
	if s.plain {
		return s.plainSize(ctx)
	}
	for {
		s.mu.Lock()
		total, last := s.total, int64(len(s.marks)-1)
		s.mu.Unlock()
		if total >= 0 {
			return total, nil
		}
		if _, err := s.decoded(ctx, last); err != nil {
			return 0, err
		}
	}
}

// plainSize looks for the end where the server says that it is, and onwards or
// before that if it is not: the end is in the first piece that is short.
func (s *stream) plainSize(ctx context.Context) (int64, error) {
	s.mu.Lock()
	total := s.total
	s.mu.Unlock()
	if total >= 0 {
		return total, nil
	}
	// All pieces before first are full, those from short on are not, and tail
	// is what is in piece short.
	first, i := int64(0), max(s.claimed, 0)/pieceSize
	for short, tail := int64(math.MaxInt64), int64(0); ; {
		b, err := s.fetch(ctx, i)
		if err != nil {
			return 0, err
		}
		if len(b) == pieceSize {
			first = i + 1
		} else {
			short, tail = i, int64(len(b))
		}
		if tail > 0 || first == short {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.total = short*pieceSize + tail
			return s.total, nil
		}
		if i = first; short < math.MaxInt64 {
			i += (short - first) / 2
		}
	}
}
