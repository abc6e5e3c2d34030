package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"imapfs/mail"
)

// pieceSize is how much of a large part or message is fetched at a time,
// 512 kB before decoding.
const pieceSize = 512 << 10

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

// The keys in the cache are made so that all of a folder, and all of a message,
// have a prefix in common.
const mailPrefix = "mail\x00"

func folderPrefix(folder string) string { return mailPrefix + folder + "\x00" }

// validityPrefix is folderPrefix for the messages of one UIDVALIDITY.
func validityPrefix(folder string, validity uint32) string {
	b := append(make([]byte, 0, len(folder)+64), folderPrefix(folder)...)
	return string(binary.BigEndian.AppendUint32(b, validity))
}

func messagePrefix(id mail.ID) string {
	return string(binary.BigEndian.AppendUint32([]byte(validityPrefix(id.Folder, id.UIDValidity)), id.UID))
}

// messageKey names bytes of a message.
func messageKey(id mail.ID, section string, off, size int64) string {
	b := append([]byte(messagePrefix(id)), section...)
	b = append(b, '/')
	b = strconv.AppendInt(b, off, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}

// section returns a section of the message from the cache or the server.
func (n *messageNode) section(ctx context.Context, section string) ([]byte, error) {
	return n.piece(ctx, section, 0, -1)
}

// piece is section for size bytes from offset off, or to its end if size is
// negative.
func (n *messageNode) piece(ctx context.Context, section string, off, size int64) ([]byte, error) {
	if section != "" {
		if at, ok := n.kept()[section]; ok {
			from, to := at[0]+off, at[1]
			if size >= 0 {
				to = min(to, from+size)
			}
			return n.cut(ctx, min(from, to), to)
		}
	}
	key := messageKey(n.id, section, off, size)
	b, err := n.fsys.cache.Get(ctx, key, func() ([]byte, error) {
		if !n.mirrored {
			n.fsys.busy.begin()
			defer n.fsys.busy.end()
		}
		return n.fsys.mail.Fetch(n.id, section, off, size)
	})
	if n.mirrored && err == nil {
		n.fsys.keep(key, b)
	}
	return b, err
}

// structure returns the MIME tree of the message, which is the one that Parse finds
// in its content. While that is not here the server's BODYSTRUCTURE tells the same,
// unless it is unsure: then the content is looked at.
func (n *messageNode) structure(ctx context.Context) (*mail.Part, error) {
	if n.fsys.cache.Comes(messageKey(n.id, "", 0, wholeSize)) {
		// Its error comes back when somebody reads.
		n.start(ctx)
	}
	if s := n.fsys.smallNow(n.id); s != nil {
		return s.root, nil
	}
	if root := n.own.Load(); root != nil {
		return root, nil
	}
	root, err := n.fsys.mail.Structure(ctx, n.id)
	if err != nil || !root.Unsure {
		return root, err
	}
	whole, err := n.small(ctx)
	if err != nil {
		return nil, err
	}
	if whole != nil {
		return whole.root, nil
	}
	return n.takeApart(ctx, root)
}

// takeApart is structure for a large message of which the server's tree is
// unsure. Its parts are cut out of it from then on: the server may number them in
// another way. One that is too large for that is what the server says.
func (n *messageNode) takeApart(ctx context.Context, unsure *mail.Part) (*mail.Part, error) {
	attr, err := n.attr(ctx)
	if err != nil {
		return nil, err
	}
	if attr.Size > n.fsys.mirrorWhole() {
		if unsure.Type == "" {
			return &mail.Part{Section: "1", Type: "text/plain", Encoding: "7bit", Size: attr.Size}, nil
		}
		return unsure, nil
	}
	raw, err := n.cut(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	root := mail.Parse(raw)
	l := layoutOf(raw, root)
	n.layout.Store(&l)
	n.own.Store(root)
	return root, nil
}

// load returns the content of the file.
func (n *fileNode) load(ctx context.Context) (content, error) {
	if n.kind == kindAttachment && n.part.Size > pieceSize {
		return n.streamed(n.part.Section, n.part.Encoding, n.part.Size), nil
	}
	whole, err := n.message.small(ctx)
	if err != nil {
		return nil, err
	}
	if whole != nil {
		if text, ok := whole.text(n.kind); ok {
			return loaded(text), nil
		}
	}
	switch n.kind {
	case kindHeaders:
		header, err := n.message.section(ctx, "HEADER")
		return loaded(mail.HeadersText(header)), err
	case kindBody:
		return n.loadBody(ctx)
	case kindHTML:
		body, encoding, err := n.encoded(ctx, whole)
		if err != nil {
			return nil, err
		}
		part := *n.part
		part.Encoding = encoding
		return loaded(mail.HTMLFile(&part, body)), nil
	case kindRaw:
		attr, err := n.message.attr(ctx)
		return n.streamed("", "binary", attr.Size), err
	case kindAttachment:
		body, encoding, err := n.encoded(ctx, whole)
		if err != nil {
			return nil, err
		}
		d := mail.NewDecoder(encoding)
		return loaded(d.Decode(nil, body, true)), nil
	}
	return nil, errors.New("a file of no kind")
}

// loadBody puts the text of a large message together from its parts.
func (n *fileNode) loadBody(ctx context.Context) (content, error) {
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

// encoded returns the body of n.part as it is in the message, and its encoding. It
// is cut out of a small message, if what Parse finds there is the part that the
// server has described, which it may not be in a message with broken MIME.
func (n *fileNode) encoded(ctx context.Context, whole *small) ([]byte, string, error) {
	if whole != nil {
		p := whole.root.Find(n.part.Section)
		if p != nil && p.Type == n.part.Type && p.Filename == n.part.Filename {
			body, _ := whole.root.Bytes(whole.raw, p.Section)
			return body, p.Encoding, nil
		}
	}
	body, err := n.message.section(ctx, n.part.Section)
	return body, n.part.Encoding, err
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

// usualHeader is the size of a header nobody has seen yet.
const usualHeader = 4096

// guess is a size of a file that was not loaded yet, without a question to the
// server. good tells that asking would not make it better.
func (n *fileNode) guess() (size int64, good bool) {
	attr, known := n.message.known()
	switch n.kind {
	case kindHeaders:
		return min(attr.Size, usualHeader), known
	case kindHTML, kindAttachment:
		return n.part.DecodedSize(), true
	case kindBody:
		return attr.Size, known && attr.Size < wholeSize
	}
	return attr.Size, known
}

// estimate is a good guess.
func (n *fileNode) estimate(ctx context.Context) (int64, error) {
	_, err := n.message.attr(ctx)
	size, good := n.guess()
	if good || err != nil {
		return size, err
	}
	root, err := n.message.fsys.mail.Structure(ctx, n.message.id)
	if err != nil || root.Unsure {
		return size, err
	}
	var sum int64
	for _, p := range root.Text() {
		sum += p.DecodedSize()
	}
	return sum, nil
}
