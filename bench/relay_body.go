package main

import (
	"bytes"
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

// answerReader finds the content of messages in what an IMAP server sends.
type answerReader struct {
	count   func(bytes int64) // as they come
	record  func(body)        // when an answer is complete
	line    []byte            // of the answer, without literals
	literal int64             // bytes of a literal still to come
	content bool              // that literal is content of a message
	bodies  []body            // of the answer so far
}

var (
	// bodyItem is what stands before a literal with content (RFC 9051 §7.5.2).
	bodyItem = regexp.MustCompile(`((?:BODY|BINARY)\[[^\]]*\](?:<\d+>)?) ~?\{(\d+)\}$`)
	uidItem  = regexp.MustCompile(`[( ]UID (\d+)`)
)

func (a *answerReader) read(b []byte) {
	for len(b) > 0 {
		if a.literal > 0 {
			n := min(a.literal, int64(len(b)))
			a.literal -= n
			b = b[n:]
			if a.content {
				a.count(n)
			}
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			a.line = append(a.line, b...)
			return
		}
		a.line = append(a.line, b[:end]...)
		b = b[end+1:]
		line := strings.TrimRight(string(a.line), "\r")
		if n, ok := literalSize(line); ok {
			// The answer goes on behind it.
			a.literal, a.line = n, append([]byte(line), ' ')
			m := bodyItem.FindStringSubmatch(line)
			if a.content = m != nil && strings.HasPrefix(line, "* "); a.content {
				a.bodies = append(a.bodies, body{item: m[1], bytes: n})
			}
			continue
		}
		a.line = a.line[:0]
		if len(a.bodies) == 0 {
			continue
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
}
