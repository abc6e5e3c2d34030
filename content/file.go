package content

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"unicode/utf8"

	"imapfs/mail"
)

// Kind tells the files of a message apart. The values are in keys on the disk, and in
// inode numbers: 0, 5 and 7 are left to those who number more than files.
type Kind byte

// The kinds of files.
const (
	Headers    Kind = 1 // headers.txt
	Body       Kind = 2 // body.txt
	HTML       Kind = 3 // body.html
	Raw        Kind = 4 // message.eml
	Attachment Kind = 6
)

// pieceSize is how much of a large part or message is fetched at a time,
// 512 kB before decoding.
const pieceSize = 512 << 10

// sizesKept bounds the exact sizes that are remembered, some 250 bytes each.
const sizesKept = 1 << 16

// File is a file of a message.
type File struct {
	Kind Kind
	Part *mail.Part // of an attachment, and the first one of HTML; nil for the others

	message *Message

	mu     sync.Mutex // guards what follows
	stream *stream    // where the file is too large to be loaded at once
	exact  bool       // length is the file's size; Store.sizes may have forgotten it
	length int64      // bytes
}

// File returns a file of the message. part is as in File.
func (m *Message) File(k Kind, part *mail.Part) *File {
	return &File{message: m, Kind: k, Part: part}
}

// Bytes is what a file that is open is read from.
type Bytes interface {
	// Read returns bytes of the file from offset off, in dest or elsewhere:
	// len(dest) of them, fewer only at the end of the file.
	Read(ctx context.Context, dest []byte, off int64) ([]byte, error)
}

// Loaded is a file that is in memory as a whole.
type Loaded []byte

// Read implements Bytes.
func (l Loaded) Read(_ context.Context, dest []byte, off int64) ([]byte, error) {
	if off >= int64(len(l)) {
		return nil, nil
	}
	return l[off:min(off+int64(len(dest)), int64(len(l)))], nil
}

func (f *File) key() fileKey {
	k := fileKey{id: f.message.ID(), kind: f.Kind}
	if f.Part != nil {
		k.section = f.Part.Section
	}
	return k
}

// Exact returns the file's size in bytes if that is known.
func (f *File) Exact() (int64, bool) {
	key, s := f.key(), f.message.store
	if size, ok := s.sizes.Get(key); ok {
		return size, true
	}
	f.mu.Lock()
	exact, length := f.exact, f.length
	f.mu.Unlock()
	if exact {
		return length, true
	}
	if text, ok := f.now(); ok {
		f.remember(int64(len(text)))
		return int64(len(text)), true
	}
	if b, ok := s.cache.Disk().Get(key.size()); ok && len(b) == 8 {
		size := int64(binary.BigEndian.Uint64(b))
		f.remember(size)
		return size, true
	}
	return 0, false
}

// Size returns the file's exact size in bytes, for which it may have to be loaded.
func (f *File) Size(ctx context.Context) (int64, error) {
	if size, exact := f.Exact(); exact {
		return size, nil
	}
	f.mu.Lock()
	s := f.stream
	f.mu.Unlock()
	if s == nil {
		b, err := f.Load(ctx)
		if err != nil {
			return 0, err
		}
		if l, ok := b.(Loaded); ok {
			return int64(len(l)), nil
		}
		s = b.(*stream)
	}
	size, err := s.size(ctx)
	if err == nil {
		f.setSize(size)
	}
	return size, err
}

// IsStreamed tells whether the file is read piece by piece, since somebody has opened
// it: Size then takes no more than to look for its end.
func (f *File) IsStreamed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stream != nil
}

// usualHeader is the size of a header nobody has seen yet.
const usualHeader = 4096

// Guess is a size of a file that was not loaded yet, without a question to the
// server. good tells that asking would not make it better.
func (f *File) Guess() (size int64, good bool) {
	attr, known := f.message.Known()
	switch f.Kind {
	case Headers:
		return min(attr.Size, usualHeader), known
	case HTML, Attachment:
		return f.Part.DecodedSize(), true
	case Body:
		return attr.Size, known && attr.Size < wholeSize
	}
	return attr.Size, known
}

// Estimate is a good guess, for which the server may be asked.
func (f *File) Estimate(ctx context.Context) (int64, error) {
	_, err := f.message.Attr(ctx)
	size, good := f.Guess()
	if good || err != nil {
		return size, err
	}
	root, err := f.message.store.server.Structure(ctx, f.message.ID())
	if err != nil || root.Unsure {
		return size, err
	}
	var sum int64
	for _, p := range root.Text() {
		sum += p.DecodedSize()
	}
	return sum, nil
}

// setSize remembers the exact size, also for the next mount, unless a look at
// the small message tells it then.
func (f *File) setSize(size int64) {
	f.remember(size)
	if _, small := f.now(); small {
		return
	}
	f.message.store.cache.Disk().Offer(f.key().size(), binary.BigEndian.AppendUint64(nil, uint64(size)))
}

// remember keeps the exact size: here for as long as somebody has the file, and in
// Store.sizes for the next time.
func (f *File) remember(size int64) {
	f.mu.Lock()
	f.exact, f.length = true, size
	f.mu.Unlock()
	f.message.store.sizes.Add(f.key(), size)
}

// now returns the content of a file that is made of a whole message, if that is
// here.
func (f *File) now() ([]byte, bool) {
	p := f.message.store.parsedNow(f.message.ID())
	if p == nil {
		return nil, false
	}
	return p.text(f.Kind)
}

// Here is Load for a file of a small message that is here already: it counts as
// opened for those who read ahead, and nothing is asked of anybody.
func (f *File) Here(ctx context.Context) ([]byte, bool) {
	text, ok := f.now()
	if ok {
		f.message.store.walks.opened(ctx, f.message.ID())
	}
	return text, ok
}

// Load returns the content of the file. Where that is in memory as a whole its
// size is exact from then on.
func (f *File) Load(ctx context.Context) (Bytes, error) {
	b, err := f.load(ctx)
	if err != nil {
		return nil, err
	}
	if l, ok := b.(Loaded); ok {
		f.mu.Lock()
		exact := f.exact
		f.mu.Unlock()
		if !exact {
			f.setSize(int64(len(l)))
		}
	}
	return b, nil
}

func (f *File) load(ctx context.Context) (Bytes, error) {
	if f.Kind == Attachment && f.Part.Size > pieceSize {
		return f.streamed(f.Part.Section, f.Part.Encoding, f.Part.Size), nil
	}
	whole, err := f.message.parse(ctx)
	if err != nil {
		return nil, err
	}
	if whole != nil {
		if text, ok := whole.text(f.Kind); ok {
			return Loaded(text), nil
		}
	}
	switch f.Kind {
	case Headers:
		header, err := f.message.section(ctx, "HEADER")
		charset := ""
		if err == nil && !utf8.Valid(header) {
			var root *mail.Part
			if root, err = f.message.Structure(ctx); err == nil {
				charset = root.Charset()
			}
		}
		return Loaded(mail.HeadersText(header, charset)), err
	case Body:
		return f.message.body(ctx)
	case Raw:
		attr, err := f.message.Attr(ctx)
		return f.streamed("", "binary", attr.Size), err
	case HTML:
		return f.message.html(ctx, whole)
	case Attachment:
		body, encoding, err := f.encoded(ctx, whole)
		if err != nil {
			return nil, err
		}
		d := mail.NewDecoder(encoding)
		return Loaded(d.Decode(nil, body, true)), nil
	}
	return nil, errors.New("a file of no kind")
}

// body puts the text of a large message together from its parts.
func (m *Message) body(ctx context.Context) (Loaded, error) {
	root, err := m.Structure(ctx)
	if err != nil {
		return nil, err
	}
	parts := root.Text()
	bodies := make([][]byte, len(parts))
	for i, p := range parts {
		bodies[i], err = m.section(ctx, p.Section)
		if err != nil {
			return nil, err
		}
	}
	return mail.BodyText(parts, bodies), nil
}

// html puts body.html together. whole is the message if it is small.
func (m *Message) html(ctx context.Context, whole *parsed) (Loaded, error) {
	var root *mail.Part
	var err error
	if whole != nil {
		root = whole.root
	} else if root, err = m.Structure(ctx); err != nil {
		return nil, err
	}
	parts := root.HTML()
	bodies := make([][]byte, len(parts))
	for i, p := range parts {
		if whole != nil {
			bodies[i], _ = root.Bytes(whole.raw, p.Section)
		} else if bodies[i], err = m.section(ctx, p.Section); err != nil {
			return nil, err
		}
	}
	return mail.HTMLFile(parts, bodies), nil
}

// encoded returns the body of f.Part as it is in the message, and its encoding. It
// is cut out of a small message, if what Parse finds there is the part that the
// server has described, which it may not be in a message with broken MIME.
func (f *File) encoded(ctx context.Context, whole *parsed) ([]byte, string, error) {
	if whole != nil {
		p := whole.root.Find(f.Part.Section)
		if p != nil && p.Type == f.Part.Type && p.Filename == f.Part.Filename {
			body, _ := whole.root.Bytes(whole.raw, p.Section)
			return body, p.Encoding, nil
		}
	}
	body, err := f.message.section(ctx, f.Part.Section)
	return body, f.Part.Encoding, err
}

// streamed returns the file's stream, one for all who have it open.
func (f *File) streamed(section, encoding string, claimed int64) Bytes {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stream == nil {
		f.stream = newStream(f.message, section, encoding, claimed)
	}
	return f.stream
}
