package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/emersion/go-imap/v2"
	"github.com/klauspost/compress/flate"
)

// Mail is text, and half as many bytes or fewer on a slow line when it is
// compressed (RFC 4978). What comes is unpacked below the bounds for answers, so
// that they hold for what a few bytes can become.

// CapCompress is the capability.
const CapCompress = imap.Cap("COMPRESS=DEFLATE")

// Compress has both sides compress what they send from now on, if the server
// agrees: else the error is an *imap.Error, and nothing has changed.
func (c *Conn) Compress() error {
	if err := c.Command("COMPRESS DEFLATE"); err != nil {
		return err
	}
	// What a server ends with Z_PARTIAL_FLUSH is to come at once too.
	c.in = bufio.NewReader(&inflater{c, flate.NewReaderOpts(c.in, flate.WithPartialBlock())})
	c.packs = true
	return nil
}

// inflater notes what cannot be unpacked.
type inflater struct {
	c *Conn
	r io.Reader
}

func (i *inflater) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if _, corrupt := errors.AsType[flate.CorruptInputError](err); corrupt {
		i.c.corrupt.Store(true)
	}
	return n, err
}

// deflate packs one command by itself, which needs no memory in between.
func deflate(p []byte) ([]byte, error) {
	var packed bytes.Buffer
	err := flate.StatelessDeflate(&packed, p, false, nil)
	return packed.Bytes(), err
}
