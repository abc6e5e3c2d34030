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

// answerReader finds the content of messages in what a server sends: count is
// called for its bytes as they come, record when an answer is complete. Fields
// of a header belong to the structure that imapfs asks for with them: they are
// no more content than BODYSTRUCTURE.
func answerReader(count func(bytes int64), record func(body)) *lineReader {
	content := false  // the literal that comes is content of a message
	var bodies []body // of the answer so far
	return &lineReader{
		begins: func(line string, size int64) {
			m := bodyItem.FindStringSubmatch(line)
			content = m != nil && strings.HasPrefix(line, "* ") && !strings.Contains(m[1], "[HEADER.FIELDS")
			if content {
				bodies = append(bodies, body{item: m[1], bytes: size})
			}
		},
		came: func(bytes int64) {
			if content {
				count(bytes)
			}
		},
		whole: func(line string) {
			if len(bodies) == 0 {
				return
			}
			if m := uidItem.FindStringSubmatch(line); m != nil {
				uid, _ := strconv.Atoi(m[1])
				for _, found := range bodies {
					found.uid, found.at = uid, time.Now()
					record(found)
				}
			}
			bodies = nil
		},
	}
}
