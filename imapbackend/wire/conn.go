// Package wire is one connection to an IMAP server, up to the answers on it.
//
// What comes goes through these layers, from the network up:
//
//	TCP, which notices that nothing is taken in any more   lost.go
//	deadlines for what is owed                             deadline.go
//	TLS                                                    conn.go
//	DEFLATE                                                deflate.go
//	trace                                                  trace.go
//	the login, a line at a time                            login.go
//	answers, read leniently and within bounds              scan.go, answer.go
//	and of what kind they are                              fetch.go, structure.go, mailbox.go, search.go
//	the library's client
//
// Every answer that brings something is read here and handed to a Handler; one
// that cannot be read is skipped, and costs no more than what it was about. The
// library writes the commands, and sees nothing but how each of them has ended.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// ErrMalformed says that the server sends what is not IMAP, so that the
// connection was given up.
var ErrMalformed = errors.New("the server sent what is not IMAP")

// Conn is a connection to a server: dialed, then logged in, then the library's.
//
// Only the library's reader may find out that the connection is broken. When a
// write fails, the library ends all commands there and then, and closes the
// channels that its reader may be about to send on. So a failed write passes
// for done and ends the connection, which the next read finds out; that read
// ends the commands. Once the library has closed the connection nothing reads
// any more, and writes fail. For the same reason everybody else calls End, and
// never Close here or of the library.
type Conn struct {
	Line    *Line
	plain   net.Conn // Line, or TLS on it
	trace   *connTrace
	in      *bufio.Reader // what comes, unpacked
	packs   bool          // what is sent is compressed
	corrupt atomic.Bool   // what came could not be unpacked

	// RoundTrip is that of the TCP handshake.
	RoundTrip time.Duration

	// During the login:
	caps  imap.CapSet // as told last
	tags  int
	alert func(text string) // is told what the user is to see; nil for nobody

	// From then on:
	answers *answers
	uploads uploads
	midLine bool        // the last write did not end a line
	closed  atomic.Bool // by the library
}

// Dial opens a TCP connection. The server has timeout for each sign of life
// while an answer is owed. Up to the login alert is told what the user is to see
// (RFC 9051 §7.1).
func Dial(ctx context.Context, addr string, timeout time.Duration, trace *Trace, alert func(text string)) (*Conn, error) {
	begun := time.Now()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// Without it dead connections are noticed later.
	noticeLoss(raw, timeout)
	line := &Line{Conn: raw, timeout: timeout}
	return &Conn{Line: line, plain: line, trace: trace.conn(), alert: alert, in: bufio.NewReader(line), RoundTrip: time.Since(begun)}, nil
}

// ErrInjected says that something has come between the answer to STARTTLS and
// TLS, where there is no place for it (CVE-2011-0411 and its successors).
var ErrInjected = errors.New("data before TLS")

// StartTLS encrypts the connection from here on.
func (c *Conn) StartTLS(ctx context.Context, config *tls.Config) error {
	if c.in.Buffered() > 0 {
		return ErrInjected
	}
	conn := tls.Client(c.Line, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	c.plain, c.in, c.caps = conn, bufio.NewReader(conn), nil
	return nil
}

// Client hands the connection to the library, which is told that it is logged
// in. h is told what the server says.
func (c *Conn) Client(h Handler) (*imapclient.Client, error) {
	c.trace.loggedIn()
	c.answers = newAnswers(c, h)
	client := imapclient.New(&libraryConn{c}, nil)
	if err := client.WaitGreeting(); err != nil {
		return client, err
	}
	return client, nil
}

// End closes the connection, also while somebody reads or writes.
func (c *Conn) End() { c.Line.Close() }

// Abandon is End before the library has the connection.
func (c *Conn) Abandon() {
	c.End()
	c.trace.close()
}

// Corrupt tells whether the server's compression could not be undone.
func (c *Conn) Corrupt() bool { return c.corrupt.Load() }

// Fault is why the connection was given up because of what came, nil if it was
// not.
func (c *Conn) Fault() error {
	if c.answers == nil {
		return nil
	}
	return c.answers.fault()
}

// libraryConn is Conn for the library alone.
type libraryConn struct{ c *Conn }

func (l *libraryConn) Read(p []byte) (int, error) { return l.c.answers.Read(p) }

// Write sends a command. The only error is net.ErrClosed.
func (l *libraryConn) Write(p []byte) (int, error) {
	c := l.c
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	if !c.midLine {
		c.answers.sent(p)
	}
	if len(p) > 0 {
		c.midLine = p[len(p)-1] != '\n'
	}
	up, command := c.uploads.take(p)
	send := func() error { return c.send(verbatim(p)) }
	if up != nil {
		send = func() error { return c.sendUpload(up, verbatim(command)) }
	}
	if err := send(); err != nil {
		c.End()
	}
	return len(p), nil
}

// Close closes the connection. Only the library calls it, and its reader first.
func (l *libraryConn) Close() error {
	l.c.closed.Store(true)
	l.c.answers.close()
	l.c.trace.close()
	return l.c.plain.Close()
}

// The deadlines are Line's: the library clears all that are set.
func (l *libraryConn) SetDeadline(t time.Time) error      { return l.c.plain.SetWriteDeadline(t) }
func (l *libraryConn) SetReadDeadline(time.Time) error    { return nil }
func (l *libraryConn) SetWriteDeadline(t time.Time) error { return l.c.plain.SetWriteDeadline(t) }
func (l *libraryConn) LocalAddr() net.Addr                { return l.c.plain.LocalAddr() }
func (l *libraryConn) RemoteAddr() net.Addr               { return l.c.plain.RemoteAddr() }

// send sends p, packed if the server has agreed to that.
func (c *Conn) send(p []byte) error {
	c.trace.sent(p)
	return c.transmit(p)
}

func (c *Conn) transmit(p []byte) error {
	if c.packs {
		packed, err := deflate(p)
		if err != nil {
			return err
		}
		p = packed
	}
	_, err := c.plain.Write(p)
	return err
}

// Verbatim returns a name for the library that stands for these bytes as they
// are: it encodes all names in modified UTF-7 (RFC 3501 §5.1.3), and some
// servers have others.
func Verbatim(name string) string { return verbatimMark + hex.EncodeToString([]byte(name)) }

// Keys returns a text for the library to search for that stands for these keys of SEARCH
// (RFC 9051 §6.4.4), of which it knows only some.
func Keys(keys string) string { return keysMark + hex.EncodeToString([]byte(keys)) }

const (
	verbatimMark = "imapfs-verbatim-"
	keysMark     = "imapfs-keys-"
)

var (
	verbatimName = regexp.MustCompile(`"` + verbatimMark + `([0-9a-f]*)"`)
	searchKeys   = regexp.MustCompile(`TEXT "` + keysMark + `([0-9a-f]*)"`)
)

var quotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func verbatim(p []byte) []byte {
	p = decoded(p, verbatimMark, verbatimName, func(name string) string { return `"` + quotes.Replace(name) + `"` })
	return decoded(p, keysMark, searchKeys, func(keys string) string { return "(" + keys + ")" })
}

// decoded puts what stands for other bytes back into a command.
func decoded(p []byte, mark string, form *regexp.Regexp, put func(string) string) []byte {
	if !bytes.Contains(p, []byte(mark)) {
		return p
	}
	return form.ReplaceAllFunc(p, func(m []byte) []byte {
		b, err := hex.DecodeString(string(form.FindSubmatch(m)[1]))
		if err != nil {
			return m
		}
		return []byte(put(string(b)))
	})
}

// traced reads what is below the trace.
type traced struct {
	io.Reader
	trace *connTrace
}

func (t traced) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.trace.received(p[:n])
	return n, err
}
