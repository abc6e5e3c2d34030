package imapbackend

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
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
	last   time.Time  // when something came last
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

// Read reads from the server; each piece that arrives gives it new time. After
// an error there is no other try: the library makes some, and each would wait
// anew.
func (c *watchedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.failed != nil {
		defer c.mu.Unlock()
		return 0, c.failed
	}
	c.arm()
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.last = time.Now()
	}
	if err != nil && c.failed == nil {
		c.failed = err
	}
	return n, err
}

// silentFor is how long nothing has come.
func (c *watchedConn) silentFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.last)
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

// wireConn is a connection as the library sees it: inside TLS, and unpacked
// (compress.go).
//
// Only the library's reader may find out that the connection is broken. When a
// write fails, the library ends all commands there and then, and closes the
// channels that its reader may be about to send on. So a failed write passes
// for done and ends the connection, which the next read finds out; that read
// ends the commands. Once the library has closed the connection nothing reads
// any more, and writes fail. For the same reason the rest of this package
// calls session.close, and never Close here or of the library.
type wireConn struct {
	net.Conn
	line     *watchedConn // below TLS
	greeting []byte       // read first: behind STARTTLS the server sends none
	trace    *connTrace   // nil for none
	midLine  bool         // the last write did not end a line
	closed   atomic.Bool  // by the library

	compression compression
	writing     sync.Mutex // held while something is written
}

func (c *wireConn) Read(p []byte) (int, error) {
	if len(c.greeting) > 0 {
		n := copy(p, c.greeting)
		c.greeting = c.greeting[n:]
		return n, nil
	}
	n, err := c.read(p)
	c.trace.received(p[:n])
	return n, err
}

// Write writes to the server. The library writes an empty answer to a SASL
// challenge as "=", which is right only behind AUTHENTICATE; alone on its line
// it is not base64 (RFC 9051 §6.2.2). The only error is net.ErrClosed.
func (c *wireConn) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	out := p
	if !c.midLine && string(p) == "=\r\n" {
		out = p[1:]
	}
	if len(p) > 0 {
		c.midLine = p[len(p)-1] != '\n'
	}
	c.trace.sent(out)
	if err := c.write(out); err != nil {
		c.line.Close()
	}
	return len(p), nil
}

// Close closes the connection. Only the library calls it, and its reader first.
func (c *wireConn) Close() error {
	c.closed.Store(true)
	c.trace.close()
	return c.Conn.Close()
}
