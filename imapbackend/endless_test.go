package imapbackend

import (
	"fmt"
	"strings"
	"testing"
)

// TestListOfCapabilities has a server send a list where only names may stand,
// on which the library goes round for ever.
func TestListOfCapabilities(t *testing.T) {
	for _, start := range []string{
		"* CAPABILITY IMAP4rev1(", "* capability (", "* 5 CAPABILITY(a)", "* OK [CAPABILITY IMAP4rev1 (", "* NO [CAPABILITY(", "TAG OK [CAPABILITY (",
	} {
		t.Run(start, func(t *testing.T) {
			answered := false
			s := &script{}
			s.answer = func(tag, command string) string {
				if answered || !strings.HasPrefix(command, "UID FETCH") {
					return ""
				}
				answered = true
				if strings.HasPrefix(start, "TAG") {
					return body(2, rawMail) + tag + start[3:] + "a\r\n"
				}
				return start + "a\r\n" + s.usual(tag, command)
			}
			b := listed(t, s.start(t))
			soon(t, "reading", func() {
				if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
					t.Errorf("afterwards: %q, %v", got, err)
				}
			})
			soon(t, "closing", b.Close)
		})
	}
}

// TestAnswerToNoCopy has numbers to sort where nobody has asked for them: a few,
// which cost nothing, and so many backwards that sorting them takes minutes.
func TestAnswerToNoCopy(t *testing.T) {
	var many strings.Builder
	for i := 100_000; i > 0; i-- {
		fmt.Fprintf(&many, "%d,", i*2)
	}
	for name, set := range map[string]string{"few": "5,3,", "many": many.String()} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "UID FETCH") {
					return "* OK [COPYUID 1 " + set + "1 2:4] x\r\n" + s.usual(tag, command)
				}
				return ""
			}
			b := listed(t, s.start(t))
			soon(t, "reading", func() {
				if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
					t.Errorf("afterwards: %q, %v", got, err)
				}
			})
		})
	}
}
