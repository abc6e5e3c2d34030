package main

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// body is content of a message that a server has sent.
type body struct {
	uid   int
	item  string // BODY[1]<0>
	bytes int64
	at    time.Time // when the answer was complete
}

var (
	// bodyItem is what stands before a literal with content (RFC 9051 §7.5.2).
	bodyItem = regexp.MustCompile(`((?:BODY|BINARY)\[[^\]]*\](?:<\d+>)?) ~?\{(\d+)\}$`)
	uidItem  = regexp.MustCompile(`[( ]UID (\d+)`)
)

// answerReader finds the content of messages in what an IMAP server sends.
type answerReader struct {
	count   func(bytes int) // as they come
	record  func(body)      // when an answer is complete
	content bool            // the literal is content of a message
	bodies  []body          // of the answer so far
}

func (a *answerReader) lines() *lineReader {
	return &lineReader{begin: a.begin, end: a.end, content: func(n int) {
		if a.content {
			a.count(n)
		}
	}}
}

func (a *answerReader) begin(line string, n int64) {
	m := bodyItem.FindStringSubmatch(line)
	if a.content = m != nil && strings.HasPrefix(line, "* "); a.content {
		a.bodies = append(a.bodies, body{item: m[1], bytes: n})
	}
}

func (a *answerReader) end(line string) {
	if len(a.bodies) == 0 {
		return // most lines
	}
	if m := uidItem.FindStringSubmatch(line); m != nil {
		uid, _ := strconv.Atoi(m[1])
		for _, found := range a.bodies {
			found.uid, found.at = uid, time.Now()
			a.record(found)
		}
	}
	a.bodies = nil
}
