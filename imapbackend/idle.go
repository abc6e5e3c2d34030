package imapbackend

import (
	"errors"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A session that nobody uses is told what happens in its folder when it
// happens: by IDLE (RFC 2177, RFC 9051 §6.3.13). During IDLE the library keeps
// all other commands back, and sends them right behind DONE. So whoever takes
// the session only has to say that IDLE is to end, and waits for nothing.

const (
	// idleAfter is how long a session is not used for its folder before IDLE
	// begins, and restAfter how long it is not used at all.
	idleAfter = 300 * time.Millisecond
	restAfter = 10 * time.Millisecond

	// mostIdle is how long one IDLE lasts at most: the server may end the
	// connection after 30 minutes. (The library begins anew after 28, but
	// would wait for ever for the answer to that.)
	mostIdle = 25 * time.Minute

	// idleTries is how many connections in a row may end with their first IDLE
	// before the server is taken for one that cannot do it. All that are open
	// can end at once for another reason.
	idleTries  = 5
	shortIdle  = 10 * time.Second // what ends with the first IDLE has ended by then
	watchAfter = time.Second      // until a folder that lost its session gets another one
)

// rest has IDLE begin when nobody has used the session for a while. It is
// called with pool.mu held.
func (s *session) rest() {
	after := max(idleAfter-time.Since(s.place.used), restAfter)
	switch {
	case s.place.sel == nil || s.place.refused || !s.can(imap.CapIdle):
	case s.resting == nil:
		s.resting = time.AfterFunc(after, func() { s.b.start(s.idle) })
	default:
		s.resting.Reset(after)
	}
}

// idle sends IDLE, again and again, until somebody wants the session. An answer
// to DONE also shows that the server is still there, so each IDLE lasts until
// the next poll only. It runs in a goroutine of the backend's, which ends with
// the connection at the latest.
func (s *session) idle() {
	p := s.b.pool
	for again := true; again; {
		end := s.listen()
		if end == nil {
			return
		}
		sent := time.Now()
		var cmd *imapclient.IdleCommand
		err := s.command("IDLE", func() (err error) {
			cmd, err = s.client.Idle() // waits until the server listens
			return err
		})
		p.locked(func() {
			s.place.begun(err == nil)
			p.wake.Broadcast()
		})
		listened := err == nil
		if listened {
			select {
			case <-end:
				again = false
			case <-s.client.Closed():
			case <-time.After(min(s.b.cfg.Poll, mostIdle)):
			}
			p.locked(func() {
				if s.place.listening == end { // not that of a later IDLE
					s.place.endIdle()
				}
			})
			err = s.command("end IDLE", func() error {
				if err := cmd.Close(); err != nil {
					return err
				}
				return cmd.Wait()
			})
		}
		if s.learn(err, listened, time.Since(sent)); err != nil {
			return
		}
	}
}

// listen returns what will be closed when IDLE has to end, or nil if it must not
// begin.
func (s *session) listen() chan struct{} {
	p := s.b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.idleFails >= idleTries || s.ended() {
		return nil
	}
	return s.place.listen()
}

// learn draws the lesson from an IDLE.
func (s *session) learn(err error, listened bool, lasted time.Duration) {
	p := s.b.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	refused := isStatus(err)
	s.place.idle(err == nil, refused && !p.closed) // the poll asks with NOOP then
	switch {
	case err == nil:
		p.idleFails = 0
		return
	case p.closed:
		return
	case !refused && !s.place.idled && (!listened || lasted < shortIdle && !errors.Is(err, errTimeout)):
		p.idleFails++
	}
	s.b.log.Info("IDLE has failed", "error", err)
}

// errNoRoom says that all connections are in use.
var errNoRoom = errors.New("all connections are in use")

// watch keeps the watched folder selected on some session, so that IDLE or NOOP
// tells of new mail, as far as the others leave one for it. It ends with the
// backend.
func (b *Backend) watch() {
	pauses := newBackOff()
	for pause := watchAfter; ; {
		if !b.sleep(pause) {
			return
		}
		err := b.pool.watch()
		switch {
		case err == nil || errors.Is(err, errAway):
			if err == nil {
				pauses.Reset()
			}
			select {
			case <-b.ctx.Done():
				return
			case <-b.pool.lost:
			}
			pause = watchAfter
		case errors.Is(err, errNoRoom):
			pause = min(pauses.NextBackOff(), busyFor)
		default:
			b.log.Debug("cannot watch the folder", "folder", b.fullName(b.pool.watched), "error", err)
			pause = pauses.NextBackOff()
		}
	}
}

// watch selects the watched folder if no session has it.
func (p *pool) watch() error {
	p.mu.Lock()
	for _, s := range p.sessions {
		if s.place.has(p.watched) && !s.ended() {
			p.mu.Unlock()
			return nil
		}
	}
	p.mu.Unlock()
	// Its users are the IDLE that begins when it is let go, and the poll.
	return p.once(need{folder: p.watched, watch: true}, func(l *lease) error { return l.confirm() })
}

// signal tells Backend.watch to look whether the watched folder has lost its
// session, or may have one again.
func (p *pool) signal() {
	select {
	case p.lost <- struct{}{}:
	default:
	}
}
