package wire

import "strings"

// MyRights is one MYRIGHTS response (RFC 4314 §3.8).
type MyRights struct {
	Mailbox string // as on the wire
	Rights  string // a letter for each
}

// rights reads a MYRIGHTS response. A name with spaces may come without quotes.
func (a *answers) rights() {
	var words []string
	for !a.atEnd() {
		words = append(words, a.value(0).text)
	}
	if n := len(words) - 1; a.err == nil && n > 0 {
		a.h.Data(MyRights{strings.Join(words[:n], " "), words[n]})
	}
}
