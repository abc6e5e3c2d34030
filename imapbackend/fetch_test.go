package imapbackend

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imapfs/mail"
)

func TestForeignAnswers(t *testing.T) {
	flagsSent := false
	b := listed(t, fetchAnswer(func(uid int) string {
		s := "* 9 FETCH (UID 99 RFC822.SIZE 1)\r\n"
		if !flagsSent { // takes the place of the answer, in the library
			flagsSent = true
			s += fmt.Sprintf("* %d FETCH (UID %d FLAGS (\\Seen))\r\n", uid, uid)
		}
		return s + line(uid, goodStructure, goodDate)
	}).start(t))
	a, err := b.Attr(t.Context(), msg(2))
	if err != nil || a.Size != 20 || a.Date.Year() != 2001 {
		t.Error(a, err)
	}
}

func TestGoneMessage(t *testing.T) {
	for name, end := range map[string]string{"nothing": "OK done", "EXPUNGEISSUED": "NO [EXPUNGEISSUED] gone"} {
		t.Run(name, func(t *testing.T) {
			b := listed(t, (&script{answer: func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "UID FETCH"):
					return tag + " " + end + "\r\n"
				case strings.HasPrefix(command, "UID SEARCH"):
					if strings.Contains(command, "UID 2") {
						return "* ESEARCH (TAG \"" + tag + "\") UID\r\n" + tag + " OK done\r\n"
					}
				}
				return ""
			}}).start(t))
			_, attrErr := b.Attr(t.Context(), msg(2))
			_, structureErr := b.Structure(t.Context(), msg(2))
			_, fetchErr := b.Fetch(msg(2), "", 0, -1)
			for _, err := range []error{attrErr, structureErr, fetchErr} {
				if !errors.Is(err, mail.ErrNotFound) {
					t.Errorf("%v, want ErrNotFound", err)
				}
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	cfg := (&script{answer: first(2, "UID FETCH", silent)}).start(t)
	cfg.Timeout = 200 * time.Millisecond
	b := listed(t, cfg)
	if _, err := b.Fetch(msg(1), "", 0, -1); !errors.Is(err, mail.ErrTimeout) {
		t.Errorf("%v, want ErrTimeout", err)
	}
	if got, err := b.Fetch(msg(1), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}

func TestCutLiteral(t *testing.T) {
	b := listed(t, (&script{answer: first(1, "UID FETCH", "* 1 FETCH (UID 1 BODY[] {20}\r\nSubj"+cut)}).start(t))
	if got, err := b.Fetch(msg(1), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHugeLiteral(t *testing.T) {
	b := listed(t, (&script{answer: first(1, "UID FETCH", "* 1 FETCH (UID 1 BODY[] {4294967296}\r\nSubj")}).start(t))
	if got, err := b.Fetch(msg(1), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("%q, %v; the second answer is as it should be", got, err)
	}
}

func TestFetchStarts(t *testing.T) {
	s := &script{answer: func(tag, command string) string {
		if !strings.Contains(command, "BODY.PEEK") {
			return ""
		}
		return body(1, rawMail) + // without the origin octet
			"* 2 FETCH (UID 2 BODY[]<0> NIL)\r\n" + // expunged just now
			"* 3 FETCH (UID 3 BODY[]<0> {200}\r\n" + strings.Repeat("x", 200) + ")\r\n" + // more than was asked for
			tag + " OK done\r\n"
	}}
	b := listed(t, s.start(t))
	got := make(map[uint32]string)
	err := b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2, 3}}, 100, func(uid uint32, start []byte) {
		got[uid] = string(start)
	})
	if err != nil || len(got) != 1 || got[1] != rawMail {
		t.Errorf("got %v, %v; want message 1 only", got, err)
	}
	if n := s.count("UID FETCH 1:3 (UID BODY.PEEK[]<0.100>)"); n != 1 {
		t.Errorf("%d such commands, want 1", n)
	}
}

// TestBatchBesideFetch has the library give the answer to a batch to a single
// FETCH of the same message.
func TestBatchBesideFetch(t *testing.T) {
	whole := "Subject: x\r\n\r\n" + strings.Repeat("0123456789", 10)
	var first string
	s := &script{answer: func(tag, command string) string {
		switch {
		case !strings.Contains(command, "BODY.PEEK"):
			return ""
		case strings.Contains(command, "<0.20>"):
			first = tag
			return "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n" +
				fmt.Sprintf("* 2 FETCH (UID 2 BODY[]<0> {20}\r\n%s)\r\n%s OK x\r\n", whole[:20], first)
		}
		return body(2, whole) + tag + " OK x\r\n"
	}}
	b := listed(t, s.start(t))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{2}}, 20, func(_ uint32, start []byte) {
				if string(start) != whole[:20] {
					t.Errorf("the start: %q", start)
				}
			})
		})
		wg.Go(func() {
			if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != whole {
				t.Errorf("%d bytes of %d, %v", len(got), len(whole), err)
			}
		})
	}
	wg.Wait()
}

func TestMoreThanWasAskedFor(t *testing.T) {
	sections := 0
	s := &script{answer: func(tag, command string) string {
		if !strings.Contains(command, "BODY.PEEK") {
			return ""
		}
		var b strings.Builder
		b.WriteString("* 2 FETCH (UID 2")
		for range sections {
			b.WriteString(" BODY[]<0> {9}\r\nSubject: ")
		}
		return b.String() + ")\r\n" + tag + " OK\r\n"
	}}
	b := listed(t, s.start(t))
	for sections = range 4 {
		if sections == 0 {
			continue
		}
		got, err := b.Fetch(msg(2), "", 0, 10)
		if want := sections == 1; (err == nil) != want || want && string(got) != "Subject: " {
			t.Errorf("%d sections: %q, %v", sections, got, err)
		}
	}
}

// TestStartThatCannotBeRead has one message among others that cannot be read. The
// others come.
func TestStartThatCannotBeRead(t *testing.T) {
	for name, bad := range map[string]string{
		"unreadable": "* 2 FETCH (UID 2 BODY[]<0> oops)\r\n",
		"too large":  "* 2 FETCH (UID 2 BODY[]<0> {200}\r\n" + strings.Repeat("x", 200) + ")\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				answer := s.usual(tag, command)
				if strings.Contains(command, "BODY.PEEK[]<0.100>") {
					answer = strings.Replace(answer, body(2, rawMail), bad, 1)
				}
				return answer
			}
			b := listed(t, s.start(t))
			starts := func() ([]uint32, error) {
				var got []uint32
				err := b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2, 3}}, 100, func(uid uint32, _ []byte) { got = append(got, uid) })
				return got, err
			}
			if got, err := starts(); err != nil || !slices.Equal(got, []uint32{1, 3}) {
				t.Errorf("messages %d, %v", got, err)
			}
		})
	}
}

// TestFetchOfNew asks for a message on a connection that has not told of it yet: it tells
// then, and gives nothing. It is asked once more before anything else is tried.
func TestFetchOfNew(t *testing.T) {
	for _, c := range []struct {
		told string // with an answer without the message
		want []string
	}{
		{"* 4 EXISTS\r\n", []string{"[]", "[]"}},
		{"", []string{"[]", "[HEADER]"}},
	} {
		var sent []string
		a := newAccount("")
		a.twist = func(tag, command string, do func() string) string {
			if _, section, isIt := strings.Cut(command, "BODY.PEEK"); isIt {
				if sent = append(sent, strings.TrimSuffix(section, ")")); len(sent) == 1 {
					return c.told + tag + " OK done\r\n"
				}
			}
			return do()
		}
		b := listed(t, a.start(t))
		got, err := b.Fetch(msg(3), "", 0, -1)
		if err == nil && string(got) != letterOf(3) || len(sent) < 2 || !slices.Equal(sent[:2], c.want) {
			t.Errorf("%q: sent %q: %q, %v", c.told, sent, got, err)
		}
	}
}
