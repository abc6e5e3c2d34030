package cache

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes the test program one that uses a cache, see child.
const childEnv = "IMAPFS_CACHE_CHILD"

// fullEnv tells TestDiskFull that it is in a process of its own.
const fullEnv = "IMAPFS_CACHE_FULL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// child puts, reads and deletes in the cache in dir for ever. It prints a line
// "put K" or "deleted K" when that has been written.
func child(dir string) {
	tune := quick
	tune.noSync = false
	d, err := openDisk(dir, 100<<20, slog.New(slog.DiscardHandler), tune)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	for {
		var changes []string
		for range 1 + random.Intn(20) {
			change := fmt.Sprintf("put %d/%d", random.Intn(20), random.Intn(20))
			if random.Intn(20) == 0 {
				change = fmt.Sprintf("deleted %d", random.Intn(20))
			}
			changes = append(changes, change)
		}
		fmt.Println("begun " + strings.Join(changes, ", "))
		for _, change := range changes {
			verb, key, _ := strings.Cut(change, " ")
			if verb == "put" {
				d.Put(key, valueOf(key))
			} else {
				d.Delete(key + "/")
			}
			d.Get(key)
		}
		d.flush()
		fmt.Println("done " + strings.Join(changes, ", "))
	}
}

// start starts a child, and returns what it prints.
func start(t *testing.T, dir string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, out
}

// What was written stays, and what was deleted stays away, whenever the process
// is killed.
func TestDiskKilled(t *testing.T) {
	dir := t.TempDir()
	const there, gone, either = 1, 2, 3
	state := make(map[string]int) // by key; 0: gone
	all := func(f func(key string)) {
		for a := range 20 {
			for b := range 20 {
				f(fmt.Sprintf("%d/%d", a, b))
			}
		}
	}
	rounds, looked := 50, 0
	for range rounds {
		cmd, out := start(t, dir)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		most := 1 + rand.Intn(12)
		var killer *time.Timer
		for n := 0; lines.Scan(); n++ {
			what, list, _ := strings.Cut(lines.Text(), " ")
			if what == "error" {
				t.Fatal(list)
			}
			for change := range strings.SplitSeq(list, ", ") {
				verb, key, _ := strings.Cut(change, " ")
				is := map[string]int{"put": there, "deleted": gone}[verb]
				all(func(k string) {
					if k != key && !(verb == "deleted" && strings.HasPrefix(k, key+"/")) {
						return
					}
					if what == "begun" && state[k] != is {
						state[k] = either // until it is done
					} else {
						state[k] = is
					}
				})
			}
			if n == most { // some time in the next batch
				killer = time.AfterFunc(time.Duration(rand.Intn(20_000))*time.Microsecond, func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		if killer == nil {
			t.Fatal("the child ended by itself")
		}
		d := openTest(t, dir, 100<<20)
		all(func(k string) {
			found := check(t, d, k)
			if state[k] == there && !found {
				t.Fatalf("%s was written, and is lost", k)
			}
			if (state[k] == gone || state[k] == 0) && found {
				t.Fatalf("%s was deleted, and is there", k)
			}
			if state[k] = gone; found {
				state[k] = there
				looked++
			}
		})
		if d.damages > 0 {
			t.Fatal("the cache was damaged")
		}
		d.Close()
	}
	if looked < rounds {
		t.Errorf("%d values were found in %d rounds: that proves little", looked, rounds)
	}
}

// A second process learns that the cache is in use; when the first one is
// killed, it is free.
func TestDiskTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	cmd, out := start(t, dir)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		t.Fatal("the child says nothing")
	}
	if d, err := OpenDisk(dir, 1<<20, slog.New(slog.DiscardHandler)); err == nil {
		d.Close()
		t.Fatal("two processes have one cache")
	} else if !strings.Contains(err.Error(), ErrInUse.Error()) {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	cmd.Wait()
	openTest(t, dir, 1<<20)
}

// A disk that is full is a file that may not grow, for a process with a limit.
func TestDiskFull(t *testing.T) {
	// The limit holds for all that the process writes.
	if os.Getenv(fullEnv) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestDiskFull$", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), fullEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	limit := old
	limit.Cur = 600 << 10

	dir := t.TempDir()
	d := openTest(t, dir, 100<<20)
	d.Put("x/old", valueOf("x/old"))
	d.Put("x/replaced", []byte("old"))
	d.flush()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	key := func(i int) string { return fmt.Sprint("y/", i) }
	for i := range 500 {
		d.Put(key(i), valueOf(key(i)))
	}
	d.Put("x/replaced", []byte("new"))
	d.Delete("x/old")
	d.mu.Lock()
	failed := len(d.said) > 0
	for ; !failed; failed = len(d.said) > 0 {
		d.room.Wait()
	}
	d.mu.Unlock()
	if d.Lost() == 0 {
		t.Error("what is lost is not told")
	}
	for i := range 500 {
		check(t, d, key(i))
	}
	if v, ok := d.Get("x/replaced"); ok && string(v) != "new" {
		t.Errorf("an old value came back: %q", v)
	}
	if d.Has("x/old") {
		t.Error("a deleted value came back")
	}

	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	for !d.Has("later") { // when it tries again
		d.Put("later", []byte("x"))
		d.flush()
	}
	d.Close()
	d = openTest(t, dir, 100<<20)
	for i := range 500 {
		check(t, d, key(i))
	}
	if v, ok := d.Get("x/replaced"); ok && string(v) != "new" {
		t.Errorf("after a restart, an old value came back: %q", v)
	}
	if d.Has("x/old") || !d.Has("later") {
		t.Error("after a restart, a deleted value is there, or a new one is not")
	}
}
