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
	key := fmt.Sprintf("%s\x00%x", what, found.sum)
	defer b.alike.lock(key)() // two that are alike would be taken for one
	a := b.inDoubt(key)
	if a == nil {
		a = b.arrivalOf(mail.ID{}, to, what)
		a.attr, a.known, a.header = mail.Attr{Size: found.size, Date: l.Date}, !l.Date.IsZero(), found.header
	} else if _, err := a.look(); err != nil {
		b.doubt(key, a)
		return mail.ID{}, err
	}
	if !a.there {
		change := exchange{need{bulk: found.size >= bulkSize}, func(lease *lease) error { return a.append(lease, l) }, a.look}
		if err := b.change(change); err != nil {
			if a.sent || a.answered {
				b.doubt(key, a)
			}
			return mail.ID{}, err
		}
	}
	a.settle(nil)
	return a.at, nil
}

// mostDoubts is of how many letters it is remembered that nobody knows whether they are
// there.
const mostDoubts = 100

// doubt remembers that it is not known whether a letter has come.
func (b *Backend) doubt(key string, a *arrival) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.doubts) < mostDoubts {
		b.doubts[key] = a
	}
}

// inDoubt returns such a letter, and forgets it; nil: there is none.
func (b *Backend) inDoubt(key string) *arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.doubts[key]
	delete(b.doubts, key)
	return a
}

// append sends APPEND, and returns nil once the message is known to be there.
func (a *arrival) append(l *lease, letter mail.Letter) error {
	if most, ok := l.appendLimit(); ok && a.attr.Size > most {
		return fmt.Errorf("%s: it has %d bytes, the server takes %d at most: %w", a.what, a.attr.Size, most, mail.ErrTooLarge)
	}
	if err := a.expect(l); err != nil {
		return err
	}
	options := &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}, Time: letter.Date}
	for _, f := range a.b.Folders() {
		if f.Name == a.to && f.SpecialUse == string(imap.MailboxAttrDrafts) {
			options.Flags = append(options.Flags, imap.FlagDraft)
		}
	}
	l.putting.Lock()
	defer l.putting.Unlock()
	heard, end := l.ear.gather()
	a.sent = true
	err := l.command(a.what, func() error {
		l.conn.Upload(onTheWire(letter), a.attr.Size)
		cmd := l.client.Append(l.b.onWire(a.to), 0, options)
		cmd.Close()
		_, err := cmd.Wait()
		return err
	})
	end()
	if errors.Is(err, mail.ErrNotFound) {
		err = errNoTarget(err)
	}
	a.take(heard, 0, err)
	return a.verify(err)
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
