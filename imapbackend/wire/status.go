package wire

import (
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
