package imapbackend

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// pool shares out a few connections. A request names the folder that it needs
// selected; requests for the same folder share a connection, each other
// folder, and each large transfer, takes a connection of its own as long as
// there are some.
type pool struct {
	b *Backend

	mu        sync.Mutex // guards what follows, and the place of each session
	wake      *sync.Cond // a session became free, or went
	sessions  []*session
	waiting   []*waiter
	dialing   int
	slow      bool // the connection that is being opened takes long: do without it
	most      int  // connections; falls when the server allows no more
	been      bool // connected before
	silent    bool // the last connection went without a word
	away      away
	closed    bool
	idleFails int // connections in a row that ended with their first IDLE

	shut map[string]bool // folders that nobody may enter, see vacate

	watched string        // the folder that shall always have a session
	lost    chan struct{} // see signal

	setbacks  *backoff.ExponentialBackOff // see setback
	setbackAt time.Time                   // the last one
	notBefore time.Time                   // no connection is opened before

	grace  time.Duration // how long requests wait for a server that is away
	wanted chan struct{} // somebody has failed because it was; holds one

	wantedPause  time.Duration // see pause
	refusedPause time.Duration // the first one after a refused login

	selecting sync.WaitGroup // goroutines that wait for the answer to SELECT
}

// waiter is a request that waits until a session is free for its folder.
type waiter struct {
	folder string
	since  time.Time
}

// need says what a request wants of a session.
type need struct {
	folder   string // selected; "" for any
	messages bool   // it is about messages, so the folder has to have
	validity uint32 // this UIDVALIDITY
	bulk     bool   // moves much data, so that others should not wait behind it
	ahead    bool   // reads ahead: bulk, of which all of a folder goes through one session
	watch    bool   // to hear of news only: takes what nobody else has used for a while
	alone    bool   // also where it is shut for others
	glance   bool   // it selects folders itself: a session of which nobody else has the folder
}

// messagesOf is the need of who asks about messages of a folder.
func messagesOf(folder string, validity uint32) need {
	return need{folder: folder, messages: true, validity: validity}
}

var errClosed = errors.New("imapfs is ending")

func newPool(b *Backend) *pool {
	p := &pool{b: b, most: max(b.cfg.Connections, 1), shut: make(map[string]bool), grace: grace, wantedPause: wantedPause, refusedPause: firstPauseRefused, lost: make(chan struct{}, 1), wanted: make(chan struct{}, 1)}
	p.setbacks = newBackOff()
	p.watched = cmp.Or(b.cfg.URL.Folder, "INBOX")
	p.wake = sync.NewCond(&p.mu)
	return p
}

// locked runs f with p.mu held.
func (p *pool) locked(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *pool) acquire(n need) (*lease, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var w *waiter // once this request has to wait
	defer func() {
		p.waiting = slices.DeleteFunc(p.waiting, func(other *waiter) bool { return other == w })
	}()
	for {
		if p.closed {
			return nil, errClosed
		}
		if yes, err := p.isAway(); err != nil {
			return nil, err
		} else if yes || p.shut[n.folder] && !n.alone {
			p.wake.Wait()
			continue
		}
		s, verdict := p.choose(n, w)
		switch verdict {
		case use:
			return s.lease(n), nil
		case move:
			// Taken before the lock is let go, and with its own selection:
			// SELECT may have failed by the time that it is back.
			s.place.change(&selection{folder: n.folder, done: make(chan struct{})})
			l := s.lease(n)
			p.move(l)
			return l, nil
		case dial:
			open := p.dial // the first one: whoever wants it has to wait
			if len(p.sessions) > 0 {
				open = p.grow
			} else if p.been {
				open = p.goAway
			}
			if err := open(); err != nil {
				return nil, err
			}
		case wait:
			if n.watch {
				return nil, errNoRoom
			}
			if w == nil {
				w = &waiter{folder: n.folder, since: time.Now()}
				p.waiting = append(p.waiting, w)
			}
			p.wake.Wait()
		}
	}
}

// lease counts another user of the session. It is called with pool.mu held.
func (s *session) lease(n need) *lease {
	s.place.take(n)
	return &lease{session: s, need: n, sel: s.place.sel, behind: s.place.behind}
}

// came notes that a message was put into a folder. Courier does not find it on a
// connection that has the folder selected before it was told of it there.
func (p *pool) came(folder string) {
	p.locked(func() {
		for _, s := range p.sessions {
			if s.place.has(folder) {
				s.place.behind = true
			}
		}
	})
}

// catchUp has the server tell what it has not told yet, before anything is asked; whoever
// asks need not wait for that.
func (p *pool) catchUp(l *lease) {
	if l.behind {
		l.client.Noop()
		p.locked(func() { l.place.behind = l.place.behind && l.place.sel != l.sel })
	}
}

// move selects the folder of l on a session that nobody else uses. It is called
// with p.mu held and lets go of it while the command is written, so that no
// other command comes before it.
func (p *pool) move(l *lease) {
	if l.need.glance {
		close(l.sel.done)
	} else {
		p.selecting.Add(1) // before close waits for it
		p.mu.Unlock()
		l.selectFolder(l.sel)
		p.mu.Lock()
	}
	l.place.changed()
	p.signal()
	p.wake.Broadcast()
}

// unselected notes that a SELECT has failed.
func (p *pool) unselected(sel *selection) {
	p.locked(func() {
		sel.failed = true
		p.wake.Broadcast()
	})
}

// slowDial is how long a request waits for a further connection. A server that
// allows no more may say nothing at all, and then what there is has to do.
const slowDial = 2 * time.Second

// grow opens a further connection, and waits for it, but not for long. It is
// called with p.mu held and lets go of it meanwhile.
func (p *pool) grow() error {
	begun, done := time.Now(), false
	p.dialing++ // so that nobody else opens one before dial does
	if !p.b.start(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.dialing--
		p.dial()
		done, p.slow = true, false
	}) {
		p.dialing--
		return errClosed
	}
	defer time.AfterFunc(slowDial, func() { p.locked(p.wake.Broadcast) }).Stop()
	for !done && !p.closed {
		if time.Since(begun) >= slowDial {
			p.slow = true
			p.wake.Broadcast() // others may wait for it too
			break
		}
		p.wake.Wait()
	}
	return nil
}

// dial adds a session. It is called with p.mu held and lets go of it meanwhile.
func (p *pool) dial() error {
	p.dialing++
	beside := len(p.sessions) > 0
	p.mu.Unlock()
	s, err := p.b.connect(beside)
	p.mu.Lock()
	p.dialing--
	p.wake.Broadcast()
	switch {
	case err == nil && p.closed:
		// Without the lock: the library's reader may be waiting for it.
		p.mu.Unlock()
		s.close()
		p.mu.Lock()
		return errClosed
	case err == nil:
		p.sessions = append(p.sessions, s)
		p.been, p.silent = true, false
		return nil
	case len(p.sessions) > 0:
		// The server may limit connections: make do with what there is.
		p.b.log.Warn("no further connection", "open", len(p.sessions), "error", err)
		p.most = len(p.sessions)
		return nil
	case p.been && !p.closed:
		return nil // and the others have gone meanwhile
	}
	return err
}

func (p *pool) release(s *session, n need) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.place.count(n, -1); s.place.users == 0 {
		s.rest()
	}
	p.wake.Broadcast()
}

// drop closes a session whose connection is of no use any more.
func (p *pool) drop(s *session) {
	p.mu.Lock()
	if i := slices.Index(p.sessions, s); i >= 0 {
		p.sessions = slices.Delete(p.sessions, i, i+1)
		p.setback(s)
	}
	if len(p.sessions) == 0 {
		p.most = max(p.b.cfg.Connections, 1)
	}
	p.silent = p.silent || s.conn.Line.TimedOut() && !s.conn.Line.Lost() // before anybody looks for another one
	p.signal()
	p.wake.Broadcast()
	p.mu.Unlock()
	s.close()
}

// changed marks the folder that s has selected as changed on the server.
func (p *pool) changed(s *session) {
	p.mu.Lock()
	folders := s.place.concerned()
	p.mu.Unlock()
	for _, folder := range folders {
		p.b.refreshSoon(folder)
	}
}

// selectedBy returns the sessions, and the folders which they have selected.
func (p *pool) selectedBy() map[string]*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]*session)
	for _, s := range p.sessions {
		if folder := s.place.folder(); folder != "" {
			all[folder] = s
		}
	}
	return all
}

// each runs f, all at once, for the sessions for which want holds. want is called with
// p.mu held.
func (p *pool) each(want func(*session) bool, f func(*session)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		if want(s) {
			wg.Go(func() { f(s) })
		}
	}
}

// logoutTime is how long LOGOUT may take when the mount ends.
const logoutTime = 2 * time.Second

// close logs out of all sessions and closes them.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.each(func(s *session) bool {
		s.place.endIdle()
		return true
	}, func(s *session) {
		defer time.AfterFunc(logoutTime, s.conn.End).Stop()
		s.client.Logout().Wait()
		s.close()
	})
	p.selecting.Wait()
}

// A session has been of use when so many commands have gone well on it, or it
// has lasted for so long.
const (
	usefulCommands = 3
	usefulFor      = 30 * time.Second
)

// setback is told that a session has ended. One that was of no use is a reason
// to wait before the next one is opened, longer each time: a server that lets
// somebody in and throws him out again is not to be stormed. Sessions that end
// together count once. It is called with p.mu held.
func (p *pool) setback(s *session) {
	if s.opened.Before(p.setbackAt) {
		return
	}
	if s.succeeded.Load() >= usefulCommands || time.Since(s.opened) > usefulFor {
		p.setbacks.Reset()
		return
	}
	p.setbackAt = time.Now()
	if s.succeeded.Load() == 0 {
		p.b.quirks.failed(s.isPlain)
	}
	p.notBefore = p.setbackAt.Add(p.setbacks.NextBackOff())
}

// useful is told of each session when it has been of use.
func (p *pool) useful() { p.locked(p.setbacks.Reset) }
