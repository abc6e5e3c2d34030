package imapbackend

import (
	"slices"
	"time"
)

// verdict is what a request has to do for its session.
type verdict int

const (
	use  verdict = iota // it is ready
	move                // select another folder on it
	dial                // open another connection
	wait                // until something is free
)

// patience is how long a request waits behind those for another folder. Then
// no further one of those is let in. One that reads ahead is not let in at all
// while somebody waits.
const patience = 100 * time.Millisecond

// mustWait tells whether n has to let others go first, who wait for a session
// for their folder.
func (p *pool) mustWait(n need, self *waiter) bool {
	return slices.ContainsFunc(p.waiting, func(w *waiter) bool {
		return w != self && w.folder != n.folder && (n.ahead || time.Since(w.since) > patience) &&
			(self == nil || w.since.Before(self.since)) &&
			!slices.ContainsFunc(p.sessions, func(s *session) bool { return s.place.has(w.folder) })
	})
}

// busyFor is how long a folder keeps its connection after the last request,
// as long as others can be opened.
const busyFor = 10 * time.Second

// choose picks the session that serves n soonest: one that has the folder and
// moves no bulk, then an idle one, then a new one, then any that has the
// folder. self is n's own place among those who wait.
func (p *pool) choose(n need, self *waiter) (*session, verdict) {
	p.sweep()
	full := len(p.sessions)+p.dialing >= p.most || p.slow || len(p.sessions) > 0 && time.Now().Before(p.notBefore)
	mustWait := n.folder != "" && full && p.mustWait(n, self)
	if n.ahead && !mustWait {
		for _, s := range p.sessions {
			if s.place.ahead > 0 && s.place.fits(n) {
				return s, use
			}
		}
	}
	var idle, shared *session
	soon := false
	for _, s := range p.sessions {
		at := &s.place
		switch unused := time.Since(at.used) > busyFor; {
		case at.isBusy() && at.has(n.folder):
			return nil, wait // rather than select the folder twice
		case at.isBusy():
			soon = soon || at.beginning && (n.folder == "" || unused)
		case n.glance:
			if at.users == 0 && (idle == nil || at.folder() == "" || idle.place.folder() != "" && p.better(s, idle)) {
				idle = s
			}
		case at.fits(n) && mustWait:
			return nil, wait
		case at.fits(n) && (at.users == 0 || at.bulk == 0 && !n.bulk && !s.conn.Line.Stalled()):
			return s, use
		case at.fits(n):
			if shared == nil || at.users < shared.place.users {
				shared = s
			}
		case at.users == 0 && (at.folder() == "" || full && !n.watch || unused) && (idle == nil || p.better(s, idle)):
			idle = s
		}
	}
	switch {
	case idle != nil:
		return idle, move
	case soon:
		return nil, wait // rather than connect
	case !full && p.dialing == 0:
		return nil, dial
	case shared != nil: // never for a glance
		return shared, use
	}
	return nil, wait
}

// sweep lets go of sessions that have ended. A server that restarts ends all
// connections at once; the next request would run into one after the other.
func (p *pool) sweep() {
	before := len(p.sessions)
	p.sessions = slices.DeleteFunc(p.sessions, func(s *session) bool {
		if s.ended() {
			p.setback(s)
		}
		return s.ended()
	})
	if len(p.sessions) < before {
		p.signal()
	}
}

// better tells whether s should get another folder rather than t: the watched
// folder keeps its session, and then whatever was used last.
func (p *pool) better(s, t *session) bool {
	if a, b := s.place.has(p.watched), t.place.has(p.watched); a != b {
		return b
	}
	return s.place.used.Before(t.place.used)
}
