package imapbackend

import (
	"net"
	"os"
	"sync"
	"time"
)

// watchedConn is a connection that fails when the server is silent for too
// long while an answer is owed. The library has no limit for a whole command,
// and clears every deadline set on its connection, so the rule lives here: the
// library's own read deadlines are ignored.
type watchedConn struct {
	net.Conn
	timeout time.Duration

	mu     sync.Mutex // guards what follows, and the order of SetReadDeadline
	owed   int        // commands that wait for an answer
	failed error      // first error of a read: the network's fault, not the parser's
}

// expect notes that one more (or, with -1, one less) command waits for an
// answer.
func (c *watchedConn) expect(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owed += n
	// A further command gives the server no new time for the ones before it:
	// else a stream of requests would keep a dead connection for ever.
	if c.owed == 0 || n > 0 && c.owed == n {
		c.arm()
	}
}

func (c *watchedConn) arm() {
	var deadline time.Time
	if c.owed > 0 {
		deadline = time.Now().Add(c.timeout)
	}
	c.Conn.SetReadDeadline(deadline)
}

// Read reads from the server; each piece that arrives gives it new time.
func (c *watchedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	c.arm()
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	if err != nil {
		c.mu.Lock()
		if c.failed == nil {
			c.failed = err
		}
		c.mu.Unlock()
	}
	return n, err
}

// SetReadDeadline does nothing: see above.
func (c *watchedConn) SetReadDeadline(time.Time) error { return nil }

// SetDeadline sets only the write deadline: see above.
func (c *watchedConn) SetDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(t) }

// readError is what the network reported, nil if it is not to blame.
func (c *watchedConn) readError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// timedOut tells whether the connection was given up because of silence.
func (c *watchedConn) timedOut() bool {
	return os.IsTimeout(c.readError())
}
