package fs

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// logged is what was logged.
type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestFailuresAreCounted has much fail in the same way, and then once more a while later.
func TestFailuresAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(logged)
		fs := failures{out: slog.New(slog.NewTextHandler(b, nil)), kinds: make(map[kindOfFailure]*failuresOfKind)}
		fail := func(verb, object string) { fs.log(slog.LevelWarn, verb, object, syscall.EPERM, errFixed) }
		lines := func(want int, last string) {
			t.Helper()
			synctest.Wait()
			if got := strings.Split(strings.TrimSpace(b.String()), "\n"); len(got) != want || !strings.Contains(got[len(got)-1], last) {
				t.Errorf("want %d lines, the last with %q; got\n%s", want, last, b)
			}
		}
		for range 100 {
			fail("change", "INBOX/1")
		}
		lines(1, "cannot change INBOX/1")
		for i := range 100 {
			fail("change", fmt.Sprint("INBOX/", i))
		}
		lines(mostFailures, "cannot change INBOX/")
		fail("move", "INBOX/1")
		lines(mostFailures+1, "cannot move INBOX/1")
		time.Sleep(2 * failuresCounted)
		lines(mostFailures+2, "times=195")
		fail("change", "INBOX/1")
		lines(mostFailures+3, "cannot change INBOX/1")
		fs.close()
		lines(mostFailures+3, "cannot change INBOX/1")
	})
}
