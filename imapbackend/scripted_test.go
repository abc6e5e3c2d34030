package imapbackend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"imapfs/mail"
)

// script is an IMAP server that says what no real one should.
type script struct {
	answer   func(tag, command string) string // "" to go on as usual
	greeting func(n int) string               // of the nth connection, from 1
	more     func(w io.Writer, tag string)    // what follows flooding
	caps     string

	mu  sync.Mutex
	n   int      // connections so far
	log []string // commands without their tags
	raw []string // all lines

	wasReset chan struct{} // if not nil, a reset is told here
}

const (
	cut    = "\x00cut"    // at the end of an answer: close the connection
	silent = "\x00silent" // say nothing

	flooding = "\x00flooding" // at the end of an answer: go on with more
	reset    = "\x00reset"    // at the end of an answer: end the connection with RST
)

func (s *script) start(t *testing.T) Config {
	t.Helper()
	if s.caps == "" {
		s.caps = "IMAP4rev1 UIDPLUS ESEARCH"
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	cfg := config(ln.Addr().String(), "anna", "secret")
	cfg.Connections = 1
	return cfg
}

func (s *script) serve(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	greeting := "* OK [CAPABILITY " + s.caps + "] ready"
	if s.greeting != nil {
		greeting = s.greeting(n)
	}
	fmt.Fprintf(c, "%s\r\n", greeting)
	s.talk(c)
}

// talk answers the commands.
func (s *script) talk(c net.Conn) {
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		tag, command, _ := strings.Cut(lines.Text(), " ")
		s.mu.Lock()
		s.log = append(s.log, command)
		s.raw = append(s.raw, lines.Text())
		answer := ""
		if s.answer != nil {
			answer = s.answer(tag, command)
		}
		s.mu.Unlock()
		if answer == "" {
			answer = s.usual(tag, command)
		}
		if answer == silent {
			continue
		}
		text, isReset := strings.CutSuffix(answer, reset)
		if isReset {
			fmt.Fprint(c, text)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			s.wasReset <- struct{}{}
			return
		}
		text, end := strings.CutSuffix(answer, cut)
		text, more := strings.CutSuffix(text, flooding)
		fmt.Fprint(c, text)
		if more {
			s.more(c, tag)
		}
		if end || strings.HasPrefix(command, "LOGOUT") {
			return
		}
	}
}

func (s *script) usual(tag, command string) string {
	ok := tag + " OK done\r\n"
	switch word, _, _ := strings.Cut(strings.TrimPrefix(command, "UID "), " "); word {
	case "CAPABILITY":
		return "* CAPABILITY " + s.caps + "\r\n" + ok
	case "LIST":
		return "* LIST () \"/\" INBOX\r\n" + ok
	case "SELECT", "EXAMINE":
		return "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n* OK [PERMANENTFLAGS (\\Deleted)] x\r\n" + ok
	case "SEARCH":
		return "* ESEARCH (TAG \"" + tag + "\") UID ALL 1:3\r\n" + ok
	case "EXPUNGE":
		return "* 2 EXPUNGE\r\n" + ok
	case "LOGOUT":
		return "* BYE\r\n" + ok
	case "FETCH":
		return fetched(command, func(uid int) string { return line(uid, goodStructure, goodDate) }) + ok
	}
	return ok
}

func (s *script) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.log {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

const (
	goodStructure = `("text" "html" NIL NIL NIL "7bit" 4 1)`
	goodDate      = `"01-Jan-2001 12:00:00 +0000"`
	rawMail       = "Subject: x\r\n\r\ntext\r\n"
)

// fetched answers a UID FETCH with each message asked for.
func fetched(command string, each func(uid int) string) string {
	set := strings.Fields(command)[2]
	var b strings.Builder
	for uid := 1; uid <= 3; uid++ {
		for r := range strings.SplitSeq(set, ",") {
			var lo, hi int
			if n, _ := fmt.Sscanf(r, "%d:%d", &lo, &hi); n == 1 {
				hi = lo
			}
			if lo <= uid && uid <= hi {
				if strings.Contains(command, "BODY.PEEK") {
					b.WriteString(body(uid, rawMail))
				} else {
					answer := each(uid)
					if before, after, ok := strings.Cut(answer, "BODYSTRUCTURE"); ok && !strings.Contains(command, "BODYSTRUCTURE") {
						answer = before + after[strings.Index(after, " RFC822.SIZE")+1:]
					}
					b.WriteString(answer)
				}
			}
		}
	}
	return b.String()
}

func line(uid int, structure, date string) string {
	return fmt.Sprintf("* %d FETCH (BODYSTRUCTURE %s RFC822.SIZE 20 INTERNALDATE %s UID %d FLAGS ())\r\n", uid, structure, date, uid)
}

func body(uid int, raw string) string {
	return fmt.Sprintf("* %d FETCH (UID %d BODY[] {%d}\r\n%s)\r\n", uid, uid, len(raw), raw)
}

func msg(uid uint32) mail.ID { return mail.ID{Folder: "INBOX", UIDValidity: 7, UID: uid} }

func listed(t *testing.T, cfg Config) *Backend {
	t.Helper()
	b := connect(t, cfg)
	if _, err := b.Messages(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	return b
}

// fetchAnswer is a script in which only UID FETCH has answers of its own.
func fetchAnswer(each func(uid int) string) *script {
	return &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "UID FETCH") {
			return fetched(command, each) + tag + " OK done\r\n"
		}
		return ""
	}}
}

func TestMalformedStructure(t *testing.T) {
	for name, bad := range map[string]string{
		"unescaped quote": `("text" "html" ("name" "a"b") NIL NIL "7bit" 4 1)`,
		"a NIL too few":   `("text" "html" NIL NIL "7bit" 4 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			b := listed(t, fetchAnswer(func(uid int) string {
				if uid == 2 {
					return line(uid, bad, goodDate)
				}
				return line(uid, goodStructure, goodDate)
			}).start(t))
			for uid, want := range map[uint32]string{1: "text/html", 2: "text/plain", 3: "text/html"} {
				root, err := b.Structure(t.Context(), msg(uid))
				if err != nil || root.Type != want {
					t.Errorf("UID %d: %+v, %v, want %s", uid, root, err, want)
				}
				attr, err := b.Attr(t.Context(), msg(uid))
				if err != nil || attr.Size != 20 || attr.Date.Year() < 2000 {
					t.Errorf("UID %d: %+v, %v, want size and date in spite of the structure", uid, attr, err)
				}
			}
		})
	}
}

func TestMalformedDate(t *testing.T) {
	b := listed(t, fetchAnswer(func(uid int) string {
		return fmt.Sprintf("* %d FETCH (UID %d INTERNALDATE \"yesterday\" RFC822.SIZE 20)\r\n", uid, uid)
	}).start(t))
	if _, err := b.Attr(t.Context(), msg(2)); err != nil {
		t.Error(err)
	}
}

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
				if strings.HasPrefix(command, "UID FETCH") {
					return tag + " " + end + "\r\n"
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

// first is an answer to the first n commands with a prefix.
func first(n int, prefix, answer string) func(tag, command string) string {
	return func(tag, command string) string {
		if n > 0 && strings.HasPrefix(command, prefix) {
			n--
			return answer
		}
		return ""
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
	if _, err := b.Fetch(msg(1), "", 0, -1); !errors.Is(err, errTooLarge) {
		t.Errorf("%v, want errTooLarge", err)
	}
}

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

func TestLostDelete(t *testing.T) {
	for name, done := range map[string]bool{"done": true, "not done": false} {
		t.Run(name, func(t *testing.T) {
			broken := false
			s := &script{answer: func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "UID STORE") && !broken:
					broken = true
					return cut
				case strings.HasPrefix(command, "UID SEARCH UID") || strings.HasPrefix(command, "UID SEARCH 2"):
					if done {
						return "* SEARCH\r\n" + tag + " OK x\r\n"
					}
					return "* SEARCH 2\r\n" + tag + " OK x\r\n"
				}
				return ""
			}}
			b := listed(t, s.start(t))
			if err := b.Delete(t.Context(), msg(2)); err != nil {
				t.Fatal(err)
			}
			want := map[bool]int{true: 1, false: 2}[done]
			if got := s.count("UID STORE"); got != want {
				t.Errorf("%d STORE, want %d", got, want)
			}
			if l, _ := b.Messages(t.Context(), "INBOX"); !reflect.DeepEqual(l.UIDs, []uint32{1, 3}) {
				t.Error(l)
			}
		})
	}
}

func TestLoginRefused(t *testing.T) {
	cfg := (&script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "LOGIN") {
			return tag + " NO wrong\r\n"
		}
		return ""
	}}).start(t)
	_, err := Connect(t.Context(), cfg)
	var login *LoginError
	if !errors.As(err, &login) {
		t.Errorf("%v, want a LoginError", err)
	}
	s := &script{caps: "IMAP4rev1 LOGINDISABLED"}
	if _, err := Connect(t.Context(), s.start(t)); err == nil || s.count("LOGIN") > 0 {
		t.Errorf("LOGINDISABLED: %v, %d logins sent", err, s.count("LOGIN"))
	}
}

func TestOneConnectionOnly(t *testing.T) {
	s := &script{caps: "IMAP4rev1 ESEARCH"}
	s.greeting = func(n int) string {
		if n > 1 {
			return "* BYE too many connections"
		}
		return "* OK hello"
	}
	cfg := s.start(t)
	cfg.Connections = 4
	b := connect(t, cfg)
	for _, folder := range []string{"INBOX", "Other"} {
		if l, err := b.Messages(t.Context(), folder); err != nil || len(l.UIDs) != 3 {
			t.Error(folder, l, err)
		}
	}
}

// TestSelectAndCommandInOneFlight answers SELECT only when the command that
// needs it has come too.
func TestSelectAndCommandInOneFlight(t *testing.T) {
	held := ""
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			held = s.usual(tag, command)
			return silent
		case held != "" && (strings.HasPrefix(command, "UID SEARCH") || strings.HasPrefix(command, "UID FETCH")):
			both := held + s.usual(tag, command)
			held = ""
			return both
		}
		return ""
	}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	// Back on the first folder, with content right behind the SELECT.
	if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestAnotherValidityBehindSelect has a folder numbered anew while another one
// was selected. What comes behind the SELECT belongs to other messages.
func TestAnotherValidityBehindSelect(t *testing.T) {
	for what, f := range map[string]func(b *Backend) error{
		"fetch":    func(b *Backend) error { _, err := b.Fetch(msg(2), "", 0, -1); return err },
		"delete":   func(b *Backend) error { return b.Delete(t.Context(), msg(2)) },
		"describe": func(b *Backend) error { _, err := b.Attr(t.Context(), msg(2)); return err },
		"structure": func(b *Backend) error {
			_, err := b.Structure(t.Context(), msg(2))
			return err
		},
		"starts": func(b *Backend) error {
			return b.FetchStarts("INBOX", mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2}}, 100, func(uint32, []byte) {
				t.Error("a message of the old numbering was handed out")
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			n := 0
			s := &script{}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "SELECT INBOX") {
					if n++; n > 1 {
						return strings.Replace(s.usual(tag, command), "UIDVALIDITY 7", "UIDVALIDITY 8", 1)
					}
				}
				return ""
			}
			b := listed(t, s.start(t))
			if _, err := b.Messages(t.Context(), "Other"); err != nil {
				t.Fatal(err)
			}
			if err := f(b); !errors.Is(err, mail.ErrStale) {
				t.Errorf("got %v, want %v", err, mail.ErrStale)
			}
			if n := s.count("UID STORE") + s.count("UID EXPUNGE"); n > 0 {
				t.Errorf("%d commands to delete were sent", n)
			}
		})
	}
}

// TestRefusedSelect has a NO to SELECT and a BAD to what was sent behind it.
func TestRefusedSelect(t *testing.T) {
	s := &script{answer: func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			return tag + " NO [NONEXISTENT] no such mailbox\r\n"
		case strings.HasPrefix(command, "UID"):
			return tag + " BAD no mailbox is selected\r\n"
		}
		return ""
	}}
	b := connect(t, s.start(t))
	if _, err := b.Messages(t.Context(), "INBOX"); !errors.Is(err, mail.ErrNotFound) {
		t.Errorf("got %v, want %v", err, mail.ErrNotFound)
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
	if !errors.Is(err, errTooLarge) || len(got) != 1 || got[1] != rawMail {
		t.Errorf("got %v, %v; want message 1 only and %v", got, err, errTooLarge)
	}
	if n := s.count("UID FETCH 1:3 (UID BODY.PEEK[]<0.100>)"); n != 1 {
		t.Errorf("%d such commands, want 1", n)
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
