package imapbackend

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"imapfs/mail"
)

// soon waits for the end of f, which must not hang.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}

// TestManyRefusedSelects has NO arrive while others choose a session.
func TestManyRefusedSelects(t *testing.T) {
	s := &script{answer: func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			return tag + " NO [NONEXISTENT] no such mailbox\r\n"
		case strings.HasPrefix(command, "UID"):
			return tag + " BAD no mailbox is selected\r\n"
		}
		return ""
	}}
	cfg := s.start(t)
	cfg.Connections = 4
	b := connect(t, cfg)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for range 50 {
				if _, err := b.Messages(t.Context(), fmt.Sprint("F", i)); !errors.Is(err, mail.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestRefusedSelectDeletesNothing has a server that says NO to SELECT and keeps
// the folder before selected, which it must not do.
func TestRefusedSelectDeletesNothing(t *testing.T) {
	n := 0
	s := &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "SELECT INBOX") {
			if n++; n > 1 {
				return tag + " NO [UNAVAILABLE] not now\r\n"
			}
		}
		return ""
	}}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 { // others who want the pool's lock at the wrong moment
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					b.pool.selectedBy()
				}
			}
		})
	}
	for range 500 {
		if err := b.Delete(t.Context(), msg(2)); err == nil {
			t.Error("a deletion succeeds")
			break
		}
	}
	close(stop)
	wg.Wait()
	if n := s.count("UID STORE") + s.count("UID EXPUNGE"); n > 0 {
		t.Errorf("%d commands to delete were sent", n)
	}
}

// TestAnswersBeforeSelects has the answer to SELECT come after those to what
// was sent behind it: more of them than the library holds.
func TestAnswersBeforeSelects(t *testing.T) {
	const n = 300
	for what, early := range map[string]func() string{
		"content": func() string { return body(1, rawMail) + body(2, rawMail) },
		"flags": func() string {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", i+1, i+1)
			}
			return b.String()
		},
	} {
		t.Run(what, func(t *testing.T) {
			selects, held := 0, ""
			s := &script{}
			s.answer = func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "SELECT INBOX"):
					usual := strings.Replace(s.usual(tag, command), "3 EXISTS", fmt.Sprint(n, " EXISTS"), 1)
					if selects++; selects > 1 {
						held = usual
						return silent
					}
					return usual
				case strings.HasPrefix(command, "UID SEARCH"):
					return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL 1:%d\r\n%s OK done\r\n", tag, n, tag)
				case held != "" && strings.HasPrefix(command, "UID FETCH"):
					answer := early() + held + tag + " OK done\r\n"
					held = ""
					return answer
				}
				return ""
			}
			b := listed(t, s.start(t))
			l, err := b.Messages(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Messages(t.Context(), "Other"); err != nil {
				t.Fatal(err)
			}
			soon(t, "fetching", func() { b.FetchStarts("INBOX", l, 100, func(uint32, []byte) {}) })
			soon(t, "closing", b.Close)
		})
	}
}

// TestNewMessageWhileListing has a message arrive with the answer to the first
// SEARCH, which does not hold it.
func TestNewMessageWhileListing(t *testing.T) {
	n := 0
	s := &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "UID SEARCH") {
			if n++; n == 1 {
				return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:3\r\n* 4 EXISTS\r\n" + tag + " OK done\r\n"
			}
			return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:4\r\n" + tag + " OK done\r\n"
		}
		return ""
	}}
	b := listed(t, s.start(t))
	eventually(t, "the new message is listed", func() bool {
		l, err := b.Messages(t.Context(), "INBOX")
		return err == nil && len(l.UIDs) == 4
	})
}

// TestBatchBesideFetch has the library give the answer to a batch to a single
// FETCH of the same message.
func TestBatchBesideFetch(t *testing.T) {
	whole := "Subject: x\r\n\r\n" + strings.Repeat("0123456789", 10)
	var first string
	s := &script{answer: func(tag, command string) string {
		switch {
		case !strings.Contains(command, "BODY.PEEK"):
			return ""
		case strings.Contains(command, "<0.20>"):
			first = tag
			return "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n" +
				fmt.Sprintf("* 2 FETCH (UID 2 BODY[]<0> {20}\r\n%s)\r\n%s OK x\r\n", whole[:20], first)
		}
		return body(2, whole) + tag + " OK x\r\n"
	}}
	b := listed(t, s.start(t))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{2}}, 20, func(_ uint32, start []byte) {
				if string(start) != whole[:20] {
					t.Errorf("the start: %q", start)
				}
			})
		})
		wg.Go(func() {
			if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != whole {
				t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
			}
		})
	}
	wg.Wait()
}

func TestReadingAheadStaysOnOneSession(t *testing.T) {
	cfg := (&script{}).start(t)
	cfg.Connections = 2
	b := listed(t, cfg)
	hold := func(n need) (*lease, func()) {
		l, err := b.pool.acquire(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.confirm(); err != nil {
			t.Fatal(err)
		}
		return l, func() { b.pool.release(l.session, n) }
	}
	ahead := need{folder: "INBOX", messages: true, validity: 7, ahead: true}
	_, releaseLarge := hold(need{folder: "INBOX", messages: true, validity: 7, bulk: true})
	one, releaseOne := hold(ahead)
	releaseLarge()
	two, releaseTwo := hold(ahead)
	if one.session != two.session {
		t.Error("two batches are on two sessions")
	}
	releaseOne()
	releaseTwo()
}

// TestNobodyStarves reads ahead in one folder without a pause, and wants
// another one, over a single connection.
func TestNobodyStarves(t *testing.T) {
	b := listed(t, (&script{}).start(t))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2, 3}}, 100, func(uint32, []byte) {})
				}
			}
		})
	}
	soon(t, "listing the other folder", func() {
		if _, err := b.Messages(t.Context(), "Other"); err != nil {
			t.Error(err)
		}
	})
	close(stop)
	wg.Wait()
}

// TestFolderWithoutUIDValidity deletes nothing where UIDs have no meaning.
func TestFolderWithoutUIDValidity(t *testing.T) {
	n := 0
	s := &script{}
	s.answer = func(tag, command string) string {
		if strings.HasPrefix(command, "SELECT INBOX") {
			if n++; n == 1 {
				return strings.Replace(s.usual(tag, command), "* OK [UIDVALIDITY 7] x\r\n", "", 1)
			}
		}
		return ""
	}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	err := b.Delete(t.Context(), mail.ID{Folder: "INBOX", UID: 2})
	if err == nil || s.count("UID EXPUNGE") > 0 {
		t.Errorf("deleting: %v, %d sent", err, s.count("UID EXPUNGE"))
	}
}

// TestMessageThatIsNotDescribed has a server that gives no answer which can be
// read, and refuses to give less.
func TestMessageThatIsNotDescribed(t *testing.T) {
	s := &script{answer: func(tag, command string) string {
		switch {
		case !strings.HasPrefix(command, "UID FETCH"):
			return ""
		case strings.Contains(command, "BODYSTRUCTURE"):
			return fetched(command, func(uid int) string { return line(uid, `("text" "html" NIL NIL "7bit" 4 1)`, goodDate) }) + tag + " OK\r\n"
		}
		return tag + " NO [LIMIT] not now\r\n"
	}}
	b := listed(t, s.start(t))
	soon(t, "asking for its attributes", func() {
		if _, err := b.Attr(t.Context(), msg(2)); err == nil {
			t.Error("no error")
		}
	})
}

func TestMoreThanWasAskedFor(t *testing.T) {
	sections := 0
	s := &script{answer: func(tag, command string) string {
		if !strings.Contains(command, "BODY.PEEK") {
			return ""
		}
		var b strings.Builder
		b.WriteString("* 2 FETCH (UID 2")
		for range sections {
			b.WriteString(" BODY[]<0> {9}\r\nSubject: ")
		}
		return b.String() + ")\r\n" + tag + " OK\r\n"
	}}
	b := listed(t, s.start(t))
	for sections = range 4 {
		if sections == 0 {
			continue
		}
		got, err := b.Fetch(msg(2), "", 0, 10)
		if want := sections == 1; (err == nil) != want || want && string(got) != "Subject: " {
			t.Errorf("%d sections: %q, %v", sections, got, err)
		}
	}
}
