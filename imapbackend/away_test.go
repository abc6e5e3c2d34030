package imapbackend

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// restarting is a server whose connections break at each FETCH of content while
// away, and which takes nobody then.
func restarting(t *testing.T, attempts int) (*Backend, *script) {
	first := true
	s := &script{greeting: func(n int) string {
		if n > 1 && n <= 1+attempts {
			return "* BYE restarting"
		}
		return "* OK [CAPABILITY IMAP4rev1 UIDPLUS ESEARCH] ready"
	}}
	s.answer = func(_, command string) string {
		if strings.Contains(command, "BODY.PEEK") && first {
			first = false
			return cut
		}
		return ""
	}
	return listed(t, s.start(t)), s
}

func TestServerThatRestarts(t *testing.T) {
	b, s := restarting(t, 3)
	got, err := b.Fetch(msg(2), "", 0, -1)
	if err != nil || string(got) != rawMail {
		t.Errorf("got %q, %v", got, err)
	}
	if s.mu.Lock(); s.n != 5 {
		t.Errorf("%d connections, want 5", s.n)
	}
	s.mu.Unlock()
}

func TestServerThatStaysAway(t *testing.T) {
	b, s := restarting(t, 1_000_000)
	b.pool.mu.Lock()
	b.pool.grace = 50 * time.Millisecond
	b.pool.mu.Unlock()
	if _, err := b.Fetch(msg(2), "", 0, -1); err == nil {
		t.Error("something was fetched")
	}
	// What is asked for from here on does not even try.
	s.mu.Lock()
	before := s.n
	s.mu.Unlock()
	for range 100 {
		if _, err := b.Fetch(msg(3), "", 0, -1); !errors.Is(err, errAway) {
			t.Fatalf("got %v, want %v", err, errAway)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > before+10 {
		t.Errorf("%d connections were tried for 100 requests", s.n-before)
	}
}

// TestPauses looks how long the pauses between attempts become.
func TestPauses(t *testing.T) {
	pauses, refused := newBackOff(), backOff(firstPauseRefused, mostPauseRefused)
	pauses.RandomizationFactor, refused.RandomizationFactor = 0, 0
	after := func(err error) (last time.Duration) {
		for range 30 {
			last = nextPause(pauses, refused, err)
		}
		return last
	}
	if got := after(errBroken); got != mostPause {
		t.Errorf("while the server is away: %v, want %v", got, mostPause)
	}
	if got := after(&LoginError{}); got != mostPauseRefused {
		t.Errorf("while the login is refused: %v, want %v", got, mostPauseRefused)
	}
	if got := after(errBroken); got != mostPause {
		t.Errorf("when the server is away again: %v, want %v", got, mostPause)
	}
}

// The pauses have become long: whoever wants something makes them end.
func TestServerIsLookedForSoonerIfWanted(t *testing.T) {
	b, _ := restarting(t, 1_000_000)
	b.pool.mu.Lock()
	b.pool.grace, b.pool.wantedPause = 50*time.Millisecond, time.Millisecond
	b.pool.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		b.pool.pause(time.Hour, b.pool.wanted)
		close(ended)
	}()
	eventually(t, "the pause ends", func() bool {
		if _, err := b.Fetch(msg(2), "", 0, -1); err == nil {
			t.Fatal("something was fetched")
		}
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}
