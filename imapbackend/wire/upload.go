package wire

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// An APPEND is the one command that carries mail. The library can send its literal
// without waiting only where that is small, and ends the connection when the server
// refuses a large one. So it is given an empty one to write, and in its place goes what
// Upload was told of.

// emptyLiteral is what the library writes for one, at the end of the command.
const emptyLiteral = "{0+}\r\n\r\n"

// uploads is what is to be sent with the next APPEND of a connection.
type uploads struct {
	mu      sync.Mutex // guards what follows
	next    *upload
	current *upload // its literal waits for the server's word
}

type upload struct {
	content io.Reader
	size    int64
	tag     string
	agreed  chan bool // false: the command has ended without it
}

// Upload says what the next APPEND that the library sends has for its literal: size
// bytes of content. There is one at a time: until that has ended nobody calls it again.
func (c *Conn) Upload(content io.Reader, size int64) {
	c.uploads.mu.Lock()
	defer c.uploads.mu.Unlock()
	c.uploads.next = &upload{content: content, size: size, agreed: make(chan bool, 1)}
}

// take returns what goes with the command p, nil for nothing, and p up to its literal.
func (u *uploads) take(p []byte) (*upload, []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	command, isIt := bytes.CutSuffix(p, []byte(emptyLiteral))
	if u.next == nil || !isIt {
		return nil, p
	}
	up := u.next
	tag, _, _ := bytes.Cut(command, []byte(" "))
	up.tag = string(tag)
	u.next, u.current = nil, up
	return up, command
}

// answered tells the upload that waits that it may be sent, or that the command with
// this tag has ended. It returns whether there was one.
func (u *uploads) answered(tag string, may bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current == nil || tag != "" && u.current.tag != tag {
		return false
	}
	u.current.agreed <- may
	u.current = nil
	return true
}

// sendUpload sends the command of an APPEND with its literal: at once where the server
// takes that (RFC 7888), else when it has agreed. The library holds back all other
// commands meanwhile.
func (c *Conn) sendUpload(up *upload, command []byte) error {
	plus := ""
	if c.caps.Has(imap.CapLiteralPlus) || c.caps.Has(imap.CapLiteralMinus) && up.size <= 4096 {
		plus = "+"
	}
	if plus != "" {
		c.uploads.answered(up.tag, true) // nobody else may agree
	}
	c.trace.sent(fmt.Appendf(nil, "%s[%d bytes%s]\r\n", command, up.size, plus))
	if err := c.transmit(fmt.Appendf(command, "{%d%s}\r\n", up.size, plus)); err != nil {
		return err
	}
	select {
	case may := <-up.agreed:
		if !may {
			return nil
		}
	case <-c.answers.over.Done():
		return io.ErrClosedPipe
	}
	// The library gives a write half a minute. Here it is Line that knows whether the
	// server goes on.
	c.plain.SetWriteDeadline(time.Time{})
	n, err := io.Copy(literal{c}, io.LimitReader(up.content, up.size))
	if err == nil && n < up.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err // the server waits for the rest: only the connection's end ends that
	}
	return c.transmit([]byte("\r\n"))
}

// literal is where a literal is written to.
type literal struct{ c *Conn }

func (l literal) Write(p []byte) (int, error) {
	if err := l.c.transmit(p); err != nil {
		return 0, err
	}
	l.c.Line.uploaded(len(p))
	return len(p), nil
}
