package imapbackend

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"imapfs/mail"
)

// TestSelectAndCommandInOneFlight answers SELECT only when the command that
// needs it has come too.
func TestSelectAndCommandInOneFlight(t *testing.T) {
	held := ""
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			held = s.usual(tag, command)
			return silent
		case held != "" && (strings.HasPrefix(command, "UID SEARCH") || strings.HasPrefix(command, "UID FETCH")):
			both := held + s.usual(tag, command)
			held = ""
			return both
		}
		return ""
	}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	// Back on the first folder, with content right behind the SELECT.
	if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestAnotherValidityBehindSelect has a folder numbered anew while another one
// was selected. What comes behind the SELECT belongs to other messages.
func TestAnotherValidityBehindSelect(t *testing.T) {
	for what, f := range map[string]func(b *Backend) error{
		"fetch":    func(b *Backend) error { _, err := b.Fetch(msg(2), "", 0, -1); return err },
		"delete":   func(b *Backend) error { return b.Delete(t.Context(), msg(2)) },
		"describe": func(b *Backend) error { _, err := b.Attr(t.Context(), msg(2)); return err },
		"structure": func(b *Backend) error {
			_, err := b.Structure(t.Context(), msg(2))
			return err
		},
		"starts": func(b *Backend) error {
			return b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2}}, 100, func(uint32, []byte) {
				t.Error("a message of the old numbering was handed out")
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			n := 0
			s := &script{}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "SELECT INBOX") {
					if n++; n > 1 {
						return strings.Replace(s.usual(tag, command), "UIDVALIDITY 7", "UIDVALIDITY 8", 1)
					}
				}
				return ""
			}
			b := listed(t, s.start(t))
			if _, err := b.Messages(t.Context(), "Other"); err != nil {
				t.Fatal(err)
			}
			if err := f(b); !errors.Is(err, mail.ErrStale) {
				t.Errorf("got %v, want %v", err, mail.ErrStale)
			}
			if n := s.count("UID STORE") + s.count("UID EXPUNGE"); n > 0 {
				t.Errorf("%d commands to delete were sent", n)
			}
		})
	}
}

// TestRefusedSelects has a NO to SELECT and a BAD to what was sent behind it,
// while others choose a session.
func TestRefusedSelects(t *testing.T) {
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
