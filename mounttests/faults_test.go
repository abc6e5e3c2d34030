package mounttests

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"imapfs/internal/harness"
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
	harness.Need(t, "grep", "cp", "rm", "cat")
	forEachRealServer(t, testFaults)
}

func testFaults(t *testing.T, start func(t *testing.T) server) {
	// The truth, and what each job takes from the server, without any fault.
	s := start(t)
	truth := harness.Contents(t, s.Top(harness.Mount(t, s.Account)))
	if want := 3 * (faultMessages + 2); len(truth) != want {
		t.Fatalf("%d files without a fault, want %d", len(truth), want)
	}
	taken := map[string]int64{}
	for _, job := range faultJobs {
		l := newLine(t, start(t).Account)
		mnt := l.Top(harness.Mount(t, l.Account, "--connections", "1"))
		before := l.wire.count()
		args := job.command(mnt, filepath.Join(t.TempDir(), "out"))
		harness.Run(t, args[0], args[1:]...)
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
