package mail

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

// Number is the name of a message's directory that is there in each folder: its UID.
func Number(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }

// ParseNumber is the inverse of Number. A UID has one name only: no sign, no leading zero.
func ParseNumber(name string) (uid uint32, ok bool) {
	if len(name) == 0 || name[0] < '1' || name[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil
}

// ParseName returns the UID in the name of a message's directory: a number, or what a Naming
// makes, which ends in it.
func ParseName(name string) (uid uint32, ok bool) {
	if rest, inBrackets := strings.CutSuffix(name, "]"); inBrackets {
		if i := strings.LastIndex(rest, " ["); i > 0 {
			return ParseNumber(rest[i+2:])
		}
	}
	return ParseNumber(name)
}

// Naming makes names of messages that a person recognises, from a template: text with
// {date}, {from} and {subject} in it. The zero value makes numbers.
type Naming struct{ pieces []string } // each a field of fillIns, or text as it is

// The short forms of a template.
const (
	byUID     = "uid"
	bySubject = "subject"
)

const templateOfSubject = "{date} {from}, {subject}"

// fillIns is what a template can have, and what stands there where a message has none.
var fillIns = map[string]struct {
	most int // bytes, so that no sender pushes the subject out of the name
	of   func(Envelope) string
}{
	"{date}":    {10, func(e Envelope) string { return e.Date.Format("2006-01-02") }},
	"{from}":    {80, func(e Envelope) string { return filledIn(e.From, "no sender") }},
	"{subject}": {maxName, func(e Envelope) string { return filledIn(e.Subject, "no subject") }},
}

// filledIn is s as it can stand in a name, or other if nothing is left of it.
func filledIn(s, other string) string {
	if s = strings.Join(strings.Fields(safeText(strings.ToValidUTF8(s, "\uFFFD"))), " "); s == "" {
		return other
	}
	return s
}

// ParseNaming reads a template, or a short form of one: "uid" for numbers, "subject" for
// {date} {from}, {subject}.
func ParseNaming(s string) (Naming, error) {
	switch s {
	case byUID:
		return Naming{}, nil
	case bySubject:
		s = templateOfSubject
	}
	var n Naming
	filled := false
	for rest := s; rest != ""; {
		i, end := strings.IndexByte(rest, '{'), strings.IndexByte(rest, '}')
		switch {
		case i < 0 && end < 0:
			n.pieces, rest = append(n.pieces, rest), ""
			continue
		case i < 0 || end < i:
			return Naming{}, fmt.Errorf("a } without a { in %q", s)
		}
		field := rest[i : end+1]
		if _, ok := fillIns[field]; !ok {
			return Naming{}, fmt.Errorf("%s is nothing that a name can have; {date}, {from} and {subject} are", field)
		}
		filled = true
		if i > 0 {
			n.pieces = append(n.pieces, rest[:i])
		}
		n.pieces, rest = append(n.pieces, field), rest[end+1:]
	}
	if !filled {
		return Naming{}, fmt.Errorf("%q is neither uid nor subject, and has none of {date}, {from} and {subject}", s)
	}
	if strings.ContainsRune(s, '/') || safeText(s) != s || strings.ToValidUTF8(s, "") != s {
		return Naming{}, fmt.Errorf("%q has characters that no name can have", s)
	}
	return n, nil
}

// IsByNumber tells whether messages are called by number.
func (n Naming) IsByNumber() bool { return len(n.pieces) == 0 }

// Name returns the name of a message's directory: safe as SafeName makes it, not hidden, at
// most 255 bytes, cut between two characters as a person sees them (UAX #29), and ending in
// the UID in brackets, so that no two are the same. Of a message of which nothing is known
// it is the number.
func (n Naming) Name(uid uint32, e Envelope) string {
	if n.IsByNumber() || e.IsZero() {
		return Number(uid)
	}
	end := " [" + Number(uid) + "]"
	var b strings.Builder
	for _, piece := range n.pieces {
		if f, ok := fillIns[piece]; ok {
			piece = cutGraphemes(f.of(e), f.most)
		}
		b.WriteString(piece)
	}
	name := strings.TrimSpace(b.String())
	if name == "" || name[0] == '-' || name[0] == '.' {
		name = "_" + name
	}
	return strings.TrimSpace(cutGraphemes(name, maxName-len(end))) + end
}

// cutGraphemes shortens s to at most n bytes, between two characters as a person sees them.
func cutGraphemes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	end := 0
	for g := graphemes.FromString(s); g.Next() && g.End() <= n; {
		end = g.End()
	}
	return s[:end]
}
