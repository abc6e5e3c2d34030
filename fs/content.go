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

// structure returns the MIME tree of the message: from its content if that is
// here, or coming, else from the server. They are the same but for broken mail;
// so that a listing and what is found by its names agree, the node stays with
// the one that it has used first.
func (n *messageNode) structure(ctx context.Context) (*mail.Part, error) {
	parsed := treeParsed == n.tree.Load()
	if parsed || n.tree.Load() == treeUnknown && n.fsys.cache.Comes(messageKey(n.id, "", 0, wholeSize)) {
		if _, err := n.start(ctx); err != nil && parsed {
			return nil, err
		}
	}
	if n.tree.Load() != treeAsked {
		if s := n.fsys.smallNow(n.id); s != nil {
			n.tree.CompareAndSwap(treeUnknown, treeParsed)
			return s.root, nil
		}
	}
	n.tree.CompareAndSwap(treeUnknown, treeAsked)
	return n.fsys.mail.Structure(ctx, n.id)
}

// Where a message's tree comes from.
const (
	treeUnknown = iota
	treeParsed  // from its content
	treeAsked   // from BODYSTRUCTURE
)

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
		body, err := n.encoded(ctx, whole)
		if err != nil {
			return nil, err
		}
		return loaded(mail.HTMLFile(n.part, body)), nil
	case kindRaw:
		attr, err := n.message.attr(ctx)
		return n.streamed("", "binary", attr.Size), err
	case kindAttachment:
		body, err := n.encoded(ctx, whole)
		if err != nil {
			return nil, err
		}
		d := mail.NewDecoder(n.part.Encoding)
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

// encoded returns the encoded body of n.part. It is cut out of a small message,
// if what Parse finds there is the part that the server has described, which
// it may not be in a message with broken MIME.
func (n *fileNode) encoded(ctx context.Context, whole *small) ([]byte, error) {
	if whole != nil {
		p := whole.root.Find(n.part.Section)
		if p != nil && p.Type == n.part.Type && p.Encoding == n.part.Encoding && p.Size == n.part.Size {
			body, _ := whole.root.Bytes(whole.raw, p.Section)
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
	if size, good := n.guess(); good || err != nil {
		return size, err
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
