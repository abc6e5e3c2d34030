package content

import (
	"context"
	"errors"

	"imapfs/mail"
)

// errNotKept says that something would have to be asked for.
var errNotKept = errors.New("not kept")

// keptParsed returns the message taken apart if all of it is here, in memory or on disk, without a
// question to the server; else nil.
func (m *Message) keptParsed(ctx context.Context) *parsed {
	raw, here := m.store.cache.PeekOnce(startKey(m.ID()))
	if here && len(raw) < wholeSize {
		return parse(raw)
	}
	if m.kept() == nil {
		return nil
	}
	// All of a large message is here, in pieces.
	whole, err := m.keptWhole(ctx)
	if err != nil {
		return nil
	}
	return parse(whole)
}

// keptWhole puts a large message together, of pieces that are here.
func (m *Message) keptWhole(ctx context.Context) ([]byte, error) {
	attr, known := m.Known()
	if !known || attr.Size > m.store.mostWhole() {
		return nil, errNotKept
	}
	for off := int64(0); off < attr.Size; off += pieceSize {
		if _, here := m.store.cache.Peek(pieceKey(m.ID(), "", off, pieceSize)); !here {
			return nil, errNotKept
		}
	}
	return m.cut(ctx, 0, -1)
}

// IsMirrored tells whether there is a mirror and it is complete: all of the folders that it
// is to have are here.
func (s *Store) IsMirrored(f mail.Folder) bool {
	m := s.mirror.Load()
	if m == nil || !m.wants(f) {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress.Complete
}
