package fs

import (
	"context"
	"errors"
	"fmt"

	"imapfs/mail"
)

const (
	// wholeSize is up to where a message is fetched whole, 128 kB: one round
	// trip then serves all of its files. Of a larger one only the parts that
	// somebody reads are fetched.
	wholeSize = 128 << 10
	// pieceSize is how much of a large part or message is fetched at a time,
	// 512 kB before decoding.
	pieceSize = 512 << 10
)

// content is what an open file reads from.
type content interface {
	// read returns bytes of the file from offset off, in dest or elsewhere:
	// len(dest) of them, fewer only at the end of the file.
	read(ctx context.Context, dest []byte, off int64) ([]byte, error)
}

// loaded is a file that is in memory as a whole.
type loaded []byte

func (l loaded) read(_ context.Context, dest []byte, off int64) ([]byte, error) {
	if off >= int64(len(l)) {
		return nil, nil
	}
	return l[off:min(off+int64(len(dest)), int64(len(l)))], nil
}

// section returns a section of the message from the cache or the server.
func (n *messageNode) section(ctx context.Context, section string) ([]byte, error) {
	return n.piece(ctx, section, 0, -1)
}

// piece is section for size bytes from offset off.
func (n *messageNode) piece(ctx context.Context, section string, off, size int64) ([]byte, error) {
	key := fmt.Sprintf("%d/%d/%s/%d/%s", n.id.UIDValidity, n.id.UID, section, off, n.id.Folder)
	return n.fsys.cache.Get(ctx, key, func() ([]byte, error) {
		return n.fsys.mail.Fetch(n.id, section, off, size)
	})
}

func (n *messageNode) isSmall() bool { return n.attr.Size <= wholeSize }

// structure returns the MIME tree of the message.
func (n *messageNode) structure(ctx context.Context) (*mail.Part, error) {
	return n.fsys.mail.Structure(ctx, n.id)
}

// parsed returns a small message whole, and its tree.
func (n *messageNode) parsed(ctx context.Context) ([]byte, *mail.Part, error) {
	raw, err := n.section(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	return raw, mail.Parse(raw), nil
}

// load returns the content of the file.
func (n *fileNode) load(ctx context.Context) (content, error) {
	switch n.kind {
	case kindHeaders:
		return n.loadHeaders(ctx)
	case kindBody:
		return n.loadBody(ctx)
	case kindHTML:
		body, err := n.encoded(ctx)
		if err != nil {
			return nil, err
		}
		return loaded(mail.HTMLFile(n.part, body)), nil
	case kindRaw:
		if n.message.isSmall() {
			raw, err := n.message.section(ctx, "")
			return loaded(raw), err
		}
		return n.streamed("", "binary", n.message.attr.Size), nil
	case kindAttachment:
		if n.part.Size > pieceSize {
			return n.streamed(n.part.Section, n.part.Encoding, n.part.Size), nil
		}
		body, err := n.encoded(ctx)
		if err != nil {
			return nil, err
		}
		d := mail.NewDecoder(n.part.Encoding)
		return loaded(d.Decode(nil, body, true)), nil
	}
	return nil, errors.New("a file of no kind")
}

func (n *fileNode) loadHeaders(ctx context.Context) (content, error) {
	if n.message.isSmall() {
		raw, err := n.message.section(ctx, "")
		return loaded(mail.HeadersText(mail.SplitHeader(raw))), err
	}
	header, err := n.message.section(ctx, "HEADER")
	return loaded(mail.HeadersText(header)), err
}

func (n *fileNode) loadBody(ctx context.Context) (content, error) {
	if n.message.isSmall() {
		raw, root, err := n.message.parsed(ctx)
		if err != nil {
			return nil, err
		}
		parts := root.Text()
		bodies := make([][]byte, len(parts))
		for i, p := range parts {
			bodies[i], _ = root.Bytes(raw, p.Section)
		}
		return loaded(mail.BodyText(parts, bodies)), nil
	}
	root, err := n.message.structure(ctx)
	if err != nil {
		return nil, err
	}
	parts := root.Text()
	bodies := make([][]byte, len(parts))
	for i, p := range parts {
		bodies[i], err = n.message.section(ctx, p.Section)
		if err != nil {
			return nil, err
		}
	}
	return loaded(mail.BodyText(parts, bodies)), nil
}

// encoded returns the encoded body of n.part. It is cut out of a small message,
// if what Parse finds there is the part that the server has described, which
// it may not be in a message with broken MIME.
func (n *fileNode) encoded(ctx context.Context) ([]byte, error) {
	if n.message.isSmall() {
		raw, root, err := n.message.parsed(ctx)
		if err != nil {
			return nil, err
		}
		p := root.Find(n.part.Section)
		if p != nil && p.Type == n.part.Type && p.Encoding == n.part.Encoding && p.Size == n.part.Size {
			body, _ := root.Bytes(raw, p.Section)
			return body, nil
		}
	}
	return n.message.section(ctx, n.part.Section)
}

// streamed returns the file's stream, one for all who have it open.
func (n *fileNode) streamed(section, encoding string, claimed int64) content {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stream == nil {
		n.stream = newStream(n.message, section, encoding, claimed)
	}
	return n.stream
}

// estimate guesses the size of a file that was not loaded yet, from what the
// server tells without its content.
func (n *fileNode) estimate(ctx context.Context) (int64, error) {
	size := n.message.attr.Size
	const usualHeader = 4096
	switch n.kind {
	case kindRaw:
		return size, nil
	case kindHeaders:
		return min(size, usualHeader), nil
	case kindHTML, kindAttachment:
		return n.part.DecodedSize(), nil
	}
	if n.message.isSmall() {
		return size, nil // not worth a question to the server
	}
	root, err := n.message.structure(ctx)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range root.Text() {
		sum += p.DecodedSize()
	}
	return sum, nil
}
