package wire

import (
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Status is a status response (RFC 9051 §7.1). A response code that cannot be
// read is text.
type Status struct {
	Type imap.StatusResponseType // in upper case
	Code imap.ResponseCode       // in upper case; "" for none
	Args string                  // of the code
	Text string
}

// parseStatus reads what is behind "* " or a tag; ok is false if it is no status.
func parseStatus(line string) (s Status, ok bool) {
	word, text, _ := strings.Cut(line, " ")
	s = Status{Type: imap.StatusResponseType(strings.ToUpper(word)), Text: strings.TrimSpace(text)}
	switch s.Type {
	case imap.StatusResponseTypeOK, imap.StatusResponseTypeNo, imap.StatusResponseTypeBad, imap.StatusResponseTypePreAuth, imap.StatusResponseTypeBye:
	default:
		return Status{}, false
	}
	inner, rest, closed := strings.Cut(s.Text, "]")
	if !closed || inner == "" || inner[0] != '[' {
		return s, true
	}
	code, args, _ := strings.Cut(inner[1:], " ")
	if strings.HasPrefix(args, "(") && !strings.HasSuffix(strings.TrimSpace(args), ")") {
		// A flag may have a "]" in it: the list ends with the ")" before one.
		if i := strings.Index(s.Text, ")]"); i > 0 {
			_, args, _ = strings.Cut(s.Text[1:i+1], " ")
			rest = s.Text[i+2:]
		}
	}
	s.Code, s.Args, s.Text = imap.ResponseCode(strings.ToUpper(code)), strings.TrimSpace(args), strings.TrimSpace(rest)
	return s, true
}

// Err is the status as an error, nil if it is OK.
func (s Status) Err() error {
	if s.Type == imap.StatusResponseTypeOK || s.Type == imap.StatusResponseTypePreAuth {
		return nil
	}
	return &imap.Error{Type: s.Type, Code: s.Code, Text: s.Text}
}

// IsAlert tells whether the user is to see it.
func (s Status) IsAlert() bool { return s.Code == imap.ResponseCodeAlert }

// Put is which UIDs messages have got that were put into a mailbox: the response codes
// APPENDUID and COPYUID (RFC 4315 §3, RFC 6851 §4.3).
type Put struct {
	UIDValidity uint32  // of the mailbox that they are in
	From        []Range // UIDs where they were before; none where they are new
	To          []Range // theirs now, in the same order
}

// ParsePut reads such a code; ok is false if it is none, or cannot be read.
func ParsePut(s Status) (p Put, ok bool) {
	words := strings.Fields(s.Args)
	switch {
	case s.Code == "APPENDUID" && len(words) == 2:
	case s.Code == "COPYUID" && len(words) == 3:
		if p.From, ok = parseUIDs(words[1]); !ok {
			return Put{}, false
		}
	default:
		return Put{}, false
	}
	validity, err := strconv.ParseUint(words[0], 10, 32)
	p.UIDValidity = uint32(validity)
	p.To, ok = parseUIDs(words[len(words)-1])
	return p, ok && err == nil && validity > 0
}

// parseUIDs reads a set of UIDs (RFC 9051 §9, uid-set).
func parseUIDs(set string) (ranges []Range, ok bool) {
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 32)
		b, err2 := strconv.ParseUint(last, 10, 32)
		if err != nil || err2 != nil || a == 0 || b == 0 {
			return nil, false
		}
		ranges = append(ranges, Range{First: uint32(min(a, b)), Last: uint32(max(a, b))})
	}
	return ranges, true
}

// New returns the UID of the message that had the UID old, of a new one for 0; false if
// it is not among them.
func (p Put) New(old uint32) (uid uint32, ok bool) {
	at := uint64(0)
	if old == 0 && len(p.From) == 0 {
		return p.To[0].First, len(p.To) == 1 && p.To[0].First == p.To[0].Last
	}
	found := false
	for _, r := range p.From {
		if r.First <= old && old <= r.Last {
			at += uint64(old - r.First)
			found = true
			break
		}
		at += uint64(r.Last-r.First) + 1
	}
	for _, r := range p.To {
		n := uint64(r.Last-r.First) + 1
		if found && at < n {
			return r.First + uint32(at), true
		}
		at -= min(at, n)
	}
	return 0, false
}
