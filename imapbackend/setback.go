package imapbackend

import "time"

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
func (p *pool) useful() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setbacks.Reset()
}
