package imapbackend

import (
	"strings"
	"sync"
	"testing"
	"time"

	"imapfs/mail"
)

func TestOneConnectionOnly(t *testing.T) {
	s := &script{caps: "IMAP4rev1 ESEARCH"}
	s.greeting = func(n int) string {
		if n > 1 {
			return "* BYE too many connections"
		}
		return "* OK hello"
	}
	cfg := s.start(t)
	cfg.Connections = 4
	b := connect(t, cfg)
	for _, folder := range []string{"INBOX", "Other"} {
		if l, err := b.Messages(t.Context(), folder); err != nil || len(l.UIDs) != 3 {
			t.Error(folder, l, err)
		}
	}
}

// TestSilentFurtherConnection has a server that answers on its first connection
// only. Another folder has to do with that one, and does not wait until a second
// one is given up.
func TestSilentFurtherConnection(t *testing.T) {
	s := &script{}
	s.answer = func(_, command string) string {
		if s.n > 1 && strings.HasPrefix(command, "LOGIN") {
			return silent
		}
		return ""
	}
	cfg := s.start(t)
	cfg.Connections, cfg.Timeout = 4, time.Hour
	b := listed(t, cfg)
	soon(t, "listing another folder", func() {
		if l, err := b.Messages(t.Context(), "Other"); err != nil || len(l.UIDs) != 3 {
			t.Error(l, err)
		}
	})
	soon(t, "closing", b.Close)
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

// TestForgottenSelections has a server that forgets on all connections at once which
// folder is selected.
func TestForgottenSelections(t *testing.T) {
	forgotten := false
	s := &script{answer: func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			forgotten = false
		case strings.HasPrefix(command, "UID") && forgotten:
			return tag + " BAD no mailbox is selected\r\n"
		}
		return ""
	}}
	cfg := s.start(t)
	cfg.Connections = 2
	b := listed(t, cfg)
	bulk := messagesOf("INBOX", 7)
	bulk.bulk = true
	var release []func()
	for _, n := range []need{bulk, messagesOf("INBOX", 7)} {
		l, err := b.pool.acquire(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.confirm(); err != nil {
			t.Fatal(err)
		}
		release = append(release, func() { b.pool.release(l.session, n) })
	}
	for _, f := range release {
		f()
	}
	if n := s.count("SELECT"); n != 2 {
		t.Fatalf("%d connections have the folder", n)
	}
	s.mu.Lock()
	forgotten = true
	s.mu.Unlock()
	if there, err := b.exists(msg(2), false); err != nil || !there {
		t.Error(there, err)
	}
}
