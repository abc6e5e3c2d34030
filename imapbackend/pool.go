package imapbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"imapfs/mail"
)

// pool shares out a few connections. A request names the folder that it needs
// selected; requests for the same folder share a connection, each other
// folder, and each large transfer, takes a connection of its own as long as
// there are some.
type pool struct {
	b *Backend

	mu       sync.Mutex // guards what follows, and the pool's fields of each session
	wake     *sync.Cond // a session became free, or went
	sessions []*session
	dialing  int
	most     int // connections; falls when the server allows no more
	closed   bool
}

// need says what a request wants of a session.
type need struct {
	folder   string // selected; "" for any
	writable bool   // by SELECT, so that messages can be deleted
	bulk     bool   // moves much data, so that others should not wait behind it
}

var errClosed = errors.New("imapfs is ending")

func newPool(b *Backend) *pool {
	p := &pool{b: b, most: max(b.cfg.Connections, 1)}
	p.wake = sync.NewCond(&p.mu)
	return p
}

// with runs f on a session that fits n. When the connection breaks under f, it
// is run once more on another one: f must be such that this does no harm.
func (p *pool) with(n need, f func(*session) error) error {
	err := p.once(n, f)
	// An unreadable answer may have been one to another command.
	if errors.Is(err, errBroken) || errors.Is(err, errTimeout) || errors.Is(err, errMalformed) {
		p.b.log.Info("trying again on another connection", "folder", n.folder, "error", err)
		err = p.once(n, f)
	}
	return err
}

// once is with, but runs f once only.
func (p *pool) once(n need, f func(*session) error) error {
	s, err := p.acquire(n)
	if err != nil {
		return err
	}
	defer p.release(s, n)
	return f(s)
}

func (p *pool) acquire(n need) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.closed {
			return nil, errClosed
		}
		s, verdict := p.choose(n)
		var err error
		switch verdict {
		case use:
			s.users++
			s.bulk += count(n.bulk)
			s.used = time.Now()
			return s, nil
		case move:
			err = p.move(s, n)
		case dial:
			err = p.dial()
		case wait:
			p.wake.Wait()
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *session) fits(n need) bool {
	return n.folder == "" || s.folder == n.folder && (s.writable || !n.writable)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// verdict is what a request has to do for its session.
type verdict int

const (
	use  verdict = iota // it is ready
	move                // select another folder on it
	dial                // open another connection
	wait                // until something is free
)

// busyFor is how long a folder keeps its connection after the last request,
// as long as others can be opened.
const busyFor = 10 * time.Second

// choose picks the session that serves n soonest: one that has the folder and
// moves no bulk, then an idle one, then a new one, then any that has the
// folder.
func (p *pool) choose(n need) (*session, verdict) {
	// A server that restarts ends all connections at once; the next request
	// would run into one after the other.
	p.sessions = slices.DeleteFunc(p.sessions, (*session).ended)
	full := len(p.sessions)+p.dialing >= p.most
	var idle, shared *session
	for _, s := range p.sessions {
		switch {
		case s.moving:
			if s.folder == n.folder {
				return nil, wait // rather than select the folder twice
			}
		case s.fits(n):
			if s.users == 0 || s.bulk == 0 && !n.bulk {
				return s, use
			}
			if shared == nil || s.users < shared.users {
				shared = s
			}
		case s.users > 0:
		case s.folder == "" || s.folder == n.folder || full || time.Since(s.used) > busyFor:
			if idle == nil || s.used.Before(idle.used) || s.folder == n.folder {
				idle = s
			}
		}
	}
	switch {
	case idle != nil:
		return idle, move
	case !full && p.dialing == 0:
		return nil, dial
	case shared != nil:
		return shared, use
	}
	return nil, wait
}

// move selects n.folder on the idle session s. It is called with p.mu held and
// lets go of it meanwhile.
func (p *pool) move(s *session, n need) error {
	s.moving, s.folder, s.writable, s.validity = true, n.folder, n.writable, 0
	p.mu.Unlock()
	data, err := s.selectFolder(n.folder, n.writable)
	if err == nil {
		p.b.folder(n.folder).selected(data.UIDValidity, uint32(data.UIDNext), data.NumMessages)
	}
	p.mu.Lock()
	s.moving = false
	if err != nil {
		s.folder = "" // a failed SELECT leaves none selected (RFC 9051 §6.3.2)
	} else {
		s.validity = data.UIDValidity
	}
	p.wake.Broadcast()
	return err
}

// dial adds a session. It is called with p.mu held and lets go of it meanwhile.
func (p *pool) dial() error {
	p.dialing++
	p.mu.Unlock()
	s, err := p.b.connect()
	p.mu.Lock()
	p.dialing--
	p.wake.Broadcast()
	switch {
	case err == nil && p.closed:
		// Without the lock: the library's reader may be waiting for it.
		p.mu.Unlock()
		s.client.Close()
		p.mu.Lock()
		return errClosed
	case err == nil:
		p.sessions = append(p.sessions, s)
		return nil
	case len(p.sessions) > 0:
		// The server may limit connections: make do with what there is.
		p.b.log.Warn("no further connection", "open", len(p.sessions), "error", err)
		p.most = len(p.sessions)
		return nil
	}
	return err
}

func (p *pool) release(s *session, n need) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	s.bulk -= count(n.bulk)
	p.wake.Broadcast()
}

// drop closes a session whose connection is of no use any more.
func (p *pool) drop(s *session) {
	p.mu.Lock()
	if i := slices.Index(p.sessions, s); i >= 0 {
		p.sessions = slices.Delete(p.sessions, i, i+1)
	}
	if len(p.sessions) == 0 {
		p.most = max(p.b.cfg.Connections, 1)
	}
	p.wake.Broadcast()
	p.mu.Unlock()
	s.client.Close()
}

// changed marks the folder that s has selected as changed on the server.
func (p *pool) changed(s *session) {
	p.mu.Lock()
	folder := s.folder
	p.mu.Unlock()
	if folder != "" {
		p.b.refreshSoon(folder)
	}
}

// selectedBy returns the sessions, and the folders which they have selected.
func (p *pool) selectedBy() map[string]*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]*session)
	for _, s := range p.sessions {
		if !s.moving && s.folder != "" {
			all[s.folder] = s
		}
	}
	return all
}

// open returns all sessions.
func (p *pool) open() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sessions)
}

// logoutTime is how long LOGOUT may take when the mount ends.
const logoutTime = 2 * time.Second

// close logs out of all sessions and closes them.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	sessions := p.sessions
	p.sessions = nil
	p.wake.Broadcast()
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), logoutTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range sessions {
		wg.Go(func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.client.Logout().Wait()
			}()
			select {
			case <-done:
			case <-ctx.Done():
			}
			s.client.Close()
			<-done
		})
	}
	wg.Wait()
}

// withMessage is with for a message: f runs only on a session which selected
// the folder under the UIDVALIDITY that the message was listed with, so that a
// UID never means another message.
func (p *pool) withMessage(n need, id mail.ID, f func(*session) error) error {
	return p.with(n, checked(id, f))
}

func checked(id mail.ID, f func(*session) error) func(*session) error {
	return func(s *session) error {
		s.b.pool.mu.Lock()
		validity := s.validity
		s.b.pool.mu.Unlock()
		if validity != id.UIDValidity {
			return fmt.Errorf("%s: %w", id, mail.ErrStale)
		}
		return f(s)
	}
}
