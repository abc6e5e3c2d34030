package cache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// inFiles tells how often text is in the files below dir.
func inFiles(t *testing.T, dir, text string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		n += bytes.Count(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNothingIsLeft deletes values of all sizes, from a store in which pages were
// written over and over. Their bytes are in no file then, and the others are
// whole, for those too who read meanwhile.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, 64<<20)
	sizes := []int{10, 500, 3000, 5000, 20_000, 60_000, 100_000}
	value := func(key string, size int) []byte {
		return []byte(strings.Repeat("content of "+key+"; ", size/20+1))
	}
	put := func(round int) {
		for i := range 20 {
			for _, kind := range []string{"stays", "goes"} {
				key := fmt.Sprintf("%s %d/%d", kind, i, round)
				d.Put(key, value(key, sizes[(i+round)%len(sizes)]))
			}
			if i%5 == 0 {
				d.Flush()
			}
		}
	}
	check := func(rounds int) {
		t.Helper()
		for round := range rounds {
			for i := range 20 {
				key := fmt.Sprintf("stays %d/%d", i, round)
				if got, ok := d.Get(key); !ok || !bytes.Equal(got, value(key, sizes[(i+round)%len(sizes)])) {
					t.Errorf("%s is not what was put", key)
				}
			}
		}
	}
	for round := range 5 {
		put(round)
		d.Flush()
		if n := inFiles(t, dir, "content of goes"); n == 0 {
			t.Fatal("nothing is written")
		}
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						check(round + 1)
					}
				}
			})
		}
		for i := range 20 {
			d.Forget(fmt.Sprintf("goes %d/", i))
			if i%7 == 0 {
				d.Flush()
			}
		}
		d.Flush()
		close(stop)
		readers.Wait()
		if n := inFiles(t, dir, "content of goes"); n > 0 {
			t.Errorf("round %d: what was deleted is still there %d times", round, n)
		}
		check(round + 1)
		// What was on its way.
		d.Put("goes 3/late", value("goes", 500))
		d.Flush()
		if _, ok := d.Get("goes 3/late"); ok || inFiles(t, dir, "content of goes") > 0 {
			t.Error("what was on its way is kept")
		}
		if round == 2 {
			d.Close()
			d = openTest(t, dir, 64<<20)
			check(round + 1)
		}
		d.mu.Lock()
		clear(d.gone)
		d.mu.Unlock() // the next round has the same keys
	}
	// What went to make room goes from the file when its message is deleted, and
	// what a crash has left when the store is opened.
	d.Put("goes evicted", value("goes", 500))
	d.Flush()
	drop := func(key string) {
		d.mu.Lock()
		s := d.store
		d.mu.Unlock()
		if _, err := s.update(func(c *changes) error { _, err := c.remove(key); return err }); err != nil {
			t.Fatal(err)
		}
	}
	drop("goes evicted")
	if inFiles(t, dir, "content of goes") == 0 {
		t.Error("an entry that made room was scrubbed: this test shows nothing")
	}
	d.Forget("goes evicted")
	d.Flush()
	if n := inFiles(t, dir, "content of goes"); n > 0 {
		t.Errorf("what had made room is there %d times", n)
	}
	d.Put("goes late", value("goes", 500))
	d.Flush()
	drop("goes late")
	d.Close()
	d = openTest(t, dir, 64<<20)
	if n := inFiles(t, dir, "content of goes"); n > 0 {
		t.Errorf("what a crash has left is there %d times", n)
	}
	check(5)
	if d.damages > 0 || d.Lost() > 0 {
		t.Errorf("%d damages, %d lost", d.damages, d.Lost())
	}
}
