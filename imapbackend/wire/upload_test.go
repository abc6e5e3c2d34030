package wire

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// uploading is a connection to a server that only the test plays, and what it gets there.
func uploading(t *testing.T, caps ...imap.Cap) (c *Conn, server net.Conn, lines *bufio.Reader) {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	line := &Line{Conn: client, timeout: 10 * time.Second}
	c = &Conn{Line: line, plain: line, in: bufio.NewReader(line), caps: imap.CapSet{}}
	for _, known := range caps {
		c.caps[known] = struct{}{}
	}
	c.answers = newAnswers(c, &recorder{})
	c.answers.out = nil
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(io.Discard, c.answers) })
	t.Cleanup(func() { client.Close(); wg.Wait() })
	return c, server, bufio.NewReader(server)
}

// put sends a command as the library writes it.
func put(c *Conn, command string) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		(&libraryConn{c}).Write([]byte(command))
	}()
	return done
}

func expect(t *testing.T, lines *bufio.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(lines, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

const anAppend = "T1 APPEND x {0+}\r\n\r\n"

func TestUpload(t *testing.T) {
	for _, c := range []struct {
		size   int
		caps   []imap.Cap
		atOnce bool
	}{
		{4096, []imap.Cap{imap.CapLiteralMinus}, true},
		{4097, []imap.Cap{imap.CapLiteralMinus}, false},
		{4097, []imap.Cap{imap.CapLiteralPlus}, true},
		{1, nil, false},
	} {
		conn, server, lines := uploading(t, c.caps...)
		text := strings.Repeat("x", c.size)
		conn.Upload(strings.NewReader(text), int64(c.size))
		done := put(conn, anAppend)
		if c.atOnce {
			expect(t, lines, fmt.Sprintf("T1 APPEND x {%d+}\r\n%s\r\n", c.size, text))
		} else {
			expect(t, lines, fmt.Sprintf("T1 APPEND x {%d}\r\n", c.size))
			io.WriteString(server, "+ go on\r\n")
			expect(t, lines, text+"\r\n")
		}
		<-done
		done = put(conn, "T2 NOOP\r\n")
		expect(t, lines, "T2 NOOP\r\n")
		<-done
	}
}

// TestUploadRefused has the next command sent behind the refusal, and nothing of the mail.
func TestUploadRefused(t *testing.T) {
	conn, server, lines := uploading(t)
	conn.Upload(strings.NewReader("mail"), 4)
	done := put(conn, anAppend)
	expect(t, lines, "T1 APPEND x {4}\r\n")
	io.WriteString(server, "* OK wait\r\nT0 OK another one\r\nT1 NO [TOOBIG] no\r\n")
	<-done
	done = put(conn, "T2 NOOP\r\n")
	expect(t, lines, "T2 NOOP\r\n")
	<-done
}

// TestUploadWhileIdleEnds has the server say "+" to an IDLE once more. That is no leave.
func TestUploadWhileIdleEnds(t *testing.T) {
	conn, server, lines := uploading(t)
	for _, command := range []string{"T0 IDLE\r\n", "DONE\r\n"} {
		done := put(conn, command)
		expect(t, lines, command)
		<-done
	}
	conn.Upload(strings.NewReader("mail"), 4)
	done := put(conn, anAppend)
	expect(t, lines, "T1 APPEND x {4}\r\n")
	io.WriteString(server, "+ still idling\r\nT0 OK done\r\nT1 NO no\r\n")
	<-done
	done = put(conn, "T2 NOOP\r\n")
	expect(t, lines, "T2 NOOP\r\n")
	<-done
}

// TestUploadCutShort ends the connection when the content, or the connection, ends too
// early.
func TestUploadCutShort(t *testing.T) {
	conn, _, lines := uploading(t, imap.CapLiteralPlus)
	conn.Upload(strings.NewReader("ma"), 4)
	done := put(conn, anAppend)
	expect(t, lines, "T1 APPEND x {4+}\r\nma")
	<-done
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	conn, server, lines := uploading(t)
	conn.Upload(strings.NewReader("mail"), 4)
	done = put(conn, anAppend)
	expect(t, lines, "T1 APPEND x {4}\r\n")
	server.Close()
	<-done
}

// TestUploadPastWriteDeadline has the library's time for a command pass while the letter
// is sent.
func TestUploadPastWriteDeadline(t *testing.T) {
	conn, server, lines := uploading(t)
	text := strings.Repeat("x", 100<<10)
	conn.Upload(strings.NewReader(text), int64(len(text)))
	done := put(conn, anAppend)
	expect(t, lines, "T1 APPEND x {102400}\r\n")
	(&libraryConn{conn}).SetWriteDeadline(time.Now().Add(-time.Second))
	io.WriteString(server, "+ go on\r\n")
	expect(t, lines, text+"\r\n")
	<-done
}
