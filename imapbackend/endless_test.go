package imapbackend

import (
	"errors"
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
			b := listed(t, (&script{answer: func(tag, command string) string {
				if answered || !strings.HasPrefix(command, "UID FETCH") {
					return ""
				}
				answered = true
				return strings.ReplaceAll(start, "TAG", tag) + "a\r\n" + tag + " OK x\r\n"
			}}).start(t))
			soon(t, "reading", func() {
				if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
					t.Errorf("afterwards: %q, %v", got, err)
				}
			})
			soon(t, "closing", b.Close)
		})
	}
}

// TestSearchInNoOrder has the numbers of the messages in an order for which the
// library needs the square of their count.
func TestSearchInNoOrder(t *testing.T) {
	ascending := func(i, n int) int { return 2*i + 1 }
	descending := func(i, n int) int { return 2*(n-i) + 1 }
	for _, c := range []struct {
		name  string
		n     int
		order func(i, n int) int
		ok    bool
	}{
		{"ascending", 1_000_000, ascending, true},
		{"descending", 10_000, descending, true},
		{"too many descending", 1_000_000, descending, false},
		{"many small ones after a large one", 1_000_000, func(i, n int) int { return (2*i + 2*n - 1) % (2 * n) }, false},
	} {
		for _, kind := range []string{"SEARCH", "ESEARCH"} {
			t.Run(c.name+" in "+kind, func(t *testing.T) {
				numbers := make([]string, c.n)
				for i := range numbers {
					numbers[i] = fmt.Sprint(c.order(i, c.n))
				}
				other := false
				s := &script{}
				s.answer = func(tag, command string) string {
					other = other || strings.HasPrefix(command, `SELECT "Other"`)
					switch {
					case strings.HasPrefix(command, "SELECT INBOX"):
						return strings.Replace(s.usual(tag, command), "3 EXISTS", fmt.Sprint(c.n, " EXISTS"), 1)
					case !strings.HasPrefix(command, "UID SEARCH") || other:
						return ""
					case kind == "SEARCH":
						return "* SEARCH " + strings.Join(numbers, " ") + "\r\n" + tag + " OK x\r\n"
					}
					return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL %s\r\n%s OK x\r\n", tag, strings.Join(numbers, ","), tag)
				}
				b := connect(t, s.start(t))
				l, err := b.Messages(t.Context(), "INBOX")
				if c.ok && (err != nil || len(l.UIDs) != c.n) || !c.ok && !errors.Is(err, errMalformed) {
					t.Errorf("%d messages of %d, %v", len(l.UIDs), c.n, err)
				}
				if l, err := b.Messages(t.Context(), "Other"); err != nil || len(l.UIDs) != 3 {
					t.Errorf("another folder: %d messages, %v", len(l.UIDs), err)
				}
			})
		}
	}
}

func TestAnswerToNoCopy(t *testing.T) {
	b := listed(t, (&script{answer: first(1, "UID FETCH", "* OK [COPYUID 1 5,3,1 2:4] x\r\n")}).start(t))
	if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}
