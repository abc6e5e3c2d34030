package imapbackend

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imapfs/mail"
)

// sentTrace is a trace that tells of the first command behind arm.
type sentTrace struct {
	armed atomic.Bool
	sent  chan struct{}
}

func (s *sentTrace) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(" C: ")) && s.armed.CompareAndSwap(true, false) {
		close(s.sent)
	}
	return len(p), nil
}

// A command whose write fails must end neither beside the library's reader nor
// later than it, while that hands out what has come before.
func TestBrokenWrite(t *testing.T) {
	const messages = 600 // more than the library's channel holds
	var all strings.Builder
	all.WriteString("* 1 FETCH (UID 1 BODY[]<0> {4}\r\nSubj)\r\n")
	for uid := 2; uid <= messages; uid++ {
		fmt.Fprintf(&all, "* %d FETCH (UID %d FLAGS ())\r\n", uid, uid)
	}
	l := mail.Listing{UIDValidity: 7}
	for uid := range uint32(messages) {
		l.UIDs = append(l.UIDs, uid+1)
	}
	for range 20 {
		s := &script{answer: first(1, "UID FETCH", all.String()+reset), wasReset: make(chan struct{})}
		cfg := s.start(t)
		cfg.Timeout = time.Minute // nothing here waits for it
		trace := &sentTrace{sent: make(chan struct{})}
		cfg.Trace = trace
		b := listed(t, cfg)
		news := make(chan error)
		go func() {
			<-s.wasReset
			trace.armed.Store(true)
			news <- b.askForNews()
		}()
		// The reader has more to send than there is room for, until the other
		// command is out.
		err := b.FetchStarts("INBOX", l, 100, func(uint32, []byte) { <-trace.sent })
		if err != nil { // the second try goes well
			t.Error(err)
		}
		if err := <-news; err != nil {
			t.Error(err)
		}
		b.Close()
	}
}
