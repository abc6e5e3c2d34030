package imapbackend

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestHugeSearch(t *testing.T) {
	b := connect(t, (&script{answer: func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "UID SEARCH"):
			return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:4294967295\r\n" + tag + " OK\r\n"
		case strings.HasPrefix(command, "SELECT"):
			return "* 4294967295 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n" + tag + " OK x\r\n"
		}
		return ""
	}}).start(t))
	if _, err := b.Messages(t.Context(), "INBOX"); err == nil {
		t.Error("a listing of 4 billion messages was believed")
	}
}

// TestHugeFolder lists a million messages.
func TestHugeFolder(t *testing.T) {
	const n, most = 1_000_000, 200
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			return strings.Replace(s.usual(tag, command), "3 EXISTS", fmt.Sprint(n, " EXISTS"), 1)
		case strings.HasPrefix(command, "UID SEARCH"):
			return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL 1:%d\r\n%s OK done\r\n", tag, n, tag)
		}
		return ""
	}
	b := connect(t, s.start(t))
	before := heap()
	l, err := b.Messages(t.Context(), "INBOX")
	if err != nil || len(l.UIDs) != n {
		t.Fatalf("%d messages, %v", len(l.UIDs), err)
	}
	each := float64(heap()-before) / n
	t.Logf("%.1f bytes of heap for each message", each)
	if each > most {
		t.Errorf("%.1f bytes of heap for each message, want at most %d", each, most)
	}
	runtime.KeepAlive(b)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestNewMessageWhileListing has a message arrive with the answer to the first
// SEARCH, which does not hold it.
func TestNewMessageWhileListing(t *testing.T) {
	n := 0
	s := &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "UID SEARCH") {
			if n++; n == 1 {
				return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:3\r\n* 4 EXISTS\r\n" + tag + " OK done\r\n"
			}
			return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:4\r\n" + tag + " OK done\r\n"
		}
		return ""
	}}
	b := listed(t, s.start(t))
	eventually(t, "the new message is listed", func() bool {
		l, err := b.Messages(t.Context(), "INBOX")
		return err == nil && len(l.UIDs) == 4
	})
}

// TestSearchInNoOrder has the numbers of the messages in all orders.
func TestSearchInNoOrder(t *testing.T) {
	ascending := func(i, n int) int { return 2*i + 1 }
	descending := func(i, n int) int { return 2*(n-i) + 1 }
	for _, c := range []struct {
		name  string
		n     int
		order func(i, n int) int
	}{
		{"ascending", 60_000, ascending},
		{"descending", 10_000, descending},
		{"many descending", 200_000, descending},
		{"many small ones after a large one", 200_000, func(i, n int) int { return (2*i + 2*n - 1) % (2 * n) }},
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
				if err != nil || len(l.UIDs) != c.n || !slices.IsSorted(l.UIDs) {
					t.Errorf("%d messages of %d, %v", len(l.UIDs), c.n, err)
				}
				if l, err := b.Messages(t.Context(), "Other"); err != nil || len(l.UIDs) != 3 {
					t.Errorf("another folder: %d messages, %v", len(l.UIDs), err)
				}
			})
		}
	}
}
