package imapbackend

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"github.com/klauspost/compress/flate"
)

// Mail is text, and half as many bytes or fewer on a slow line when it is
// compressed. Servers that offer COMPRESS=DEFLATE (RFC 4978) are asked for it
// behind the login. What comes is unpacked below limitedConn, so that its
// bounds hold for what a few bytes can become.

const capCompress = imap.Cap("COMPRESS=DEFLATE")

// compress asks for it if the server offers it. A server that refuses is
// talked to without. One that breaks off, or sends what cannot be unpacked, is
// not asked again.
func (s *session) compress() error {
	if s.b.noCompress.Load() || !s.can(capCompress) {
		return nil
	}
	err := s.wire.compress(s.client.Closed())
	if refused, ok := errors.AsType[*imap.Error](err); ok {
		s.b.log.Debug("the server does not compress", "error", plain(refused.Text))
		return nil
	}
	if err != nil {
		s.b.noCompress.Store(true)
		return fmt.Errorf("%s broke off when it was asked to compress", s.b.cfg.URL.Host)
	}
	return nil
}

// compressTag is unlike any tag of the library's.
const compressTag = "Z"

// compression is what wireConn knows of it.
type compression struct {
	asked   atomic.Bool
	done    chan error  // what became of it
	corrupt atomic.Bool // what came could not be unpacked

	// Of the reader alone:
	plain []byte    // came before the answer, for the library
	in    io.Reader // what comes from then on; nil before

	on bool // written under wireConn.writing
}

// compress has both sides compress what they send from now on, if the server
// agrees. The library must have sent all that it has to send; ended is closed
// when it reads no more.
func (c *wireConn) compress(ended <-chan struct{}) error {
	c.writing.Lock() // the library's next command waits
	defer c.writing.Unlock()
	c.compression.done = make(chan error, 1)
	c.compression.asked.Store(true)
	command := compressTag + " COMPRESS DEFLATE\r\n"
	c.trace.sent([]byte(command))
	if _, err := io.WriteString(c.Conn, command); err != nil {
		c.line.Close()
		return err
	}
	var err error
	select {
	case err = <-c.compression.done:
	case <-ended:
		err = errBroken
	}
	c.compression.on = err == nil
	return err
}

// answered takes in the answer to COMPRESS. first has come already, behind the
// end of a line, as the library waits for no answer; it may be only a part of
// one. Lines that are not the answer are left to the library.
func (c *wireConn) answered(first []byte) {
	z := &c.compression
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(slices.Clone(first)), c.Conn), 32<<10)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			// Too long, or the connection is broken: the library will see.
			z.plain = append(z.plain, line...)
			z.in = r
			z.done <- err
			return
		}
		rest, ours := strings.CutPrefix(string(line), compressTag+" ")
		if !ours {
			if z.plain = append(z.plain, line...); len(z.plain) > mostResponse {
				c.line.Close() // which the library will see too
				z.in = r
				z.done <- errMalformed
				return
			}
			continue
		}
		c.trace.received(line)
		kind, text, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if z.in = r; strings.EqualFold(kind, "OK") {
			// What a server ends with Z_PARTIAL_FLUSH is to come at once too.
			z.in = flate.NewReaderOpts(r, flate.WithPartialBlock())
			z.done <- nil
		} else {
			z.done <- &imap.Error{Type: imap.StatusResponseType(kind), Text: text}
		}
		return
	}
}

// read is Read of the connection below, unpacked.
func (c *wireConn) read(p []byte) (int, error) {
	z := &c.compression
	if z.in == nil {
		n, err := c.Conn.Read(p)
		if !z.asked.Load() {
			return n, err
		}
		if n == 0 {
			z.asked.Store(false)
			z.done <- err
			return n, err
		}
		c.answered(p[:n])
	}
	if len(z.plain) > 0 {
		n := copy(p, z.plain)
		z.plain = z.plain[n:]
		return n, nil
	}
	n, err := z.in.Read(p)
	if _, corrupt := errors.AsType[flate.CorruptInputError](err); corrupt {
		z.corrupt.Store(true)
	}
	return n, err
}

// write is Write of the connection below, packed. Each command is packed by
// itself, which needs no memory in between.
func (c *wireConn) write(p []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.compression.on {
		_, err := c.Conn.Write(p)
		return err
	}
	var packed bytes.Buffer
	if err := flate.StatelessDeflate(&packed, p, false, nil); err != nil {
		return err
	}
	_, err := c.Conn.Write(packed.Bytes())
	return err
}
