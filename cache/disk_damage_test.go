package cache

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
)

// Whatever happens to the files, the cache opens, gives no wrong byte, takes
// new values, and is whole again after that.
func TestDiskDamage(t *testing.T) {
	whole := t.TempDir()
	d := openTest(t, whole, 100<<20)
	key := func(i int) string { return fmt.Sprintf("%d/%d/INBOX", i%3, i) }
	const values = 400
	for i := range values {
		d.Put(key(i), valueOf(key(i)))
		if i%50 == 0 {
			d.flush()
			d.Delete(key(i / 2))
		}
	}
	d.Close()

	trials := 60
	if testing.Short() {
		trials = 10
	}
	if n, err := fmt.Sscan(os.Getenv("IMAPFS_DAMAGE_TRIALS"), &trials); n > 0 && err != nil {
		t.Fatal(err)
	}
	left := 0
	for trial := range trials {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewSource(int64(trial)))
		what := damage(t, dir, random)

		d := openTest(t, dir, 100<<20)
		for i := range values {
			if check(t, d, key(i)) {
				left++
			}
		}
		for i := range 50 {
			k := key(random.Intn(2 * values))
			if i%10 == 0 {
				d.Delete(k[:3])
			}
			d.Put(k, valueOf(k))
			check(t, d, k)
		}
		d.flush()
		for i := range 2 * values {
			check(t, d, key(i))
		}
		// Each use, and each opening, may find damage; what is thrown away
		// then is the last of it.
		kept := false
		for try := 0; !kept && try <= 2*mostDamages; try++ {
			d.Put("new", valueOf("new"))
			d.flush()
			if err := d.Close(); err != nil {
				t.Fatalf("trial %d, %s: %v", trial, what, err)
			}
			d = openTest(t, dir, 100<<20)
			for i := range 2 * values {
				check(t, d, key(i))
			}
			kept = check(t, d, "new")
		}
		if !kept {
			t.Errorf("trial %d, %s: nothing can be kept any more", trial, what)
		}
		d.Close()
		os.RemoveAll(dir)
	}
	if left < trials*values/10 {
		t.Errorf("of %d values, only %d survived: the trials prove little", trials*values, left)
	}
}

// damage changes a file of the cache at random, and says how.
func damage(t *testing.T, dir string, random *rand.Rand) string {
	t.Helper()
	name := filepath.Join(dir, indexName)
	if random.Intn(10) == 0 {
		files, err := os.ReadDir(filepath.Join(dir, filesName))
		if err != nil || len(files) == 0 {
			t.Fatal("no files", err)
		}
		name = filepath.Join(dir, filesName, files[random.Intn(len(files))].Name())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pages := len(b) / 4096
	page := func() []byte { i := random.Intn(pages); return b[i*4096 : (i+1)*4096] }
	what := ""
	switch random.Intn(8) {
	case 0, 1:
		n := 1 + random.Intn(100)
		what = fmt.Sprint(n, " bytes changed")
		for range n {
			b[random.Intn(len(b))] ^= byte(1 + random.Intn(255))
		}
	case 2, 3: // where a page says what it is
		n := 1 + random.Intn(20)
		what = fmt.Sprint(n, " bytes at the start of pages changed")
		for range n {
			page()[random.Intn(100)] ^= byte(1 << random.Intn(8))
		}
	case 4:
		what = "pages lost"
		for range 1 + random.Intn(5) {
			clear(page())
		}
	case 5:
		what = "pages put elsewhere"
		for range 1 + random.Intn(5) {
			copy(page(), page())
		}
	case 6:
		b = b[:random.Intn(len(b))]
		what = fmt.Sprint("truncated to ", len(b))
	case 7:
		what = "filled with noise"
		random.Read(b[random.Intn(len(b)):])
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return what + " in " + filepath.Base(name)
}
