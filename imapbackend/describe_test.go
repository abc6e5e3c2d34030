package imapbackend

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestDescribeInOneFlight answers none of the questions about a large folder
// before all have come.
func TestDescribeInOneFlight(t *testing.T) {
	const messages = 3 * mostAttrs
	held, asked := "", 0
	s := &script{answer: func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			return fmt.Sprintf("* %d EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT %d] x\r\n%s OK done\r\n", messages, messages+1, tag)
		case strings.HasPrefix(command, "UID SEARCH"):
			return fmt.Sprintf("* ESEARCH (TAG \"%s\") UID ALL 1:%d\r\n%s OK done\r\n", tag, messages, tag)
		case strings.HasPrefix(command, "UID FETCH"):
			var from, to int
			fmt.Sscanf(command, "UID FETCH %d:%d", &from, &to)
			for uid := from; uid <= to; uid++ {
				held += fmt.Sprintf("* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE %s FLAGS ())\r\n", uid, uid, uid, goodDate)
			}
			held += tag + " OK done\r\n"
			if asked++; asked < messages/mostAttrs {
				return silent
			}
			return held
		}
		return ""
	}}
	b := listed(t, s.start(t))
	l, err := b.Messages(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "asking for all", func() {
		if err := b.Describe("INBOX", l); err != nil {
			t.Error(err)
		}
	})
	for _, uid := range []uint32{1, mostAttrs + 1, messages} {
		if attr, known, err := b.Known(msg(uid)); err != nil || !known || attr.Size != int64(uid) {
			t.Errorf("UID %d: %+v, %v, %v", uid, attr, known, err)
		}
	}
}

// TestSizeBeyondCounting has a server tell the largest number there is.
func TestSizeBeyondCounting(t *testing.T) {
	b := listed(t, fetchAnswer(func(uid int) string {
		return fmt.Sprintf("* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE %s)\r\n", uid, uid, int64(math.MaxInt64), goodDate)
	}).start(t))
	if attr, err := b.Attr(t.Context(), msg(2)); err != nil || attr.Size <= 0 {
		t.Errorf("%+v, %v", attr, err)
	}
}
