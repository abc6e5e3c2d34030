package wire

import (
	"net"
	"os"
	"sync"
	"time"
)

// timedConn is a connection that fails when the server is silent for too long
// while an answer is owed. The library has no limit for a whole command, so the
// rule lives here.
type timedConn struct {
	net.Conn
	timeout time.Duration

	mu     sync.Mutex // guards what follows, and the order of SetReadDeadline
	owed   int        // commands that wait for an answer
	failed error      // first error of a read: the network's fault, not the parser's
	last   time.Time  // when something came last
	came   int        // bytes since the last progress
	since  time.Time  // when that was
}

// A server that works for long may say so now and then. But not for ever: it makes
// progress when an answer ends, or when it sends slowest bytes a second at least,
// and so many times the timeout may pass without any.
const (
	slowest    = 200
	mostNoises = 4
)

// expect notes that one more (or, with -1, one less) command waits for an
// answer.
func (c *timedConn) expect(n int) {
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
func (c *timedConn) arm() {
	c.came, c.since = 0, time.Now()
	c.extend()
}

func (c *timedConn) extend() {
	var deadline time.Time
	if c.owed > 0 {
		deadline = time.Now().Add(c.timeout)
	}
	c.Conn.SetReadDeadline(deadline)
}

// progress notes that an answer has come to its end.
func (c *timedConn) progress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arm()
}

// Read reads from the server; what arrives gives it new time. After an error there
// is no other try: the library makes some, and each would wait anew.
func (c *timedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.failed != nil {
		defer c.mu.Unlock()
		return 0, c.failed
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
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

// stalled tells whether an answer is owed, and nothing has come of it for a third of
// the timeout.
func (c *timedConn) stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owed > 0 && time.Since(c.since) > c.timeout/3
}

// silentFor is how long nothing has come.
func (c *timedConn) silentFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.last)
}

// readError is what the network reported, nil if it is not to blame.
func (c *timedConn) readError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// timedOut tells whether the connection was given up because of silence.
func (c *timedConn) timedOut() bool {
	return os.IsTimeout(c.readError())
}
