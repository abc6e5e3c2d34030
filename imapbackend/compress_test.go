package imapbackend

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapfs/internal/dovecot"
	"imapfs/mail"
)

// packedConn is a server's side of a connection that compresses once it has
// said OK to COMPRESS. The first bytes behind that go out together with it.
type packedConn struct {
	net.Conn
	in      io.Reader
	out     *flate.Writer
	packed  bytes.Buffer
	corrupt bool // what comes then cannot be unpacked
	split   bool // the OK comes in two pieces
	asked   bool // COMPRESS has come
}

// agrees tells whether p is the OK to COMPRESS.
func (c *packedConn) agrees(p []byte) bool {
	asked := c.asked
	c.asked = false
	return asked && bytes.Contains(p, []byte(" OK done"))
}

func (c *packedConn) Read(p []byte) (int, error) {
	if c.in == nil {
		n, err := c.Conn.Read(p)
		c.asked = c.asked || bytes.Contains(p[:n], []byte("COMPRESS DEFLATE"))
		return n, err
	}
	return c.in.Read(p)
}

func (c *packedConn) Write(p []byte) (int, error) {
	switch {
	case c.out == nil && c.agrees(p):
		c.in = flate.NewReader(c.Conn)
		c.out, _ = flate.NewWriter(&c.packed, flate.BestSpeed)
		if c.split {
			i := bytes.Index(p, []byte(" OK"))
			c.Conn.Write(p[:i])
			c.Conn.Write(p[i:])
			return len(p), nil
		}
		// In one piece with what is packed.
		fmt.Fprintf(c.out, "* 3 RECENT\r\n")
		c.out.Flush()
		c.Conn.Write(slices.Concat(p, c.packed.Bytes()))
		c.packed.Reset()
	case c.out == nil:
		return c.Conn.Write(p)
	case c.corrupt:
		c.Conn.Write([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	default:
		c.out.Write(p)
		c.out.Flush()
		if _, err := c.Conn.Write(c.packed.Bytes()); err != nil {
			return 0, err
		}
		c.packed.Reset()
	}
	return len(p), nil
}

// TestCompress has servers that agree to COMPRESS, refuse it, or break with it.
// Whatever they do, the mail is the same.
func TestCompress(t *testing.T) {
	const caps = "IMAP4rev1 UIDPLUS ESEARCH COMPRESS=DEFLATE"
	for _, c := range []struct {
		what   string
		answer string // to COMPRESS
		conn   packedConn
	}{
		{what: "agrees"},
		{what: "agrees in two pieces", conn: packedConn{split: true}},
		{what: "says something else first", answer: "* OK hello\r\n* CAPABILITY " + caps + "\r\nTAG OK done\r\n"},
		{what: "refuses", answer: "TAG NO [COMPRESSIONACTIVE] not twice\r\n"},
		{what: "does not know it", answer: "TAG BAD what?\r\n"},
		{what: "breaks off", answer: cut},
		{what: "never answers", answer: silent},
		{what: "floods", answer: strings.Repeat("* OK x\r\n", 1<<20)},
		{what: "cannot compress", conn: packedConn{corrupt: true}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := &script{caps: caps}
			s.answer = func(tag, command string) string {
				if command == "COMPRESS DEFLATE" {
					return strings.ReplaceAll(c.answer, "TAG", tag)
				}
				return ""
			}
			s.wrap = func(raw net.Conn) net.Conn {
				return &packedConn{Conn: raw, corrupt: c.conn.corrupt, split: c.conn.split}
			}
			cfg := s.start(t)
			if c.answer == silent {
				cfg.Timeout = 3 * time.Second
			}
			soon(t, "connecting", func() {
				b, err := Connect(t.Context(), cfg)
				if err != nil {
					t.Error(err)
					return
				}
				defer b.Close()
				if l, err := b.Messages(t.Context(), "INBOX"); err != nil || len(l.UIDs) != 3 {
					t.Error(l, err)
				}
				got, err := b.Fetch(msg(2), "", 0, -1)
				if string(got) != rawMail || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
			if n := s.count("COMPRESS"); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
		})
	}
}

// TestCompressBomb has a server that packs a literal far larger than announced
// sizes allow: the bounds hold for what comes out.
func TestCompressBomb(t *testing.T) {
	s := &script{caps: "IMAP4rev1 UIDPLUS ESEARCH COMPRESS=DEFLATE", wrap: func(c net.Conn) net.Conn { return &packedConn{Conn: c} }}
	s.answer = func(tag, command string) string {
		if strings.HasPrefix(command, "UID FETCH 2 ") {
			return "* 2 FETCH (UID 2 BODY[HEADER] {8}\r\nabcd\r\n\r\n" + strings.Repeat(" ", 4<<20) + flooding
		}
		return ""
	}
	s.more = func(w io.Writer, _ string) {
		spaces := bytes.Repeat([]byte(" "), 1<<20)
		for range 1 << 10 {
			if _, err := w.Write(spaces); err != nil {
				return
			}
		}
	}
	b := listed(t, s.start(t))
	soon(t, "the bomb", func() {
		if got, err := b.Fetch(msg(2), "HEADER", 0, -1); err == nil {
			t.Errorf("got %d bytes", len(got))
		}
		if got, err := b.Fetch(msg(1), "", 0, -1); string(got) != rawMail {
			t.Errorf("another message: %q, %v", got, err)
		}
	})
}

// counted is a way to addr that counts the bytes that come.
func counted(t *testing.T, addr string) (way string, received func() int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				client.Close()
				return
			}
			wg.Go(func() { io.Copy(server, client); server.Close() })
			wg.Go(func() { io.Copy(io.MultiWriter(client, countingWriter{&n}), server); client.Close() })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String(), n.Load
}

type countingWriter struct{ n *atomic.Int64 }

func (w countingWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return len(p), nil
}

// TestCompressSaves counts what goes over the line with a real server.
func TestCompressSaves(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Extra: dovecot.Compress})
	text := bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\r\n"), 10_000)
	s.Deliver(t, append([]byte("Subject: work\r\n\r\n"), text...))
	addr, received := counted(t, s.Addr)
	b := connect(t, config(addr, dovecot.User, dovecot.Password))
	l, err := b.Messages(t.Context(), "INBOX")
	if err != nil || len(l.UIDs) != 1 {
		t.Fatal(l, err)
	}
	got, err := b.Fetch(mail.ID{Folder: "INBOX", UIDValidity: l.UIDValidity, UID: l.UIDs[0]}, "1", 0, -1)
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%d bytes, %v, want %d", len(got), err, len(text))
	}
	if n := received(); n > int64(len(text))/10 {
		t.Errorf("%d bytes came for %d", n, len(text))
	}
}
