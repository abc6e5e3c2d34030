// Package demo is a mailbox to try imapfs on: an IMAP server inside the
// process, which holds its mail in memory and listens on the loopback address.
//
// A mount cannot tell it from a server far away. `imapfs demo` starts one,
// fills it with the sample mailbox (AddSample) or with a user's own archive
// (Import), and mounts it; the tests of the other packages do the same.
//
// The protocol is go-imap's imapserver: it reads the commands and writes the
// responses. What the commands do is here, in a few files that follow the way
// of a request: a connection is a session (session.go), which works on one of
// the user's mailboxes (store.go), finds messages in it (search.go) and sends
// them or pieces of them (mime.go).
//
// go-imap brings a ready backend, imapmemserver. It is not used, because a
// mount would show its faults: a multipart without parts makes it panic, a
// missing last boundary makes it send empty parts, it decodes the parameters in
// BODYSTRUCTURE, which servers send as they stand, it knows no \Noselect
// mailboxes, and one client that stops reading stops all others.
package demo

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// Server is an IMAP server in memory, on a loopback port, for one user.
type Server struct {
	Addr     string // host:port
	User     string
	Password string // random, new for every server

	acct *account
	imap *imapserver.Server
	ln   *listener
	done chan struct{} // closed when the accept loop has ended
}

// Options change what the server can do. The zero value is a server like those
// people have.
type Options struct {
	// Caps are the capabilities to announce instead of DefaultCaps. They must
	// hold IMAP4rev1 or IMAP4rev2. Without UIDPLUS, UID EXPUNGE is refused;
	// without MOVE, MOVE is.
	Caps imap.CapSet

	// Delim is the hierarchy delimiter, '/' if zero.
	Delim rune
}

// DefaultCaps returns what a server announces unless Options say otherwise.
// Those that need nothing of a mailbox (IDLE, ENABLE, UNSELECT and others) are
// announced always.
func DefaultCaps() imap.CapSet {
	return imap.CapSet{
		imap.CapIMAP4rev1:    {},
		imap.CapNamespace:    {},
		imap.CapUIDPlus:      {},
		imap.CapESearch:      {},
		imap.CapSearchRes:    {},
		imap.CapListExtended: {},
		imap.CapListStatus:   {},
		imap.CapMove:         {},
		imap.CapStatusSize:   {},
		imap.CapChildren:     {},
		imap.CapSpecialUse:   {},
		imap.CapLiteralPlus:  {},
	}
}

// Start starts a server with an empty INBOX on a free port of 127.0.0.1. The
// connection is not encrypted; it never leaves the machine, and other users of
// the machine do not know the password.
func Start() (*Server, error) { return StartWith(Options{}) }

// StartWith is Start with options.
func StartWith(o Options) (*Server, error) {
	if o.Caps == nil {
		o.Caps = DefaultCaps()
	}
	if !o.Caps.Has(imap.CapIMAP4rev1) && !o.Caps.Has(imap.CapIMAP4rev2) {
		return nil, errors.New("demo server: needs the capability IMAP4rev1 or IMAP4rev2")
	}
	if o.Delim == 0 {
		o.Delim = '/'
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo server: %w", err)
	}

	s := &Server{
		Addr:     ln.Addr().String(),
		User:     "demo",
		Password: rand.Text(),
		ln:       &listener{Listener: ln, conns: make(map[net.Conn]struct{})},
		done:     make(chan struct{}),
	}
	s.acct = newAccount(s.User, s.Password, o)
	s.imap = imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &session{acct: s.acct}, nil, nil
		},
		Caps:         o.Caps,
		InsecureAuth: true,
		Logger:       logger{},
	})
	go func() {
		defer close(s.done)
		if err := s.imap.Serve(s.ln); err != nil {
			slog.Error("demo server stopped", "err", err)
		}
	}()
	return s, nil
}

// Append puts a message into a mailbox, which is made if it is missing, and its
// parents with it. The name is the full one, with the server's delimiter. Line
// ends become CRLF; the rest of raw is kept byte for byte. date becomes
// INTERNALDATE; now, if it is zero.
func (s *Server) Append(mailbox string, raw []byte, date time.Time, flags ...imap.Flag) error {
	mbox, err := s.acct.ensure(mailbox)
	if err != nil {
		return fmt.Errorf("demo server: append to %q: %w", mailbox, err)
	}
	mbox.append(crlf(raw), date, flags)
	return nil
}

// Close stops listening, closes the connections and waits until nothing of the
// server runs any more. A second Close does nothing.
func (s *Server) Close() error {
	err := s.ln.Close()
	<-s.done // no connection is accepted from here on
	s.ln.closeConns()
	s.ln.serving.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// crlf returns raw with every line ending in CRLF.
func crlf(raw []byte) []byte {
	if bytes.Count(raw, []byte("\n")) == bytes.Count(raw, []byte("\r\n")) {
		return bytes.Clone(raw)
	}
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}

// listener knows the connections that are being served. imapserver's own Close
// neither waits for them nor sees one that was accepted a moment ago.
type listener struct {
	net.Listener
	serving sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.serving.Add(1)
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	return &conn{Conn: c, ln: l}, nil
}

// closeConns makes every connection's next read fail, which ends its goroutine.
func (l *listener) closeConns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

// conn is one client's connection. Its Close is the last thing that the
// goroutine serving it does.
type conn struct {
	net.Conn
	ln   *listener
	once sync.Once
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.ln.mu.Lock()
		delete(c.ln.conns, c.Conn)
		c.ln.mu.Unlock()
		c.ln.serving.Done()
	})
	return err
}

// logger hands what imapserver has to say, which is about broken connections,
// to slog. It never holds mail.
type logger struct{}

func (logger) Printf(format string, args ...any) {
	slog.Debug("demo server", "msg", fmt.Sprintf(format, args...))
}
