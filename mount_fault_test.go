package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// These tests disturb the line to the server, or kill the server, while
// programs use the mount. Reads may fail then, but never bring wrong bytes or
// hang, and nothing is deleted that was not to be.

const (
	faultTimeout = 3 * time.Second // --timeout
	faultMargin  = 5 * time.Second // that a system call may take beyond it; it is about hanging
	faultCuts    = 3               // places at which a session is cut
	allFaultCuts = 12
	allPlaces    = 3 // places at which each other fault strikes, one otherwise
)

// allFaults, set to anything, makes TestFaults and TestDeletionsRace take their
// time: several minutes, for changes of what they are about.
const allFaults = "IMAPFS_TEST_ALL_FAULTS"

// fault is one way to be cut off. It strikes in the middle of what the job
// takes from the server.
type fault struct {
	name   string
	lasts  time.Duration
	strike func(s server, l *line) error
	end    func(s server, l *line) error // besides healing the line
}

func toxic(kind, attributes string, streams ...string) func(server, *line) error {
	return func(_ server, l *line) error {
		for _, stream := range streams {
			if err := l.disturb(kind, stream, attributes); err != nil {
				return err
			}
		}
		return nil
	}
}

const cutAfter = "cut after N bytes"

var faults = []fault{
	{name: "reset", lasts: time.Second, strike: toxic("reset_peer", `"timeout": 0`, "downstream", "upstream")},
	{name: "half-dead", lasts: faultTimeout + 2*time.Second, strike: toxic("timeout", `"timeout": 0`, "downstream", "upstream")},
	{name: "2 kB a second", lasts: faultTimeout, strike: toxic("bandwidth", `"rate": 2`, "downstream")},
	{name: "300 ms jitter", lasts: faultTimeout, strike: toxic("latency", `"latency": 300, "jitter": 300`, "downstream")},
	{name: "killed, restarted", lasts: time.Second,
		strike: func(s server, _ *line) error { s.machine.Kill(); return nil },
		end:    func(s server, _ *line) error { return s.machine.Restart() }},
	// The limit is in place before the job begins: see faultRun.run.
	{name: cutAfter, lasts: 200 * time.Millisecond, strike: func(server, *line) error { return nil }},
}

// faultJob is what a program does meanwhile.
type faultJob struct {
	name    string
	command func(mnt, out string) []string
	// check returns what is wrong with what the command brought.
	check func(r *faultRun, stdout []byte, stderr string) []string
}

// removed are the messages that rm -r deletes.
var removed = []int{3, 8, 9, 10, 21, 30, 31, 44, 59, 60}

var faultJobs = []faultJob{
	{"grep -r", func(mnt, _ string) []string { return []string{"grep", "-ra", "", filepath.Join(mnt, faultFolder)} }, checkGrep},
	{"cp -r", func(mnt, out string) []string { return []string{"cp", "-r", filepath.Join(mnt, faultFolder), out} }, checkCopy},
	{"cat 5 MB", func(mnt, _ string) []string { return []string{"cat", filepath.Join(mnt, largeFile)} }, checkCat},
	{"rm -r", func(mnt, _ string) []string {
		args := []string{"rm", "-r"}
		for _, uid := range removed {
			args = append(args, filepath.Join(mnt, faultFolder, strconv.Itoa(uid)))
		}
		return args
	}, func(*faultRun, []byte, string) []string { return nil }}, // the server is asked at the end
}

// tally is a cell of the matrix.
type tally struct {
	runs, struck, failed, wrong, late, lost int
	slowest, recovery                       time.Duration
}

// matrix is what all runs together saw.
type matrix struct {
	mu    sync.Mutex
	cells map[string]*tally
}

func (m *matrix) add(f, job string, r *faultRun) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := f + "|" + job
	c := m.cells[key]
	if c == nil {
		c = &tally{}
		m.cells[key] = c
	}
	c.runs++
	if r.struck {
		c.struck++
	}
	if r.jobFailed {
		c.failed++
	}
	c.wrong += len(r.walk.wrong)
	c.late += r.walk.late
	c.lost += r.lost
	c.slowest = max(c.slowest, r.walk.slowest)
	c.recovery = max(c.recovery, r.recovery)
}

func (m *matrix) log(t *testing.T) {
	t.Logf("%-18s %-9s %4s %6s %10s %5s %10s %4s %12s %11s", "fault", "job", "runs", "struck", "job failed", "wrong", "over limit", "lost", "slowest call", "working in")
	for _, f := range faults {
		for _, j := range faultJobs {
			if c := m.cells[f.name+"|"+j.name]; c != nil {
				t.Logf("%-18s %-9s %4d %6d %10d %5d %10d %4d %10.1f s %9.1f s", f.name, j.name,
					c.runs, c.struck, c.failed, c.wrong, c.late, c.lost, c.slowest.Seconds(), c.recovery.Seconds())
			}
		}
	}
}

func TestFaults(t *testing.T) {
	need(t, "grep", "cp", "rm", "cat")
	forEachRealServer(t, testFaults)
}

func testFaults(t *testing.T, start func(t *testing.T) server) {
	// The truth, and what each job takes from the server, without any fault.
	s := start(t)
	truth := contents(t, s.top(mount(t, s.account)))
	if want := 3 * (faultMessages + 2); len(truth) != want {
		t.Fatalf("%d files without a fault, want %d", len(truth), want)
	}
	taken := map[string]int64{}
	for _, job := range faultJobs {
		l := newLine(t, start(t).account)
		mnt := l.top(mount(t, l.account, "--connections", "1"))
		before := l.wire.count()
		args := job.command(mnt, filepath.Join(t.TempDir(), "out"))
		run(t, args[0], args[1:]...)
		taken[job.name] = l.wire.count() - before
	}

	cuts, others := int64(faultCuts), int64(1)
	if os.Getenv(allFaults) != "" {
		cuts, others = allFaultCuts, allPlaces
	}
	m := matrix{cells: map[string]*tally{}}
	t.Run("matrix", func(t *testing.T) {
		for _, f := range faults {
			for _, job := range faultJobs {
				var places []int64
				if f.name == cutAfter {
					for i := range cuts {
						places = append(places, 1+i*(taken[job.name]-2)/(cuts-1))
					}
				} else {
					for i := range others {
						places = append(places, (2*i+1)*taken[job.name]/(2*others))
					}
				}
				for _, at := range places {
					t.Run(fmt.Sprintf("%s/%s/%d", f.name, job.name, at), func(t *testing.T) {
						t.Parallel()
						s := start(t)
						r := &faultRun{truth: truth}
						defer m.add(f.name, job.name, r)
						r.run(t, s, f, job, at)
					})
				}
			}
		}
	})
	m.log(t)
	for key, c := range m.cells {
		if c.struck == 0 {
			t.Errorf("%s never struck while the job ran", key)
		}
	}
}

// faultRun is one job with one fault.
type faultRun struct {
	truth map[string][]byte
	mnt   string // where the folders are
	out   string
	job   string

	walk      *walker
	struck    bool
	jobFailed bool
	lost      int
	recovery  time.Duration // from the end of the fault until all works again
}

func (r *faultRun) run(t *testing.T, s server, f fault, job faultJob, at int64) {
	l := newLine(t, s.account)
	connections := "4"
	switch f.name {
	case "reset":
		l.resettable(t)
	case cutAfter:
		connections = "1" // so that the bytes of the job are those of the connection
	}
	r.mnt = l.top(mount(t, l.account, "--timeout", faultTimeout.String(), "--connections", connections))
	r.out, r.job = filepath.Join(t.TempDir(), "out"), job.name
	r.walk = newWalker(r)

	tripped, placed := l.wire.arm(at)
	if f.name == cutAfter {
		if err := l.disturb("limit_data", "downstream", fmt.Sprintf(`"bytes": %d`, at)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	args := job.command(r.mnt, r.out)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.jobFailed = cmd.Wait() != nil
	}()
	select {
	case <-tripped:
		r.struck = true
	case <-ended:
		l.wire.disarm()
	}
	walked := r.walk.start()
	if err := f.strike(s, l); err != nil {
		t.Fatal(err)
	}
	close(placed)
	<-time.After(f.lasts)
	l.heal(t)
	if f.end != nil {
		if err := f.end(s, l); err != nil {
			t.Fatal(err)
		}
	}
	healed := time.Now()
	<-ended
	if ctx.Err() != nil {
		t.Errorf("%s does not end", job.name)
	}
	r.walk.stop()
	select {
	case <-walked:
	case <-time.After(within):
		t.Fatal("a system call hangs")
	}

	// This was never read before, so it needs the server.
	after := filepath.Join(r.mnt, "After", "1", "body.txt")
	eventually(t, "a read after healing works", func() bool { _, err := os.ReadFile(after); return err == nil })
	r.recovery = time.Since(healed)

	r.walk.wrong = append(r.walk.wrong, job.check(r, stdout.Bytes(), stderr.String())...)
	failed := r.checkServer(t, s, stderr.String())
	// Now all that is left can be read, without any error.
	for rel, want := range r.truth {
		if r.deletes(rel) {
			continue
		}
		got, err := os.ReadFile(filepath.Join(r.mnt, rel))
		if err != nil {
			t.Errorf("after healing: %v", err)
		} else if !bytes.Equal(got, want) {
			r.walk.wrong = append(r.walk.wrong, rel+" after healing")
		}
	}
	for _, w := range r.walk.wrong {
		t.Errorf("wrong: %s", w)
	}
	if r.walk.late > 0 {
		t.Errorf("%d calls took too long, up to %v", r.walk.late, r.walk.slowest)
	}
	if t.Failed() || r.jobFailed {
		t.Logf("%d messages that rm could not delete; the job said:\n%s", failed, stderr.String())
	}
}

// deletes tells whether rel is in a message that the job deletes.
func (r *faultRun) deletes(rel string) bool {
	parts := strings.Split(rel, "/")
	if r.job != "rm -r" || parts[0] != faultFolder {
		return false
	}
	uid, err := strconv.Atoi(parts[1])
	return err == nil && slices.Contains(removed, uid)
}

// checkServer compares what the server has with what rm said. It returns how
// many deletions rm reported as failed.
func (r *faultRun) checkServer(t *testing.T, s server, said string) (failed int) {
	t.Helper()
	c := s.client(t)
	there := map[int]bool{}
	for _, m := range messages(t, c, s.mailbox(faultFolder)) {
		there[int(m.uid)] = true
	}
	for uid := 1; uid <= faultMessages; uid++ {
		rel := faultFolder + "/" + strconv.Itoa(uid)
		reported := strings.Contains(said, filepath.Join(r.mnt, rel)+"'") || strings.Contains(said, filepath.Join(r.mnt, rel)+"/")
		switch {
		case !r.deletes(rel):
			if !there[uid] {
				r.lost++
				t.Errorf("message %d is lost", uid)
			}
		case reported:
			failed++
		case there[uid]:
			t.Errorf("rm says that it has deleted message %d, but the server still has it", uid)
		}
	}
	for _, folder := range []string{"Large", "After"} {
		if len(messages(t, c, s.mailbox(folder))) != 1 {
			r.lost++
			t.Errorf("the message of %s is lost", folder)
		}
	}
	return failed
}

// excused tells whether a program has reported path, or a directory above it.
func excused(said, path string) bool {
	for p := path; len(p) > 1; p = filepath.Dir(p) {
		if strings.Contains(said, "'"+p+"'") || strings.Contains(said, "grep: "+p+": ") || strings.Contains(said, "cat: "+p+": ") {
			return true
		}
	}
	return false
}

// compare says what is wrong with got. What was reported to have failed may be
// cut or missing, but not different.
func (r *faultRun) compare(rel string, got []byte, failed bool) []string {
	want := r.truth[rel]
	switch {
	case failed && !bytes.HasPrefix(want, got):
		return []string{fmt.Sprintf("%s: %d bytes are not the first of its %d (an error was reported)", rel, len(got), len(want))}
	case !failed && !bytes.Equal(got, want):
		return []string{fmt.Sprintf("%s: %d bytes instead of its %d, without an error", rel, len(got), len(want))}
	}
	return nil
}

// checkGrep takes the lines of each file together again.
func checkGrep(r *faultRun, stdout []byte, stderr string) (wrong []string) {
	found := map[string][]byte{}
	for line := range bytes.Lines(stdout) {
		path, text, _ := bytes.Cut(line, []byte(":"))
		rel, err := filepath.Rel(r.mnt, string(path))
		if err != nil || r.truth[rel] == nil {
			wrong = append(wrong, fmt.Sprintf("grep printed %.60q", line))
			continue
		}
		found[rel] = append(found[rel], text...)
	}
	for rel, want := range r.truth {
		if !strings.HasPrefix(rel, faultFolder+"/") {
			continue
		}
		got, failed := found[rel], excused(stderr, filepath.Join(r.mnt, rel))
		// grep ends the last line even where the file does not.
		if n := len(got); n > 0 && n != len(want) && !bytes.HasPrefix(want, got) || n == len(want)+1 {
			got = got[:n-1]
		}
		wrong = append(wrong, r.compare(rel, got, failed)...)
	}
	return wrong
}

func checkCopy(r *faultRun, _ []byte, stderr string) (wrong []string) {
	for rel := range r.truth {
		below, ok := strings.CutPrefix(rel, faultFolder+"/")
		if !ok {
			continue
		}
		got, err := os.ReadFile(filepath.Join(r.out, below))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, err.Error())
		}
		failed := excused(stderr, filepath.Join(r.mnt, rel))
		if err != nil && !failed {
			wrong = append(wrong, rel+": not copied, without an error")
			continue
		}
		wrong = append(wrong, r.compare(rel, got, failed)...)
	}
	return wrong
}

func checkCat(r *faultRun, stdout []byte, _ string) []string {
	return r.compare(largeFile, stdout, r.jobFailed)
}

// walker opens, stats and reads one file after the other, and looks how long
// each system call takes.
type walker struct {
	r    *faultRun
	quit chan struct{}

	wrong   []string
	late    int
	slowest time.Duration
}

func newWalker(r *faultRun) *walker { return &walker{r: r, quit: make(chan struct{})} }

func (w *walker) stop() { close(w.quit) }

// start walks until stop, over and over. The channel is closed at the end.
func (w *walker) start() <-chan struct{} {
	done := make(chan struct{})
	files := slices.Sorted(maps.Keys(w.r.truth))
	go func() {
		defer close(done)
		ticker := time.NewTicker(2 * time.Millisecond) // the job needs the processor too
		defer ticker.Stop()
		for i := 0; ; i = (i + 1) % len(files) {
			select {
			case <-w.quit:
				return
			case <-ticker.C:
			}
			if !strings.HasPrefix(files[i], "After/") {
				w.file(files[i])
			}
		}
	}()
	return done
}

// call runs one system call and looks how long it takes.
func (w *walker) call(f func() error) error {
	began := time.Now()
	err := f()
	took := time.Since(began)
	w.slowest = max(w.slowest, took)
	if took > faultTimeout+faultMargin {
		w.late++
	}
	return err
}

// file looks at one file. That it cannot be read is no wrong answer, but that
// it does not exist is one.
func (w *walker) file(rel string) {
	path := filepath.Join(w.r.mnt, rel)
	gone := func(err error) bool {
		if errors.Is(err, fs.ErrNotExist) && !w.r.deletes(rel) {
			w.wrong = append(w.wrong, rel+": No such file or directory")
		}
		return err != nil
	}
	if gone(w.call(func() error { _, err := os.Stat(path); return err })) {
		return
	}
	if rel == largeFile && w.r.job != "cat 5 MB" {
		return // not for each of the jobs
	}
	var fd int
	err := w.call(func() (err error) { fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); return err })
	if gone(err) {
		return
	}
	f := os.NewFile(uintptr(fd), path)
	defer w.call(f.Close)
	gone(w.call(func() error { _, err := f.Stat(); return err }))
	var got []byte
	buffer := make([]byte, 128<<10)
	for {
		var n int
		err := w.call(func() (err error) { n, err = f.Read(buffer); return err })
		got = append(got, buffer[:n]...)
		if err != nil {
			gone(err)
			w.wrong = append(w.wrong, w.r.compare(rel, got, err != io.EOF)...)
			return
		}
	}
}

// resettable makes every connection from now on end with RST instead of FIN.
// Toxiproxy decides that when the connection is made, and if there is a
// reset_peer toxic then, even one that never acts.
func (l *line) resettable(t *testing.T) {
	t.Helper()
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(`{"type": "reset_peer", "name": "linger", "toxicity": 0}`)); err != nil {
		t.Fatal(err)
	}
}

func (w *tripwire) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = 0
}

func (w *tripwire) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}
