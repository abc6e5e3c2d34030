package imapbackend

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Append puts a new message into a mailbox (RFC 9051 §6.3.12), and returns which one it
// is there; its UID is 0 if that is not known. It has been seen, and is a draft among
// drafts. Lines end in CRLF there (RFC 5322 §2.3). The error is mail.ErrNoMessage for
// what cannot be sent, mail.ErrNoRoom and mail.ErrTooLarge if the server says so. If the
// server has gone without a word, the same letter is not there twice when it is sent again.
func (b *Backend) Append(ctx context.Context, to string, l mail.Letter) (mail.ID, error) {
	return await(ctx, func() (mail.ID, error) { return b.appendLetter(to, l) })
}

func (b *Backend) appendLetter(to string, l mail.Letter) (mail.ID, error) {
	what := "put a message into " + to
	found, err := readLetter(l)
	if err != nil {
		return mail.ID{}, fmt.Errorf("%s: %w", what, err)
	}
	key := fmt.Sprintf("%s\x00%x", to, found.sum)
	defer b.alike.lock(key, alike(to, found.size))()
	a, err := b.arrival(key, func() *arrival {
		a := b.arrivalOf(mail.ID{}, to, what)
		a.letter = &found
		return a
	})
	if err != nil {
		return mail.ID{}, err
	}
	if !a.there {
		change := exchange{need{bulk: found.size >= bulkSize}, func(lease *lease) error { return a.append(lease, l) }, a.look}
		if err := b.change(change); err != nil {
			b.doubt(key, a)
			return mail.ID{}, err
		}
		if there, err := a.look(); !there {
			b.log.Info("nobody knows which number a message has got", "folder", b.fullName(to), "error", err)
		}
	}
	a.settle(nil)
	return a.at, nil
}

// append sends APPEND. OK to that is a promise, also where the server does not say which
// number the message has.
func (a *arrival) append(l *lease, letter mail.Letter) error {
	size := a.letter.size
	if most, ok := l.appendLimit(); ok && size > most {
		return fmt.Errorf("%s: it has %d bytes, the server takes %d at most: %w", a.what, size, most, mail.ErrTooLarge)
	}
	if err := a.expect(l); err != nil {
		return err
	}
	content := &reading{r: onTheWire(letter), left: size}
	err := a.put(l, func() error {
		l.conn.Upload(content, size)
		cmd := l.client.Append(l.b.onWire(a.to), 0, a.options(letter))
		cmd.Close()
		_, err := cmd.Wait()
		return err
	})
	if content.left > 0 { // so nobody has it
		a.sent = false
		if content.err != nil {
			return fmt.Errorf("%s: it cannot be read any more: %w", a.what, content.err)
		}
	}
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return errNoTarget(err)
	case err == nil && content.left > 0:
		a.answered = false
		return fmt.Errorf("%s: the server says OK before it has got it: %w", a.what, mail.ErrRefused)
	}
	return err
}

// appendLimit returns how large a message may be, in bytes; false if the server does not
// say (RFC 7889).
func (s *session) appendLimit() (most int64, ok bool) {
	for c := range s.caps {
		if limit, found := strings.CutPrefix(string(c), "APPENDLIMIT="); found {
			_, err := fmt.Sscanf(limit, "%d", &most)
			return most, err == nil
		}
	}
	return 0, false
}

// options are what is said of a letter.
func (a *arrival) options(letter mail.Letter) *imap.AppendOptions {
	options := &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}}
	if year := letter.Date.Year(); !letter.Date.IsZero() && year >= 1 && year <= 9999 { // RFC 9051 §9, date-year
		options.Time = letter.Date
	}
	for _, f := range a.b.Folders() {
		if f.Name == a.to && f.SpecialUse == string(imap.MailboxAttrDrafts) {
			options.Flags = append(options.Flags, imap.FlagDraft)
		}
	}
	return options
}

// reading notes how much of a letter was not read, and why.
type reading struct {
	r    io.Reader
	left int64
	err  error
}

func (c *reading) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	if c.left -= int64(n); err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// readings is what is found out about a letter before it is sent.
type readings struct {
	size   int64 // on the wire
	header []byte
	sum    [sha256.Size]byte
}

// mostHeader is how much of a header is looked at, 256 kB.
const mostHeader = 256 << 10

// readLetter goes through a letter.
func readLetter(l mail.Letter) (readings, error) {
	var found readings
	var head bytes.Buffer
	sum, piece := sha256.New(), make([]byte, 64<<10)
	for r := onTheWire(l); ; {
		n, err := r.Read(piece)
		if bytes.IndexByte(piece[:n], 0) >= 0 {
			return found, fmt.Errorf("there is a byte 0 in it, which no server takes (RFC 9051 §4.3): %w", mail.ErrNoMessage)
		}
		found.size += int64(n)
		sum.Write(piece[:n])
		head.Write(piece[:min(n, mostHeader-head.Len())])
		if err == io.EOF {
			break
		}
		if err != nil {
			return found, err
		}
	}
	if found.size == 0 {
		return found, fmt.Errorf("it is empty: %w", mail.ErrNoMessage)
	}
	found.header = slices.Clone(mail.SplitHeader(head.Bytes()))
	found.sum = [sha256.Size]byte(sum.Sum(nil))
	return found, nil
}

// onTheWire reads a letter as it is sent: each line ends in CRLF.
func onTheWire(l mail.Letter) io.Reader {
	return &crlf{r: bufio.NewReaderSize(io.NewSectionReader(l.Content, 0, l.Size), 64<<10)}
}

// crlf puts a CR before each LF that has none.
type crlf struct {
	r    *bufio.Reader
	last byte // that was handed out
}

func (c *crlf) Read(p []byte) (n int, err error) {
	for n < len(p) {
		var b byte
		if b, err = c.r.ReadByte(); err != nil {
			break
		}
		if b == '\n' && c.last != '\r' {
			c.r.UnreadByte()
			b = '\r'
		}
		p[n], c.last = b, b
		n++
	}
	if n > 0 {
		err = nil
	}
	return n, err
}
