package imapbackend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const idleCaps = "IMAP4rev1 UIDPLUS ESEARCH IDLE"

func (s *script) waitFor(t *testing.T, n int, command string) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " times ", command), func() bool { return s.count(command) >= n })
}

// grown is a script in which the inbox gets a fourth message when grow is
// called.
func grown(caps string) (s *script, grow func()) {
	n := 3
	s = &script{caps: caps}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			return strings.NewReplacer("3 EXISTS", fmt.Sprint(n, " EXISTS"), "UIDNEXT 4", fmt.Sprint("UIDNEXT ", n+1)).Replace(s.usual(tag, command))
		case strings.HasPrefix(command, "UID SEARCH"):
			return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL 1:%d\r\n%s OK done\r\n", tag, n, tag)
		}
		return ""
	}
	return s, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		n++
	}
}

// holds waits until the inbox is known to have n messages, without a question
// to the server.
func holds(t *testing.T, b *Backend, n int) {
	t.Helper()
	eventually(t, "the inbox is known to have changed", func() bool {
		l, err := b.Messages(t.Context(), "INBOX")
		return err == nil && len(l.UIDs) == n
	})
}

func TestIdle(t *testing.T) {
	s, grow := grown(idleCaps)
	b := listed(t, s.start(t))
	s.waitFor(t, 1, "IDLE")
	grow()
	s.tell("* 4 EXISTS\r\n")
	holds(t, b, 4)
	s.waitFor(t, 2, "IDLE")
	want := []string{"IDLE", "DONE", "UID SEARCH RETURN (ALL) ALL", "IDLE"}
	if got := s.since("IDLE"); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// TestDoneAndCommandInOneFlight answers DONE only when the command behind it
// has come too.
func TestDoneAndCommandInOneFlight(t *testing.T) {
	held := ""
	s := &script{caps: idleCaps}
	s.answer = func(tag, command string) string {
		switch {
		case command == "DONE":
			held = s.usual(tag, command)
			return silent
		case held != "":
			both := held + s.usual(tag, command)
			held = ""
			return both
		}
		return ""
	}
	b := listed(t, s.start(t))
	for i := range 3 {
		s.waitFor(t, i+1, "IDLE")
		if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// TestNoIdleUnderWay has IDLE begin at the wrong moments.
func TestNoIdleUnderWay(t *testing.T) {
	s := &script{caps: idleCaps}
	s.answer = func(_, command string) string {
		if command == "IDLE" {
			return silent // for now
		}
		return ""
	}
	b := listed(t, s.start(t))
	s.waitFor(t, 1, "IDLE")

	// Before the server listens nothing may be sent, not even DONE.
	fetched := make(chan error, 1)
	go func() {
		_, err := b.Fetch(msg(2), "", 0, -1)
		fetched <- err
	}()
	eventually(t, "the request waits", func() bool {
		b.pool.mu.Lock()
		defer b.pool.mu.Unlock()
		return len(b.pool.waiting) > 0
	})
	if got := s.since("IDLE"); len(got) != 1 {
		t.Errorf("sent %q before the server listens", got[1:])
	}
	s.tell("+ idling\r\n")
	if err := <-fetched; err != nil {
		t.Error(err)
	}

	// And IDLE may not begin while somebody has the session.
	n := need{folder: "INBOX"}
	l, err := b.pool.acquire(n)
	if err != nil {
		t.Fatal(err)
	}
	before := s.count("IDLE")
	soon(t, "an IDLE that must not be", l.session.idle)
	if s.count("IDLE") > before {
		t.Error("IDLE was sent")
	}
	b.pool.release(l.session, n)
}

// TestIdleRefused has servers offer IDLE and not mean it. They are asked with
// NOOP.
func TestIdleRefused(t *testing.T) {
	for name, answers := range map[string]struct {
		idle, done string
		most       int
	}{
		"NO":             {"%s NO not now\r\n", "", 1},
		"BAD":            {"%s BAD what\r\n", "", 1},
		"NO to DONE":     {"+ idling\r\n", "%s NO it was\r\n", 1},
		"OK at once":     {"%s OK done\r\n", "", 1},
		"the end":        {cut, "", idleTries},
		"BYE and no end": {"+ idling\r\n* BYE\r\n" + cut, "", idleTries},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{caps: idleCaps}
			s.answer = func(tag, command string) string {
				switch {
				case command == "IDLE":
					return strings.Replace(answers.idle, "%s", tag, 1)
				case command == "DONE":
					return strings.Replace(answers.done, "%s", tag, 1)
				}
				return ""
			}
			cfg := s.start(t)
			cfg.Poll = 50 * time.Millisecond
			b := listed(t, cfg)
			s.waitFor(t, answers.most, "IDLE")
			before := s.count("NOOP")
			s.waitFor(t, before+10, "NOOP")
			if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
				t.Errorf("got %q, %v", got, err)
			}
			// A while in which IDLE could have begun.
			s.waitFor(t, s.count("NOOP")+10, "NOOP")
			if n := s.count("IDLE"); n > answers.most {
				t.Errorf("IDLE was sent %d times, want %d", n, answers.most)
			}
		})
	}
}

// TestEndDuringIdle has the connection end while nobody asks for anything. What
// happened until there is a new one is noticed.
func TestEndDuringIdle(t *testing.T) {
	for name, end := range map[string]string{"BYE": "* BYE shutting down\r\n" + cut, "without a word": cut} {
		t.Run(name, func(t *testing.T) {
			s, grow := grown(idleCaps)
			b := listed(t, s.start(t))
			s.waitFor(t, 1, "IDLE")
			grow()
			s.tell(end)
			holds(t, b, 4)
			s.waitFor(t, 2, "IDLE")
		})
	}
}

// TestSilenceDuringIdle has the server go away without a word. The next poll
// finds out.
func TestSilenceDuringIdle(t *testing.T) {
	s, grow := grown(idleCaps)
	usual := s.answer
	gone := false
	s.answer = func(tag, command string) string {
		if gone = gone || command == "DONE"; gone && s.n == 1 {
			return silent
		}
		return usual(tag, command)
	}
	cfg := s.start(t)
	cfg.Poll, cfg.Timeout = 200*time.Millisecond, 200*time.Millisecond
	b := listed(t, cfg)
	s.waitFor(t, 1, "IDLE")
	grow()
	holds(t, b, 4)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n != 2 {
		t.Errorf("%d connections, want 2", s.n)
	}
}

// TestCloseDuringIdle ends while the server says nothing any more.
func TestCloseDuringIdle(t *testing.T) {
	for _, last := range []string{"IDLE", "DONE", "LOGOUT"} {
		t.Run(last, func(t *testing.T) {
			quiet := false
			s := &script{caps: idleCaps}
			s.answer = func(_, command string) string {
				if quiet = quiet || command == last; quiet {
					return silent
				}
				return ""
			}
			b := listed(t, s.start(t))
			s.waitFor(t, 1, "IDLE")
			soon(t, "closing", b.Close)
		})
	}
}

// TestWatch looks which folder has a session although nobody has asked for it.
func TestWatch(t *testing.T) {
	for url, want := range map[string]string{"": "INBOX", "Work": `"Work"`} {
		t.Run(want, func(t *testing.T) {
			s := &script{caps: idleCaps}
			cfg := s.start(t)
			cfg.URL.Folder = url
			connect(t, cfg)
			s.waitFor(t, 1, "IDLE")
			if got, want := s.since("SELECT"), []string{"SELECT " + want, "IDLE"}; !slices.Equal(got, want) {
				t.Errorf("sent %q, want %q", got, want)
			}
		})
	}
}

// unused makes all sessions such that were not used for a while.
func (p *pool) unused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.sessions {
		s.place.used = time.Now().Add(time.Duration(i)*time.Second - 2*busyFor)
	}
}

func TestWatchOnOneConnection(t *testing.T) {
	s := &script{caps: idleCaps}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	if err := b.pool.watch(); !errors.Is(err, errNoRoom) {
		t.Errorf("right after another folder was used: %v, want %v", err, errNoRoom)
	}
	b.pool.unused()
	if err := b.pool.watch(); err != nil || b.pool.selectedBy()["INBOX"] == nil {
		t.Errorf("a while later: %v, selected is %v", err, b.pool.selectedBy())
	}
	s.waitFor(t, 1, "IDLE")
}

// TestWatchedFolderKeepsItsSession wants a session for a third folder.
func TestWatchedFolderKeepsItsSession(t *testing.T) {
	s := &script{caps: idleCaps}
	cfg := s.start(t)
	cfg.Connections = 2
	b := listed(t, cfg)
	for _, folder := range []string{"Second", "Third", "Fourth"} {
		if _, err := b.Messages(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
		b.pool.unused() // the inbox for longest
	}
	if n := s.count("SELECT INBOX"); n != 1 || b.pool.selectedBy()["INBOX"] == nil {
		t.Errorf("the inbox was selected %d times; selected is %v", n, b.pool.selectedBy())
	}
}

// TestWaitForIdleToBegin wants another folder while IDLE is on its way for one
// that nobody uses. Waiting for that is a round trip at most, another connection
// several.
func TestWaitForIdleToBegin(t *testing.T) {
	s := &script{caps: idleCaps}
	s.answer = first(1, "IDLE", silent)
	cfg := s.start(t)
	cfg.Connections = 4
	b := connect(t, cfg)
	s.waitFor(t, 1, "IDLE")
	listed := make(chan error, 1)
	go func() {
		_, err := b.Messages(t.Context(), "Other")
		listed <- err
	}()
	eventually(t, "the request waits", func() bool {
		b.pool.mu.Lock()
		defer b.pool.mu.Unlock()
		return len(b.pool.waiting) == 1
	})
	s.tell("+ idling\r\n")
	if err := <-listed; err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n != 1 {
		t.Errorf("%d connections, want 1", s.n)
	}
}
