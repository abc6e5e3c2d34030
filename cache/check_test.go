package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A page that is its own child must not take the program down, nor one that is
// in the list of free pages.
func TestDiskPagesInACircle(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, 100<<20)
	const values = 1000
	for i := range values {
		d.Put(fmt.Sprint(i), valueOf(fmt.Sprint(i)))
	}
	d.Delete("2")
	d.Close()
	name := filepath.Join(dir, indexName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPages(&memory{whole}, int64(len(whole))); err != nil {
		t.Fatal("a good store:", err)
	}
	circles, lists := 0, 0
	try := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		d := openTest(t, dir, 100<<20)
		for i := range values {
			check(t, d, fmt.Sprint(i))
		}
		for i := range values / 10 {
			d.Put(fmt.Sprint(i), valueOf(fmt.Sprint(i)))
		}
		d.flush()
		d.Close()
	}
	for at := 0; at+databasePage <= len(whole); at += databasePage {
		id := uint64(at / databasePage)
		if native.Uint64(whole[at:]) != id {
			continue // the rest of a value
		}
		b := append([]byte(nil), whole...)
		page := b[at : at+databasePage]
		switch native.Uint16(page[8:]) {
		case branchPage:
			circles++
			for i := range native.Uint16(page[10:]) {
				native.PutUint64(page[pageHeader+int(i)*element+8:], id)
			}
			try(b)
		case freelistPage:
			lists++
			native.PutUint16(page[10:], 1)
			native.PutUint64(page[pageHeader:], id)
			try(b)
		}
	}
	if circles == 0 || lists == 0 {
		t.Errorf("%d circles and %d lists were tried: that proves nothing", circles, lists)
	}
}

type memory struct{ b []byte }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(m.b)) {
		return 0, os.ErrInvalid
	}
	return copy(p, m.b[off:]), nil
}
