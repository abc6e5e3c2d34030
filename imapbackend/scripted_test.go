package imapbackend

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
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
	wrap     func(net.Conn) net.Conn         // what it speaks through; nil: plainly
	letter   func(r io.Reader, n int) []byte // reads a literal; nil: at once
	idle     time.Duration                   // a client that says nothing for so long is sent away; 0: never

	mu      sync.Mutex
	n       int      // connections so far
	log     []string // commands without their tags
	raw     []string // all lines
	letters []string // literals
	conns   []net.Conn
	idling  net.Conn // on which IDLE came last

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
	if s.wrap != nil {
		c = s.wrap(c)
	}
	s.mu.Lock()
	s.n++
	n := s.n
	s.conns = append(s.conns, c)
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
	in, idle := bufio.NewReader(c), ""
	next := func() (line string, ok bool) {
		if s.idle > 0 {
			c.SetReadDeadline(time.Now().Add(s.idle))
		}
		line, err := in.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err == nil
	}
	for line, ok := next(); ok; line, ok = next() {
		tag, command, _ := strings.Cut(line, " ")
		if more, ok := s.literal(c, in, tag, command); !ok {
			return
		} else if !more {
			continue
		}
		s.mu.Lock()
		switch {
		case command == "IDLE":
			idle, s.idling = tag, c
		case tag == "DONE":
			tag, command = idle, tag
		}
		s.log = append(s.log, command)
		s.raw = append(s.raw, line)
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

// literal takes in the one that ends a command. answer is asked for each that waits for
// a "+", with the tag "": "" for that, or another answer with "%s" for the tag. goOn is
// false if there was such an answer, ok if the connection has ended.
func (s *script) literal(c net.Conn, in *bufio.Reader, tag, command string) (goOn, ok bool) {
	_, size, found := strings.Cut(command, "{")
	if !found || !strings.HasPrefix(command, "APPEND") {
		return true, true
	}
	var n int
	fmt.Sscanf(size, "%d", &n)
	if !strings.HasSuffix(size, "+}") {
		s.mu.Lock()
		answer := ""
		if s.answer != nil {
			answer = s.answer("", command)
		}
		s.mu.Unlock()
		switch {
		case strings.HasSuffix(answer, cut):
			return false, false
		case answer == silent:
			return false, true
		case answer != "":
			s.mu.Lock()
			s.log = append(s.log, command)
			s.mu.Unlock()
			fmt.Fprintf(c, answer, tag)
			return false, true
		}
		fmt.Fprint(c, "+ go on\r\n")
	}
	read := s.letter
	if read == nil {
		read = func(r io.Reader, n int) []byte {
			b := make([]byte, n)
			got, _ := io.ReadFull(r, b)
			return b[:got]
		}
	}
	letter := read(in, n)
	if len(letter) < n {
		return false, false
	}
	if end, err := in.ReadString('\n'); err != nil || end != "\r\n" {
		return false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letters = append(s.letters, string(letter))
	return true, true
}

func (s *script) usual(tag, command string) string {
	ok := tag + " OK done\r\n"
	switch word, _, _ := strings.Cut(strings.TrimPrefix(command, "UID "), " "); word {
	case "CAPABILITY":
		return "* CAPABILITY " + s.caps + "\r\n" + ok
	case "IDLE":
		return "+ idling\r\n"
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

// tell says something on the connection that idles.
func (s *script) tell(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, end := strings.CutSuffix(text, cut)
	fmt.Fprint(s.idling, text)
	if end {
		s.idling.Close()
	}
}

// since returns the commands from the first one with a prefix on.
func (s *script) since(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.log, func(c string) bool { return strings.HasPrefix(c, prefix) })
	if i < 0 {
		return nil
	}
	return slices.Clone(s.log[i:])
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
	goodHeader    = "Content-Type: text/html\r\n\r\n"
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
				switch {
				case strings.Contains(command, "HEADER.FIELDS"):
					answer := strings.TrimSuffix(each(uid), ")\r\n")
					b.WriteString(answer + fmt.Sprintf(" BODY[HEADER.FIELDS (\"Content-Type\")] {%d}\r\n%s)\r\n", len(goodHeader), goodHeader))
				case strings.Contains(command, "BODY.PEEK"):
					b.WriteString(body(uid, rawMail))
				default:
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

// soon waits for the end of f, which must not hang.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatalf("%s hangs", what)
	}
}
