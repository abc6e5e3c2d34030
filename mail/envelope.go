package mail

import (
	"bytes"
	netmail "net/mail"
	"strings"
	"time"
)

// Envelope is what a person knows a message by. The zero value says that nothing is known.
type Envelope struct {
	Date    time.Time // when the sender wrote it, as a clock there showed it, in UTC
	From    string    // the first author's name, or address; "" for none
	To      string    // the first recipient's, as From
	Subject string    // "" for none
}

// IsZero tells whether nothing is known.
func (e Envelope) IsZero() bool { return e == Envelope{} }

// Sent is the envelope as Name is to take it where the messages are one's own: with who gets
// it in the place of who has sent it.
func (e Envelope) Sent() Envelope {
	if e.To != "" {
		e.From = "to " + e.To
	}
	return e
}

// mostEnvelopeText is how much is kept of a field, in bytes: more than a name can have.
const mostEnvelopeText = 1024

// mostEarly is how much later than it has arrived a message can have been written: clocks
// are set wrong, and servers forget the time zone.
const mostEarly = 48 * time.Hour

// ParseEnvelope reads the fields From, To, Subject and Date (RFC 5322 §3.6) of a header, the
// first of each, as HeadersText shows them. A Date that is not there, or that no clock can
// have shown, is that of the arrival, which is zero where it is not known.
func ParseEnvelope(header []byte, arrived time.Time) Envelope {
	var e Envelope
	if !arrived.IsZero() {
		e.Date = arrived.UTC()
	}
	seen := make(map[string]bool)
	for field := range fields(header) {
		name, value, ok := bytes.Cut(field, []byte(":"))
		key := strings.ToLower(string(bytes.TrimRight(name, " \t")))
		if !ok || seen[key] {
			continue
		}
		seen[key] = true
		switch key {
		case "from":
			e.From = cut(person(string(value)), mostEnvelopeText)
		case "to":
			e.To = cut(person(string(value)), mostEnvelopeText)
		case "subject":
			e.Subject = cut(plainText(string(value)), mostEnvelopeText)
		case "date":
			date, err := netmail.ParseDate(strings.TrimSpace(string(value)))
			if err == nil && date.Year() >= 1970 && date.Year() < 10_000 && (arrived.IsZero() || date.Before(arrived.Add(mostEarly))) {
				_, zone := date.Zone()
				e.Date = date.UTC().Add(time.Duration(zone) * time.Second)
			}
		}
	}
	if e.Date.IsZero() && !e.IsZero() {
		e.Date = time.Unix(0, 0).UTC()
	}
	return e
}

// plainText is the text of a field in one line, with its words decoded.
func plainText(s string) string {
	return strings.Join(strings.Fields(oneLine(decodeWords(s, ""))), " ")
}

// person returns the first one that a From or To field names, by name where there is one, else
// by address: of `"Brandt, Ines" <ines@example.org>, ...` the name, of `a@b (Ann)` Ann. It
// takes what people write, of which net/mail refuses much: names with a dot, an @ or 8-bit
// text outside of quotes, no address at all.
func person(s string) string {
	var phrase, address, comment strings.Builder
	to := &phrase
	quoted, depth := false, 0
scan:
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && (quoted || depth > 0) && i+1 < len(s) {
			i++
			c = s[i]
		} else {
			switch {
			case c == '"' && depth == 0:
				quoted = !quoted
				continue
			case quoted:
			case c == '(':
				if depth++; depth == 1 {
					comment.Reset()
					continue
				}
			case c == ')' && depth > 0:
				if depth--; depth == 0 {
					continue
				}
			case depth > 0:
			case c == '<':
				to = &address
				continue
			case c == '>' && to == &address, c == ';':
				break scan
			case c == ',' && strings.Contains(phrase.String(), "@"):
				break scan // else it is in a name, without quotes
			case c == ':' && to == &phrase && !strings.Contains(phrase.String(), "@"):
				phrase.Reset() // the name of a group (RFC 5322 §3.4)
				continue
			}
		}
		if depth > 0 {
			comment.WriteByte(c)
		} else {
			to.WriteByte(c)
		}
	}
	name, mailbox := plainText(phrase.String()), plainText(address.String())
	switch {
	case mailbox == "" && comment.Len() > 0 && strings.Contains(name, "@"):
		return plainText(comment.String())
	case name == "":
		return mailbox
	}
	return strings.Trim(name, "'")
}
