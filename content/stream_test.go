package content

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// encodings make an encoded body of about n octets.
var encodings = []struct {
	name string
	make func(r *rand.Rand, n int) []byte
}{
	{"binary", randomBytes},
	{"base64", func(r *rand.Rand, n int) []byte {
		return wrap(r, []byte(base64.StdEncoding.EncodeToString(randomBytes(r, n*3/4+1)))[:n])
	}},
	{"quoted-printable", func(r *rand.Rand, n int) []byte {
		b := make([]byte, 0, n)
		tokens := []string{"plain text ", "=C3=A9", "=\r\n", "\r\n", "=", "=4", "=zz", "==", "=\n", "x"}
		for len(b) < n {
			b = append(b, tokens[r.IntN(len(tokens))]...)
		}
		return b[:n]
	}},
	{"x-uuencode", func(r *rand.Rand, n int) []byte {
		b := []byte("begin 644 x\r\n")
		for len(b) < n {
			b = append(b, 'M')
			for range 60 {
				b = append(b, byte(' '+1+r.IntN(60)))
			}
			b = append(b, "\r\n"...)
		}
		return b[:n]
	}},
	// No file comes out of the first pieces: all their marks are at 0.
	{"base64", func(r *rand.Rand, n int) []byte {
		b := bytes.Repeat([]byte("\r\n"), n/2+1)
		copy(b[n*3/4:], base64.StdEncoding.EncodeToString(randomBytes(r, n/6)))
		return b[:n]
	}},
	// The file ends long before its encoded body does.
	{"base64", func(r *rand.Rand, n int) []byte {
		b := bytes.Repeat([]byte("footer\r\n"), n/8+1)
		copy(b, base64.StdEncoding.EncodeToString(randomBytes(r, 100))) // ends with "=="
		return b[:n]
	}},
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(r.Uint32()), byte(n)}).Read(b)
	return b
}

// wrap breaks lines at odd lengths, within len(b) octets.
func wrap(r *rand.Rand, b []byte) []byte {
	var out []byte
	for n := len(b); len(b) > 0 && len(out) < n; {
		k := min(1+r.IntN(150), len(b))
		out = append(append(out, b[:k]...), "\r\n"...)
		b = b[k:]
	}
	return out
}

func streamOf(t testing.TB, f *fakemail.Server, budget int64, encoding string, body []byte, claimed int64) *stream {
	f.Validity = 1
	f.Mail = map[uint32]fakemail.Message{1: {Parts: map[string][]byte{"1": body}}}
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}
	return newStream(newStore(t, f, budget).Message(id), "1", encoding, claimed)
}

func decode(encoding string, body []byte) []byte {
	d := mail.NewDecoder(encoding)
	return d.Decode(nil, body, true)
}

func checkRead(s *stream, whole []byte, off, n int) error {
	got, err := s.Read(context.Background(), make([]byte, n), int64(off))
	if err != nil {
		return fmt.Errorf("read %d bytes at %d: %w", n, off, err)
	}
	want := whole[min(off, len(whole)):min(off+n, len(whole))]
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes at %d of %d: got %d bytes that are not the file's %d", n, off, len(whole), len(got), len(want))
	}
	return nil
}

func TestStreamReadsTheDecodedWhole(t *testing.T) {
	const tiny, ample = 1000, 1 << 30
	for i, e := range encodings {
		for _, size := range []int{0, 1, pieceSize - 1, pieceSize, 2*pieceSize + 1} {
			r := rand.New(rand.NewPCG(uint64(i), uint64(size)))
			body := e.make(r, size)
			whole := decode(e.name, body)
			for _, claimed := range []int64{int64(size), 5, 50 * pieceSize} {
				budget := int64(ample)
				if claimed == 5 {
					budget = tiny
				}
				s := streamOf(t, &fakemail.Server{}, budget, e.name, body, claimed)
				fail := func(err error) { t.Fatalf("%s (%d), %d octets, claimed %d: %v", e.name, i, size, claimed, err) }
				sizeFirst := r.IntN(2) == 0
				checkSize := func() {
					if got, err := s.size(context.Background()); err != nil || got != int64(len(whole)) {
						fail(fmt.Errorf("size %d, %v; want %d", got, err, len(whole)))
					}
				}
				if sizeFirst {
					checkSize()
				}
				for _, at := range []int{len(whole) / 2, len(whole) - 1, len(whole) + 3*pieceSize, r.IntN(len(whole) + 1)} {
					if err := checkRead(s, whole, max(at, 0), r.IntN(pieceSize)); err != nil {
						fail(err)
					}
				}
				checkSize()
			}
		}
	}
}

func TestStreamConcurrentReaders(t *testing.T) {
	for i, e := range encodings {
		body := e.make(rand.New(rand.NewPCG(7, uint64(i))), 3*pieceSize+11)
		whole := decode(e.name, body)
		s := streamOf(t, &fakemail.Server{}, 2*pieceSize, e.name, body, int64(len(body)))
		var wg sync.WaitGroup
		for reader := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(reader, 1))
				for range 3 {
					if err := checkRead(s, whole, r.IntN(len(whole)+1), 1+r.IntN(128<<10)); err != nil {
						t.Errorf("%s: %v", e.name, err)
					}
				}
				if size, err := s.size(context.Background()); err != nil || size != int64(len(whole)) {
					t.Errorf("%s: size %d, %v; want %d", e.name, size, err, len(whole))
				}
			})
		}
		wg.Wait()
	}
}

func TestStreamRecoversFromAnError(t *testing.T) {
	down := errors.New("the line is down")
	for i, e := range encodings {
		body := e.make(rand.New(rand.NewPCG(9, uint64(i))), 2*pieceSize+100)
		whole := decode(e.name, body)
		var mu sync.Mutex
		broken := true
		f := &fakemail.Server{Fails: func(_ string, off int64) error {
			mu.Lock()
			defer mu.Unlock()
			if broken && off > 0 {
				return down
			}
			return nil
		}}
		s := streamOf(t, f, 1000, e.name, body, int64(len(body)))
		if _, err := s.size(context.Background()); !errors.Is(err, down) {
			t.Errorf("%s: size while the line is down: %v", e.name, err)
		}
		mu.Lock()
		broken = false
		mu.Unlock()
		// A load of the bad time may still end now, with its error.
		for range 100 {
			if _, err := s.size(context.Background()); err == nil {
				break
			}
		}
		if err := checkRead(s, whole, 0, len(whole)+1); err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
	}
}
