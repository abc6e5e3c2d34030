package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// quick is a tuning for tests: nothing is waited for, each use is noted.
var quick = tuning{touches: 1, pending: 1 << 20, batch: 200 << 10, steps: 50, retry: time.Millisecond, noSync: true, clock: time.Now}

func openTest(t testing.TB, dir string, budget int64) *Disk {
	t.Helper()
	d, err := openDisk(dir, budget, slog.New(slog.DiscardHandler), quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// flush waits until nothing waits to be written.
func (d *Disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) > 0 || d.totals.used > d.budget {
		d.room.Wait()
	}
}

// valueOf is the one right value of a key: some are empty, most small, some
// large.
func valueOf(key string) []byte {
	h := fnv.New64a()
	h.Write([]byte(key))
	random := rand.New(rand.NewSource(int64(h.Sum64())))
	size := random.Intn(5000)
	switch random.Intn(20) {
	case 0:
		size = 0
	case 1:
		size = largest - 1 + random.Intn(3)
	case 2:
		size = 50_000 + random.Intn(100_000)
	}
	value := make([]byte, size)
	random.Read(value)
	return value
}

// check fails if a value is not the right one, and tells whether it is there.
func check(t testing.TB, d *Disk, key string) bool {
	t.Helper()
	value, ok := d.Get(key)
	if ok && !bytes.Equal(value, valueOf(key)) {
		t.Fatalf("%s has a wrong value of %d bytes", key, len(value))
	}
	return ok
}

func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	d := openTest(t, dir, 100<<20)
	var keys []string
	for i := range 500 {
		key := fmt.Sprintf("7/%d/x", i)
		keys = append(keys, key)
		d.Put(key, valueOf(key))
	}
	look := func(when string) {
		t.Helper()
		for _, key := range keys {
			if !check(t, d, key) || !d.Has(key) {
				t.Fatalf("%s: %s is not there", when, key)
			}
			if n := d.Sizes([]string{"no such key", key})[1]; n != int64(len(valueOf(key))) {
				t.Fatalf("%s: %s has %d bytes", when, key, n)
			}
		}
		if _, ok := d.Get("7/500/x"); ok || d.Has("7/500/x") || d.Has("7/") {
			t.Fatalf("%s: there is what was not put", when)
		}
	}
	look("at once")
	d.flush()
	look("when written")
	if n := d.Len(); n != len(keys) {
		t.Errorf("%d values are kept, want %d", n, len(keys))
	}
	d.Close()
	d = openTest(t, dir, 100<<20)
	look("after a restart")

	d.Put(keys[0], []byte("another"))
	d.flush()
	if v, _ := d.Get(keys[0]); string(v) != "another" || d.Len() != len(keys) {
		t.Errorf("a value that was put anew is %q", v)
	}
	for _, name := range []string{".", indexName, filesName, lockName} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can get at %s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestDiskDelete(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, 100<<20)
	put := func() {
		for i := range 300 {
			for _, folder := range []string{"a/", "b/", "b"} {
				key := fmt.Sprint(folder, i)
				d.Put(key, valueOf(key))
			}
		}
	}
	look := func(when string) {
		t.Helper()
		for i := range 300 {
			for folder, want := range map[string]bool{"a/": true, "b/": false, "b": true} {
				if key := fmt.Sprint(folder, i); check(t, d, key) != want || d.Has(key) != want {
					t.Fatalf("%s: %s is there: %v", when, key, !want)
				}
			}
		}
	}
	put()
	d.Delete("b/")
	look("at once")
	d.flush()
	look("when written")
	put()
	d.flush()
	d.Delete("b/")
	look("at once, of what was written")
	d.Put("b/new", []byte("x"))
	if !d.Has("b/new") {
		t.Error("what was put after the deletion is not there")
	}
	d.flush()
	look("when written, of what was written")
	if !d.Has("b/new") || d.Len() != 601 {
		t.Errorf("%d values are left, want 601", d.Len())
	}
	d.Close()
	d = openTest(t, dir, 100<<20)
	look("after a restart")
	d.Delete("")
	d.flush()
	if d.Len() != 0 || d.Used() != 0 {
		t.Errorf("of all that was deleted, %d values with %d bytes are left", d.Len(), d.Used())
	}
	if files, _ := os.ReadDir(filepath.Join(dir, filesName)); len(files) != 0 {
		t.Errorf("%d files are left", len(files))
	}
}

// What waits to be written does not hide what is on the disk.
func TestDiskSizesOfSome(t *testing.T) {
	d := openTest(t, t.TempDir(), 1<<20)
	d.Put("written", []byte("four"))
	d.flush()
	d.mu.Lock()
	d.waiting["waits"] = &change{kind: put, key: "waits", value: []byte("x")} // for good
	d.mu.Unlock()
	if got := d.Sizes([]string{"none", "written", "waits"}); !slices.Equal(got, []int64{-1, 4, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestDiskBudget(t *testing.T) {
	const budget = 3 << 20
	dir := t.TempDir()
	d := openTest(t, dir, budget)
	key := func(i int) string { return fmt.Sprintf("%d/some/folder", i) }
	for i := range 3000 {
		d.Put(key(i), valueOf(key(i)))
		if i%100 == 0 {
			d.flush()
			check(t, d, key(0)) // a use
			d.Put("flush", nil)
			d.flush()
		}
	}
	d.flush()
	if d.Used() > budget {
		t.Errorf("%d bytes are used of %d", d.Used(), budget)
	}
	if !d.Has(key(0)) {
		t.Error("what was used again and again is gone")
	}
	if d.Has(key(1)) || d.Has(key(1000)) {
		t.Error("what was not used for the longest time is still there")
	}
	for i := 2900; i < 3000; i++ {
		if !check(t, d, key(i)) {
			t.Errorf("the new %s is gone", key(i))
		}
	}
	if n := taken(dir); n > budget*5/4+4*quick.batch { // pages that are free for the next transactions
		t.Errorf("%d bytes are taken on the disk; the budget is %d", n, budget)
	}
	d.Put(key(2999), make([]byte, budget))
	if d.flush(); d.Has(key(2999)) || !d.Has(key(2998)) {
		t.Error("a value above the budget is not kept, nor what it replaces, but others are")
	}
	d.Close()
	d = openTest(t, dir, budget/10)
	d.Put("new", []byte("x"))
	d.flush()
	if d.Used() > budget/10 || !d.Has("new") {
		t.Errorf("after the budget became smaller, %d bytes are used", d.Used())
	}
}

func TestDiskInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	d := openTest(t, dir, 1<<20)
	d.Put("k", []byte("v"))
	if _, err := OpenDisk(dir, 1<<20, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrInUse) {
		t.Fatalf("opened twice: %v", err)
	}
	if err := Clear(dir); !errors.Is(err, ErrInUse) {
		t.Fatalf("cleared while in use: %v", err)
	}
	list := func() string {
		accounts, err := Accounts(filepath.Dir(dir))
		s := fmt.Sprint(err)
		for _, a := range accounts {
			s += fmt.Sprint(" ", a.Name, " ", a.InUse, " ", a.Bytes > 0)
		}
		return s
	}
	if s := list(); s != "<nil> x true true" {
		t.Errorf("the list says %s", s)
	}
	d.Close()
	if s := list(); s != "<nil> x false true" {
		t.Errorf("after the end, the list says %s", s)
	}
	if err := Clear(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was cleared and is still there: %v", err)
	}
	if s := list(); s != "<nil>" {
		t.Errorf("after it was cleared, the list says %s", s)
	}
	if err := Clear(dir); err != nil {
		t.Errorf("clearing nothing: %v", err)
	}
}

func TestNilDisk(t *testing.T) {
	var d *Disk
	d.Put("k", []byte("v"))
	d.Delete("")
	if _, ok := d.Get("k"); ok || d.Has("k") || d.Used() != 0 || d.Budget() != 0 || d.Len() != 0 {
		t.Error("a cache that keeps nothing keeps something")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestDiskConcurrently(t *testing.T) {
	d := openTest(t, t.TempDir(), 2<<20)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewSource(int64(w)))
			for range 500 {
				key := fmt.Sprintf("%d/%d", random.Intn(4), random.Intn(100))
				switch random.Intn(10) {
				case 0:
					d.Delete(key[:2])
				case 1, 2, 3:
					d.Put(key, valueOf(key))
				case 4:
					d.Has(key)
				default:
					check(t, d, key)
				}
			}
		})
	}
	wg.Wait()
	d.Close()
	d.Put("after", nil)
	d.Delete("after")
	if d.Has("after") {
		t.Error("a closed cache keeps something")
	}
}

func TestSecondLevel(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	d := openTest(t, dir, 1<<20)
	c := New(3*overhead, d) // no room for more than two
	loads := 0
	get := func(key string) {
		t.Helper()
		value, err := c.Get(ctx, key, func() ([]byte, error) { loads++; return []byte(key), nil })
		if err != nil || !bytes.Equal(value, []byte(key)) {
			t.Fatalf("got %x, %v", value, err)
		}
	}
	keys := strings.Fields("m1 m2 m3 m4 m5 m6")
	for _, key := range keys {
		get(key)
	}
	l := c.Claim("claimed")
	l.Keep([]byte("mail"))
	if c.Comes("claimed") || c.Claim("claimed") != nil || c.Claim("m1") != nil {
		t.Error("what is on the disk is to be fetched again")
	}
	d.Close()
	d = openTest(t, dir, 1<<20)
	c = New(1<<20, d)
	if v, ok := c.Peek("claimed"); !ok || string(v) != "mail" || c.Used() == 0 {
		t.Errorf("after a restart, %q is there", v)
	}
	for _, key := range keys {
		get(key)
	}
	if loads != len(keys) {
		t.Errorf("%d loads for %d values", loads, len(keys))
	}
}

func TestDiskOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chown(dir, 4711, -1); err != nil {
		t.Skip(err) // only root can
	}
	if d, err := OpenDisk(dir, 1<<20, slog.New(slog.DiscardHandler)); err == nil {
		d.Close()
		t.Error("a directory in which another user could read the mail was taken")
	}
}

// Somebody may keep the cache on another disk.
func TestAccountsBehindALink(t *testing.T) {
	elsewhere, root := t.TempDir(), t.TempDir()
	link := filepath.Join(root, "x")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	d := openTest(t, link, 1<<20)
	d.Put("k", []byte("v"))
	d.Close()
	if accounts, err := Accounts(root); err != nil || len(accounts) != 1 || accounts[0].Bytes == 0 {
		t.Errorf("the list says %+v, %v", accounts, err)
	}
	if err := Clear(link); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("it was cleared, and has %v, %v", left, err)
	}
}

// Who waits for what was put does not wait for more to come.
func TestDiskFlushDoesNotLinger(t *testing.T) {
	tune := quick
	tune.linger = time.Hour
	d, err := openDisk(t.TempDir(), 1<<20, slog.New(slog.DiscardHandler), tune)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, key := range []string{"a", "b"} {
		d.Put(key, []byte("v"))
		flushed := make(chan struct{})
		go func() {
			d.Flush()
			close(flushed)
		}()
		select {
		case <-flushed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not written", key)
		}
	}
}
