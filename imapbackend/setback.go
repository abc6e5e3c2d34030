package imapbackend

import "time"

// A session has been of use when so many commands have gone well on it, or it
// has lasted for so long.
const (
	usefulCommands = 3
	usefulFor      = 30 * time.Second
)

// plainFor is how long a server on which nothing has worked is asked for no more
// than what is needed.
const plainFor = 15 * time.Minute

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
		// It may be something that the server offers and cannot do. If it is not
		// that, the next one is as usual.
		p.b.plainUntil.Store(0)
		if !s.isPlain {
			p.b.plainUntil.Store(p.setbackAt.Add(plainFor).Unix())
		}
	}
	p.notBefore = p.setbackAt.Add(p.setbacks.NextBackOff())
}

// useful is told of each session when it has been of use.
func (p *pool) useful() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setbacks.Reset()
}
