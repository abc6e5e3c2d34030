package wire

import (
	"net"
	"os"
	"sync"
	"time"
)

// Line is a TCP connection that fails when the server is silent for too long
// while an answer is owed. The library has no limit for a whole command, so the
// rule lives here.
type Line struct {
	net.Conn
	timeout time.Duration

	mu     sync.Mutex // guards what follows, and the order of SetReadDeadline
	owed   int        // commands that wait for an answer
	failed error      // first error of a read: the network's fault, not the parser's
	last   time.Time  // when something came last
	came   int        // bytes since the last progress
	sent   int        // bytes of a message since then
	queued int        // bytes that the server had not taken in when this was asked last
	since  time.Time  // when that was
}

// A server that works for long may say so now and then. But not for ever: it makes
// progress when an answer ends, or when it sends slowest bytes a second at least,
// and so many times the timeout may pass without any.
const (
	slowest    = 200
	mostNoises = 4
)

// Expect notes that one more (or, with -1, one less) command waits for an
// answer.
func (c *Line) Expect(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed += n
	// A further command gives the server no new time for the ones before it:
	// else a stream of requests would keep a dead connection for ever.
	if c.owed == 0 || n > 0 && c.owed == n {
		c.arm()
	}
}

// arm begins the server's time anew.
func (c *Line) arm() {
	c.came, c.sent, c.since = 0, 0, time.Now()
	c.extend()
}

func (c *Line) extend() {
	var deadline time.Time
	if c.owed > 0 {
		deadline = time.Now().Add(c.timeout)
	}
	c.Conn.SetReadDeadline(deadline)
}

// progress notes that an answer has come to its end.
func (c *Line) progress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arm()
}

// Read reads from the server; what arrives gives it new time. After an error there
// is no other try: the library makes some, and each would wait anew.
func (c *Line) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.failed != nil {
		defer c.mu.Unlock()
		return 0, c.failed
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	for n == 0 && os.IsTimeout(err) && c.drains() {
		n, err = c.Conn.Read(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.last = time.Now()
		switch c.came += n; {
		case float64(c.came) >= slowest*c.timeout.Seconds():
			c.arm()
		case time.Since(c.since) < mostNoises*c.timeout:
			c.extend()
		}
	}
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return n, err
}

// Write writes to the server. That it takes in nothing any more is found out here while
// much is sent.
func (c *Line) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if os.IsTimeout(err) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed = err // of which a read may have seen no more than the end
	}
	return n, err
}

// uploaded notes that n bytes of a long message were written, which gives the server new
// time too: nobody answers before he has heard all of it.
func (c *Line) uploaded(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent += n; float64(c.sent) >= slowest*c.timeout.Seconds() {
		c.arm()
		c.queued = c.unsent()
	}
}

// drains tells whether the server has taken in some of what was sent since it was asked
// last, and gives it new time then: on a slow line the kernel sends for longer than the
// timeout what was written within a moment.
func (c *Line) drains() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.queued
	if c.queued = c.unsent(); c.queued >= was || c.failed != nil {
		return false
	}
	c.extend()
	return true
}

// Stalled tells whether an answer is owed, and nothing has come of it for a third of
// the timeout.
func (c *Line) Stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owed > 0 && time.Since(c.since) > c.timeout/3
}

// SilentFor is how long nothing has come.
func (c *Line) SilentFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.last)
}

// Failure is what the network has reported, nil if it is not to blame for the end
// of the connection.
func (c *Line) Failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// TimedOut tells whether the connection was given up because of silence.
func (c *Line) TimedOut() bool { return os.IsTimeout(c.Failure()) }
