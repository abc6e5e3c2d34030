package fs

import (
	"bytes"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
)

// TestSpool does the same to a spool and to bytes in memory, across the size at which
// it goes into a file.
func TestSpool(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, reach := range []int{100, spoolInMemory + 1000, 3 * spoolInMemory} {
		var all spools
		s := &spool{all: &all}
		var want []byte
		grow := func(n int) {
			if n > len(want) {
				want = append(want, make([]byte, n-len(want))...)
			}
		}
		for range 200 {
			off := r.IntN(reach)
			if r.IntN(4) == 0 {
				grow(off)
				want = want[:off]
				if err := s.Truncate(int64(off)); err != nil {
					t.Fatal(err)
				}
			} else {
				p := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, r.IntN(1000))
				grow(off + len(p))
				copy(want[off:], p)
				if n, err := s.WriteAt(p, int64(off)); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
			}
			if s.size() != int64(len(want)) {
				t.Fatalf("size %d, want %d", s.size(), len(want))
			}
		}
		got, err := io.ReadAll(io.NewSectionReader(s, 0, 1<<40))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("up to %d: %d bytes, %v; want %d", reach, len(got), err, len(want))
		}
		s.free()
		if all.memory != 0 {
			t.Errorf("%d bytes are still counted", all.memory)
		}
		if _, err := s.WriteAt([]byte("x"), 0); err != syscall.EIO {
			t.Errorf("writing afterwards: %v", err)
		}
	}
}

func TestSpoolBounds(t *testing.T) {
	all := spools{memory: spoolsInMemory - 1}
	s := &spool{all: &all}
	defer s.free()
	if _, err := s.WriteAt([]byte("xy"), 0); err != nil || s.file == nil {
		t.Errorf("with no memory left: %v, in a file %t", err, s.file != nil)
	}
	if err := s.Truncate(spoolMost + 1); err != syscall.EFBIG {
		t.Errorf("too large: %v", err)
	}
	if _, err := s.WriteAt([]byte("xy"), spoolMost-1); err != syscall.EFBIG {
		t.Errorf("too large: %v", err)
	}
	if s.size() != 2 {
		t.Errorf("size %d", s.size())
	}
}
