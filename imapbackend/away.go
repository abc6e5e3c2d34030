package imapbackend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// away is what the pool does while no connection can be had: one goroutine
// tries again and again, with growing pauses, so that a server that comes back
// is not stormed, nor a wrong password tried until the account is locked.
// Requests wait for it for a short while, in which a server can restart, and
// then fail at once. Its fields are guarded by pool.mu.
type away struct {
	since time.Time // when the first attempt failed; zero: the server is there
	err   error     // of the latest attempt
	final bool      // waiting does not help: the server has refused the login
	told  bool      // the user was warned, and is to hear of its end
}

// errAway says that there is no connection, and has not been for a while.
var errAway = errors.New("the server is away")

// grace is how long requests wait for a server that is away.
const grace = 5 * time.Second

// The pauses between two attempts, before jitter: one whom somebody waits for
// comes after wantedPause at the latest. After a refused login, they are those
// between two looks for another password: nobody is a reason to look sooner.
const (
	firstPause        = 200 * time.Millisecond
	wantedPause       = 5 * time.Second
	mostPause         = time.Minute
	firstPauseRefused = time.Minute
	mostPauseRefused  = 15 * time.Minute
)

func newBackOff() *backoff.ExponentialBackOff { return backOff(firstPause, mostPause) }

func backOff(first, most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = first, most, 2
	return b
}

// isAway tells whether there is no server, and the error for a request that
// need not wait for it any longer. It is called with p.mu held.
func (p *pool) isAway() (yes bool, err error) {
	if p.away.since.IsZero() {
		return false, nil
	}
	if p.away.final || time.Since(p.away.since) >= p.grace {
		if !p.away.final { // of that only the server's user can do something
			select {
			case p.wanted <- struct{}{}:
			default:
			}
		}
		return true, fmt.Errorf("%w: %w", errAway, p.away.err)
	}
	return true, nil
}

// goAway begins to look for the server, when there is no connection left. It
// fails if the backend is closing. It is called with p.mu held.
func (p *pool) goAway() error {
	if !p.b.start(p.comeBack) { // which waits for p.mu before it looks at p.away
		return errClosed
	}
	wait := p.grace
	p.away = away{since: time.Now(), err: errBroken}
	if p.silent {
		// Requests have waited long enough, but for one attempt to connect.
		wait /= 5
		p.away.since, p.away.err = time.Now().Add(wait-p.grace), errTimeout
	}
	// Whoever waits then looks at the time again.
	time.AfterFunc(wait, func() { p.locked(p.wake.Broadcast) })
	return nil
}

// dialFirst opens the first connection. If the server cannot be reached it is away
// from the start; the error says why. patience is for the connection: who has
// that waits for what the server says to the login.
func (p *pool) dialFirst(ctx context.Context, patience time.Duration) error {
	dialed := make(chan error, 1)
	if !p.b.start(func() { p.locked(func() { dialed <- p.dial() }) }) {
		return errClosed
	}
	var err error
	for tooLate := time.After(patience); ; {
		select {
		case err = <-dialed:
		case <-tooLate:
			if p.b.reached.Load() {
				tooLate = nil // dial has its own end
				continue
			}
			err = errTimeout
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		break
	}
	if err == nil || !isUnreached(err) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.been { // or it has come at the last moment
		p.been = true
		p.goAway()
		p.away.since, p.away.err, p.away.told = time.Now().Add(-p.grace), err, true
	}
	return err
}

// comeBack tries to connect until that succeeds or the backend closes.
func (p *pool) comeBack() {
	var s *session
	var err error
	pauses, refused := newBackOff(), backOff(p.refusedPause, mostPauseRefused)
	for pause := time.Duration(0); ; pause = nextPause(pauses, refused, err) {
		wanted := p.wanted
		p.mu.Lock()
		if knocked := time.Until(p.notBefore); knocked > 0 {
			pause, wanted = max(pause, knocked), nil
		}
		p.mu.Unlock()
		if isRefusal(err) {
			wanted = nil
		}
		if !p.pause(pause, wanted) {
			return
		}
		if s, err = p.b.connect(false); err == nil {
			p.isBack(s)
			return
		}
		p.stillAway(err)
	}
}

// isBack takes in the first connection to a server that was away.
func (p *pool) isBack(s *session) {
	p.mu.Lock()
	if p.closed { // meanwhile
		p.mu.Unlock()
		s.close()
		return
	}
	p.sessions = append(p.sessions, s)
	level := slog.LevelInfo
	if p.away.told {
		level = slog.LevelWarn
	}
	p.b.log.Log(p.b.ctx, level, "the server is back", "after", time.Since(p.away.since).Round(time.Millisecond))
	p.away, p.silent = away{}, false
	p.signal()
	p.wake.Broadcast()
	p.mu.Unlock()
	// What happened meanwhile.
	if err := p.b.askForNews(); err != nil {
		p.b.log.Info("cannot ask for news", "error", err)
	}
}

// stillAway takes in that another attempt has failed.
func (p *pool) stillAway(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isRefusal(err) && !p.away.final {
		p.away.told = true
		p.b.log.Warn("the login is refused: it is not tried again before there is another password or token", "error", err)
	} else {
		p.b.log.Info("the server is still away", "error", err)
	}
	p.away.err, p.away.final = err, isRefusal(err)
	p.wake.Broadcast()
}

// nextPause returns the next pause after an attempt that ended with err: one of
// pauses, or of refused.
func nextPause(pauses, refused *backoff.ExponentialBackOff, err error) time.Duration {
	if isRefusal(err) {
		return refused.NextBackOff()
	}
	refused.Reset()
	return pauses.NextBackOff()
}

// pause waits before the next attempt, a shorter time if wanted says that
// somebody has failed meanwhile for want of the server. It returns false if the
// backend closes.
func (p *pool) pause(most time.Duration, wanted <-chan struct{}) bool {
	end, least := time.After(most), most
	if wanted != nil {
		least = min(most, p.wantedPause)
	}
	if !p.b.sleep(least) {
		return false
	}
	select {
	case <-p.b.ctx.Done():
		return false
	case <-end:
	case <-wanted:
	}
	return true
}

// suspect closes the connections from which nothing has come for a while, after
// one was found dead without a word: the network has changed, most likely, and
// each request would have to find out about another one by itself. late says
// that this has taken as long as requests can wait.
func (p *pool) suspect(late bool) {
	p.mu.Lock()
	p.silent = p.silent || late
	atMost := p.b.cfg.Timeout / 2
	if !late {
		atMost = p.b.cfg.Timeout / 3 // since when nothing comes through
	}
	p.mu.Unlock()
	p.each(func(s *session) bool { return !s.place.moving && s.conn.Line.SilentFor() > atMost }, p.drop)
}
