// Package query is the language in which people ask for mail: from:ines is:unread
// -subject:"lantern walk". docs/search.md has its grammar. It knows neither how a server
// is asked nor how a message is looked through.
package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Op is what a Query asks.
type Op int

const (
	And        Op = iota // all of Of; with none of them, all messages
	Or                   // one of Of
	Not                  // not Of[0]
	Field                // Text is in the header field Key: from, to, cc, bcc, subject; or in the "body"; or in all, "text"
	Since                // it has arrived on Day or later
	Before               // earlier than Day
	Larger               // than Bytes
	Smaller              // than Bytes
	Flag                 // it has the flag Key, as mail.Flags has it
	Attachment           // it has an attachment
	Raw                  // what IMAP's SEARCH finds with the keys in Text (RFC 9051 §6.4.4)
)

// Query is a question about a message.
type Query struct {
	Op    Op
	Of    []Query
	Key   string
	Text  string
	Day   time.Time // midnight, in UTC
	Bytes int64
}

// Has tells whether something of this kind is asked, anywhere in q.
func (q Query) Has(op Op) bool {
	return q.Op == op || slices.ContainsFunc(q.Of, func(q Query) bool { return q.Has(op) })
}

// Reads tells whether a server without an index has to read messages for q.
func (q Query) Reads() bool {
	return q.Op == Field && (q.Key == "text" || q.Key == "body") || slices.ContainsFunc(q.Of, Query.Reads)
}

// IsBeyondASCII tells whether a text is looked for that is not all ASCII, anywhere in q.
func (q Query) IsBeyondASCII() bool {
	return strings.ContainsFunc(q.Text, func(r rune) bool { return r > unicode.MaxASCII }) || slices.ContainsFunc(q.Of, Query.IsBeyondASCII)
}

// Escape writes a query as the name of a directory: what cannot be in one as %XX, and a
// percent sign that would look like that.
func Escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '/' || c == 0 || c == '%' && unescapes(s[i:]) || i == 0 && (s == "." || s == "..") {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Unescape is the inverse of Escape.
func Unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if unescapes(name[i:]) {
			n, _ := strconv.ParseUint(name[i+1:i+3], 16, 8)
			b.WriteByte(byte(n))
			i += 2
		} else {
			b.WriteByte(name[i])
		}
	}
	return b.String()
}

// unescapes tells whether s begins with %XX.
func unescapes(s string) bool {
	if len(s) < 3 || s[0] != '%' {
		return false
	}
	_, err := strconv.ParseUint(s[1:3], 16, 8)
	return err == nil
}
