package imapbackend

import (
	"strings"
	"testing"
	"time"

	"imapfs/mail"
)

// TestEndAtEachCommand has the server end the connection, in each way, when each
// of the commands comes for the first time. It costs nothing but another
// connection, and a deletion is done once.
func TestEndAtEachCommand(t *testing.T) {
	ends := map[string]string{
		"BYE":             "* BYE shutting down\r\n" + cut,
		"BYE and no end":  "* BYE shutting down\r\n",
		"without a word":  cut,
		"within a line":   "* OK [UIDVALI" + cut,
		"RST":             reset,
		"silence":         silent,
		"a tag too early": "T999 OK done\r\n" + cut,
	}
	commands := []string{"LIST", "SELECT", "UID SEARCH RETURN", "BODYSTRUCTURE", "BODY.PEEK[])", "UID FETCH 1:3", "UID STORE", "UID EXPUNGE", "IDLE", "DONE"}
	for name, end := range ends {
		for _, command := range commands {
			t.Run(name+"/"+command, func(t *testing.T) {
				t.Parallel()
				endAt(t, command, end)
			})
		}
	}
}

func endAt(t *testing.T, command, end string) {
	t.Helper()
	s := &script{caps: idleCaps, wasReset: make(chan struct{}, 1)}
	ended, gone := false, false
	expunged, mute := 0, 0
	s.answer = func(tag, c string) string {
		if !ended && strings.Contains(c, command) {
			ended = true
			if end == silent {
				mute = s.n
			}
			return end
		}
		switch {
		case s.n == mute: // not another word on this connection
			return silent
		case strings.HasPrefix(c, "UID EXPUNGE"):
			expunged++
			gone = true
			return "* 3 EXPUNGE\r\n" + tag + " OK done\r\n"
		case gone && strings.HasPrefix(c, "UID SEARCH"):
			return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:2\r\n* SEARCH\r\n" + tag + " OK done\r\n"
		case strings.HasPrefix(c, "UID SEARCH UID"):
			return "* SEARCH 3\r\n" + tag + " OK done\r\n"
		}
		return ""
	}
	cfg := s.start(t)
	cfg.Timeout, cfg.Poll = time.Second, 400*time.Millisecond
	b := connect(t, cfg)
	soon(t, "all of it", func() {
		l, err := b.Messages(t.Context(), "INBOX")
		if err != nil || len(l.UIDs) != 3 {
			t.Errorf("messages: %v, %v", l, err)
		}
		if a, err := b.Attr(t.Context(), msg(2)); err != nil || a.Size != 20 {
			t.Errorf("attributes: %+v, %v", a, err)
		}
		if p, err := b.Structure(t.Context(), msg(2)); err != nil || p.Type != "text/html" {
			t.Errorf("structure: %+v, %v", p, err)
		}
		if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
			t.Errorf("content: %q, %v", got, err)
		}
		came := 0
		for range 2 { // reading ahead does not try again by itself
			b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2, 3}}, 1000, func(_ uint32, start []byte) {
				came++
				if string(start) != rawMail {
					t.Errorf("start %q", start)
				}
			})
		}
		if came == 0 {
			t.Error("nothing is read ahead")
		}
		if command == "IDLE" || command == "DONE" {
			s.waitFor(t, 2, "IDLE")
		}
		if err := b.Delete(t.Context(), msg(3)); err != nil || expunged != 1 {
			t.Errorf("deleting: %v, %d times", err, expunged)
		}
		if l, err := b.Messages(t.Context(), "INBOX"); err != nil || len(l.UIDs) != 2 {
			t.Errorf("afterwards: %v, %v", l, err)
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ended {
		t.Errorf("%s was never sent; sent was %q", command, s.log)
	}
}
