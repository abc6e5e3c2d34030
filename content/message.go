package content

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"imapfs/mail"
)

// Message is the content of one message, also of one that is moved while somebody
// has it.
type Message struct {
	store *Store

	id     atomic.Pointer[mail.ID]
	moving sync.RWMutex // held by Move; under it the server is asked, and the cache

	last   atomic.Pointer[mail.Attr] // what was known last, also when the message is gone; nil: nothing
	own    atomic.Pointer[mail.Part] // its tree, of a large message of which the server's is unsure
	layout atomic.Pointer[layout]    // once it is known to be kept whole

	copied bool // it is read for the mirror: nobody waits, and it is to be kept
}

// Message returns the content of the message id, and asks for nothing.
func (s *Store) Message(id mail.ID) *Message {
	m := &Message{store: s}
	m.id.Store(&id)
	return m
}

// ID returns which message it is now.
func (m *Message) ID() mail.ID { return *m.id.Load() }

// Move has move take the message to another mailbox, and return which one it is
// there. What is cached of it goes along, and whoever reads it goes on.
func (m *Message) Move(move func(mail.ID) (mail.ID, error)) error {
	m.moving.Lock()
	defer m.moving.Unlock()
	from := m.ID()
	to, err := move(from)
	if err != nil || to.UID == 0 {
		return err
	}
	m.store.moved(from, to)
	m.id.Store(&to)
	return nil
}

// ask has f ask for something of the message, and once more where it was moved
// meanwhile.
func ask[T any](m *Message, f func(mail.ID) (T, error)) (T, error) {
	for {
		id := m.ID()
		v, err := f(id)
		if !errors.Is(err, mail.ErrNotFound) {
			return v, err
		}
		m.moving.RLock() // until it is known where it is
		now := m.ID()
		m.moving.RUnlock()
		if now == id {
			return v, err
		}
	}
}

// Check finds out whether the message is still there, without asking the server.
func (m *Message) Check() error {
	_, err := ask(m, func(id mail.ID) (struct{}, error) {
		_, _, err := m.store.server.Known(id)
		return struct{}{}, err
	})
	return err
}

// Known returns the attributes of the message if they are known.
func (m *Message) Known() (mail.Attr, bool) {
	if last := m.last.Load(); last != nil {
		return *last, true
	}
	attr, known, _ := m.store.server.Known(m.ID())
	if known {
		m.last.Store(&attr)
	}
	return attr, known
}

// Attr is Known, but asks the server if need be.
func (m *Message) Attr(ctx context.Context) (mail.Attr, error) {
	if attr, known := m.Known(); known {
		return attr, nil
	}
	attr, err := ask(m, func(id mail.ID) (mail.Attr, error) { return m.store.server.Attr(ctx, id) })
	if err == nil {
		m.last.Store(&attr)
	}
	return attr, err
}

// isLarge tells whether the message is known to be too large to be fetched whole.
func (m *Message) isLarge() bool {
	attr, known := m.Known()
	return known && attr.Size >= wholeSize
}

// section returns a section of the message from the cache or the server.
func (m *Message) section(ctx context.Context, section string) ([]byte, error) {
	return m.piece(ctx, section, 0, -1)
}

// piece is section for size bytes from offset off, or to its end if size is
// negative.
func (m *Message) piece(ctx context.Context, section string, off, size int64) ([]byte, error) {
	if section != "" {
		if at, ok := m.kept()[section]; ok {
			from, to := at[0]+off, at[1]
			if size >= 0 {
				to = min(to, from+size)
			}
			return m.cut(ctx, min(from, to), to)
		}
	}
	return ask(m, func(id mail.ID) ([]byte, error) {
		key := pieceKey(id, section, off, size)
		b, err := m.store.cache.Get(ctx, key, func() ([]byte, error) {
			if !m.copied {
				m.store.busy.begin()
				defer m.store.busy.end()
			}
			return m.store.server.Fetch(id, section, off, size)
		})
		if m.copied && err == nil {
			m.store.keep(key, b)
		}
		return b, err
	})
}

// Structure returns the MIME tree of the message, which is the one that Parse finds
// in its content. While that is not here the server's BODYSTRUCTURE tells the same,
// unless it is unsure: then the content is looked at.
func (m *Message) Structure(ctx context.Context) (*mail.Part, error) {
	if m.store.cache.Comes(startKey(m.ID())) || m.store.walks.reads(m.ID()) && !m.isLarge() {
		// Its error comes back when somebody reads.
		m.start(ctx)
	}
	if p := m.store.parsedNow(m.ID()); p != nil {
		return p.root, nil
	}
	if root := m.own.Load(); root != nil {
		return root, nil
	}
	root, err := ask(m, func(id mail.ID) (*mail.Part, error) { return m.store.server.Structure(ctx, id) })
	if err != nil || !root.Unsure {
		return root, err
	}
	whole, err := m.parse(ctx)
	if err != nil {
		return nil, err
	}
	if whole != nil {
		return whole.root, nil
	}
	return m.takeApart(ctx, root)
}

// takeApart is Structure for a large message of which the server's tree is
// unsure. Its parts are cut out of it from then on: the server may number them in
// another way. One that is too large for that is what the server says.
func (m *Message) takeApart(ctx context.Context, unsure *mail.Part) (*mail.Part, error) {
	attr, err := m.Attr(ctx)
	if err != nil {
		return nil, err
	}
	if attr.Size > m.store.mostWhole() {
		if unsure.Type == "" {
			return &mail.Part{Section: "1", Type: "text/plain", Encoding: "7bit", Size: attr.Size}, nil
		}
		return unsure, nil
	}
	raw, err := m.cut(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	root := mail.Parse(raw)
	l := layoutOf(raw, root)
	m.layout.Store(&l)
	m.own.Store(root)
	return root, nil
}
