package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// traffic is what went through a relay since it was reset.
type traffic struct {
	fromServer, toServer int64 // bytes
	// roundTrips counts the flights that had to wait for each other: what the
	// client sends within one round-trip time of the send that began the last
	// round trip belongs to that round trip, over all connections together.
	// Opening a connection is no send.
	roundTrips int
	commands   []sent
	bodyBytes  int64 // of message content
	bodies     []body
}

// sent is a command of the client, without tag, literals and passwords.
type sent struct {
	command   string
	roundTrip int
}

// relay is a TCP relay on the client's side of the network, so that it sees
// what a client sends before the line delays it.
type relay struct {
	addr     string
	rtt      time.Duration // 0: round trips are not counted
	upstream string
	listener net.Listener

	mu    sync.Mutex
	moved *sync.Cond // bytes arrived
	total traffic
	began time.Time // the send that began the last round trip
	last  time.Time // when anything was sent last
	open  map[net.Conn]bool
}

func newRelay(upstream string, rtt time.Duration) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{addr: l.Addr().String(), rtt: rtt, upstream: upstream, listener: l, open: map[net.Conn]bool{}}
	r.moved = sync.NewCond(&r.mu)
	go r.accept()
	return r, nil
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.serve(client)
	}
}

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.open[client] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, client)
		r.moved.Broadcast()
		r.mu.Unlock()
	}()

	answers := answerReader(
		func(n int64) { r.total.bodyBytes += n },
		func(b body) { r.total.bodies = append(r.total.bodies, b) },
	)
	commands := commandReader(func(c string) {
		r.total.commands = append(r.total.commands, sent{c, r.total.roundTrips})
	})
	// The side that ends first ends the other.
	var sides sync.WaitGroup
	side := func(to, from net.Conn, count func([]byte)) {
		sides.Go(func() {
			r.copy(to, from, count)
			client.Close()
			server.Close()
		})
	}
	side(server, client, func(b []byte) {
		r.total.toServer += int64(len(b))
		if r.rtt > 0 && r.last.Sub(r.began) >= r.rtt {
			r.total.roundTrips++
			r.began = r.last
		}
		commands.read(b)
	})
	side(client, server, func(b []byte) {
		r.total.fromServer += int64(len(b))
		answers.read(b)
	})
	sides.Wait()
}

// copy moves bytes and shows each piece to count, with r.mu held, before it
// goes on.
func (r *relay) copy(to io.Writer, from io.Reader, count func([]byte)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			r.mu.Lock()
			r.last = time.Now()
			count(buf[:n])
			r.moved.Broadcast()
			r.mu.Unlock()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset begins to count anew.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total, r.began = traffic{}, time.Time{}
}

func (r *relay) snapshot() traffic {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// quiet waits until nothing was sent either way for 1.5 seconds: what a client
// does in the background is over then. (imapfs begins to watch the inbox when a
// second has passed.)
func (r *relay) quiet(ctx context.Context) error {
	for {
		r.mu.Lock()
		wait := 1500*time.Millisecond - time.Since(r.last)
		r.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// received waits until n bytes came from the server.
func (r *relay) received(ctx context.Context, n int64) error {
	return r.until(ctx, func() bool { return r.total.fromServer >= n })
}

// unused waits until no connection is open.
func (r *relay) unused(ctx context.Context) error {
	return r.until(ctx, func() bool { return len(r.open) == 0 })
}

// until waits until ok, which is called with r.mu held, says so.
func (r *relay) until(ctx context.Context, ok func() bool) error {
	stop := context.AfterFunc(ctx, r.moved.Broadcast)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !ok() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.moved.Wait()
	}
	return nil
}

func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
}

// lineReader cuts what one side of an IMAP connection sends into lines, without
// their literals.
type lineReader struct {
	whole   func(line string)
	begins  func(line string, size int64) // a literal, behind this part of a line; may be nil
	came    func(bytes int64)             // of that literal; may be nil
	line    []byte
	literal int64 // bytes of a literal still to come
}

func (l *lineReader) read(b []byte) {
	for len(b) > 0 {
		if l.literal > 0 {
			n := min(l.literal, int64(len(b)))
			l.literal -= n
			b = b[n:]
			if l.came != nil {
				l.came(n)
			}
			continue
		}
		chunk, rest, ended := bytes.Cut(b, []byte("\n"))
		l.line, b = append(l.line, chunk...), rest
		if !ended {
			return
		}
		line := strings.TrimRight(string(l.line), "\r")
		if n, ok := literalSize(line); ok { // the line goes on behind it
			l.literal, l.line = n, append([]byte(line), ' ')
			if l.begins != nil {
				l.begins(line, n)
			}
			continue
		}
		l.line = l.line[:0]
		l.whole(line)
	}
}

// commandReader finds the commands in what a client sends.
func commandReader(record func(string)) *lineReader {
	return &lineReader{whole: func(line string) {
		if command, ok := withoutSecrets(line); ok {
			record(command)
		}
	}}
}

// literalSize returns the size of the literal that a line announces at its
// end: {12} or {12+}.
func literalSize(line string) (int64, bool) {
	open := strings.LastIndexByte(line, '{')
	if open < 0 || !strings.HasSuffix(line, "}") {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(line[open+1:len(line)-1], "+"), 10, 64)
	return n, err == nil && n >= 0
}

// withoutSecrets takes the tag off a command, and what a login says. A line of
// a single word is DONE, or an answer in a login.
func withoutSecrets(line string) (string, bool) {
	_, command, ok := strings.Cut(line, " ")
	if !ok {
		return line, line == "DONE"
	}
	name, _, _ := strings.Cut(command, " ")
	switch strings.ToUpper(name) {
	case "LOGIN", "AUTHENTICATE":
		return name, true
	}
	return command, true
}
