package mounttests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imapfs/internal/harness"
)

// TestServerRestart restarts the server in the middle of a grep -r: that costs
// time, and no error.
func TestServerRestart(t *testing.T) {
	harness.Need(t, "grep")
	forEachRealServer(t, testServerRestart)
}

func testServerRestart(t *testing.T, start func(t *testing.T) server) {
	s := start(t)
	l := newLine(t, s.Account)
	mnt := l.Top(harness.Mount(t, l.Account, "--timeout", "30s"))
	tripped, placed := l.wire.arm(150_000) // half of what is in faultFolder
	var restarting sync.WaitGroup
	defer restarting.Wait()
	restarting.Go(func() {
		select {
		case <-tripped:
		case <-time.After(harness.Within):
			t.Error("grep takes too little from the server")
			return
		}
		s.machine.Kill()
		close(placed)
		<-time.After(1500 * time.Millisecond) // as long as a restart takes
		if err := s.machine.Restart(); err != nil {
			t.Error(err)
		}
	})
	out := harness.Run(t, "grep", "-ra", "^Line 39 of", filepath.Join(mnt, faultFolder))
	if got := strings.Count(out, "\n"); got != faultMessages {
		t.Errorf("grep finds %d lines, want %d", got, faultMessages)
	}
}

// TestServerAway goes on reading while the server is away. What is cached can
// be read. The rest fails, and fast: only the first call may have to wait to
// find out. When the server is back, all works again.
func TestServerAway(t *testing.T) { forEachRealServer(t, testServerAway) }

func testServerAway(t *testing.T, start func(t *testing.T) server) {
	const (
		timeout = 10 * time.Second
		fast    = 5 * time.Second // for a call after the first one
	)
	for _, away := range []string{"refuses", "closes", "is silent"} {
		t.Run(away, func(t *testing.T) {
			s := start(t)
			l := newLine(t, s.Account)
			a := l.Account
			if away == "refuses" {
				a = s.Account
			}
			mnt := a.Top(harness.Mount(t, a, "--timeout", timeout.String()))
			folder := filepath.Join(mnt, faultFolder)
			harness.Names(t, folder)
			// Three that are not neighbours: nothing is read ahead.
			cached := map[string][]byte{}
			for _, uid := range []int{50, 7, 23} {
				for _, name := range []string{"headers.txt", "body.txt", "attachments/note.bin"} {
					path := filepath.Join(folder, fmt.Sprint(uid), name)
					cached[path] = harness.Read(t, path)
				}
			}
			if away == "is silent" {
				for _, stream := range []string{"upstream", "downstream"} {
					harness.Must(t, l.disturb("timeout", stream, `"timeout": 0`))
				}
			} else {
				s.machine.Kill()
			}

			stillCached := func() {
				t.Helper()
				for path, want := range cached {
					began := time.Now()
					if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
						t.Errorf("what is cached cannot be read: %d bytes, %v", len(got), err)
					}
					if took := time.Since(began); took > fast {
						t.Errorf("what is cached takes %v to read", took)
					}
				}
				if got := len(harness.Names(t, folder)); got != faultMessages {
					t.Errorf("%d messages are listed, want %d", got, faultMessages)
				}
			}
			stillCached()
			for i, uid := range []int{40, 11, 33, 19, 55, 3} {
				began := time.Now()
				_, err := os.ReadFile(filepath.Join(folder, fmt.Sprint(uid), "body.txt"))
				took := time.Since(began)
				if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("read %d: %v, want %v or %v", i, err, syscall.EIO, syscall.ETIMEDOUT)
				}
				limit := fast
				if i == 0 {
					limit += timeout
				}
				if took > limit {
					t.Errorf("read %d fails after %v only", i, took)
				}
			}
			stillCached()

			if away == "is silent" {
				l.heal(t)
			} else if err := s.machine.Restart(); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "all works again", func() bool {
				_, err := os.ReadFile(filepath.Join(folder, "40", "body.txt"))
				return err == nil
			})
		})
	}
}
