package wire

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"imapfs/mail"
)

// Trace writes down what is said on all connections, line by line, without
// credentials and without mail. A nil Trace does nothing.
type Trace struct {
	hide func(text string) string

	mu    sync.Mutex // guards what follows, and all filters
	w     io.Writer
	conns int
}

// NewTrace returns a trace that writes to w. Until a connection is logged in
// each text goes through hide, which takes credentials out.
func NewTrace(w io.Writer, hide func(text string) string) *Trace {
	if w == nil {
		return nil
	}
	return &Trace{hide: hide, w: w}
}

// connTrace is the part of one connection.
type connTrace struct {
	*Trace
	number  int
	in, out filter
	open    bool // logged in
	closed  bool
}

func (t *Trace) conn() *connTrace {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns++
	c := &connTrace{Trace: t, number: t.conns}
	c.in = filter{hide: c.hideSecrets, classify: classifyAnswer, emit: func(line string) { c.line("S:", line) }}
	c.out = filter{hide: c.hideSecrets, classify: classifyCommand, emit: func(line string) { c.line("C:", line) }}
	return c
}

// hideSecrets hides what the server repeats of a credential. It does so up to the end
// of the login: later a line that has the password in it, because that is a
// word, would tell so by being left out. It is called with c.mu held.
func (c *connTrace) hideSecrets(text string) string {
	if c.open {
		return text
	}
	return c.hide(text)
}

// locked runs f with c.mu held, if there is a trace.
func (c *connTrace) locked(f func()) {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		f()
	}
}

// loggedIn says that the login is done.
func (c *connTrace) loggedIn() { c.locked(func() { c.open = true }) }

func (c *connTrace) received(p []byte) { c.locked(func() { c.in.feed(p) }) }
func (c *connTrace) sent(p []byte)     { c.locked(func() { c.out.feed(p) }) }

func (c *connTrace) close() {
	c.locked(func() {
		if !c.closed {
			c.closed = true
			c.line("--", "closed")
		}
	})
}

func (c *connTrace) line(who, text string) {
	fmt.Fprintf(c.w, "%s %d %s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), c.number, who, text)
}

// filter takes in one direction of a connection, in whatever pieces it comes,
// and emits lines that hold no literal and no credential. A line with literals
// (RFC 9051 §4.3) is one line. What is not known to be harmless is not shown.
type filter struct {
	hide     func(string) string
	classify func(line string) (shown string, kind lineKind)
	emit     func(string)

	raw     []byte // since the last line end or literal
	dropped int    // bytes that were in raw and are forgotten, because it got too long
	literal uint64 // bytes of a literal that are still to come

	begun bool // a literal has come in this line; shown and kind are what it is so far
	shown strings.Builder
	kind  lineKind
}

// lineKind is what may be shown of a line.
type lineKind int

const (
	kindOpen   lineKind = iota // all but literals
	kindText                   // all: words for people, in which {5} is no literal
	kindFetch                  // all but literals and quoted strings
	kindHidden                 // nothing
	kindSASL                   // nothing, and no literals are in it
)

const (
	longestLine  = 1 << 20 // more than that of a line is not kept
	longestShown = 4096    // more than that of a line is not shown
)

func (f *filter) feed(p []byte) {
	for len(p) > 0 {
		if f.literal > 0 {
			n := min(uint64(len(p)), f.literal)
			f.literal -= n
			p = p[n:]
			continue
		}
		chunk, rest, ended := bytes.Cut(p, []byte("\n"))
		f.raw = append(f.raw, chunk...)
		if n := len(f.raw) - longestLine; n > 0 {
			// The end of the line can announce a literal.
			const end = 64
			f.dropped += len(f.raw) - end
			f.raw = append(f.raw[:0], f.raw[len(f.raw)-end:]...)
		}
		if ended {
			f.lineEnd()
		}
		p = rest
	}
}

// literalStart is the end of a line that a literal follows.
var literalStart = regexp.MustCompile(`~?\{(\d+)\+?\}$`)

// lineEnd takes in the end of a line, or of the part of it before a literal.
func (f *filter) lineEnd() {
	line := strings.TrimSuffix(string(f.raw), "\r")
	size := f.dropped + len(line)
	text := line
	if !f.begun {
		text, f.kind = f.classify(line)
	}
	if f.dropped > 0 {
		f.kind = kindHidden // its beginning is not known any more
	}
	switch {
	case f.kind == kindHidden && f.begun:
		text = ""
	case text == "" && !f.begun || f.dropped > 0:
		text = fmt.Sprintf("[%d bytes]", size)
	default:
		text = f.hide(text)
	}
	f.raw, f.dropped = f.raw[:0], 0

	literal := literalStart.FindStringSubmatch(line)
	if f.kind == kindText || f.kind == kindSASL {
		literal = nil
	}
	if literal != nil {
		text = strings.TrimSuffix(text, literal[0])
	}
	if f.kind == kindFetch {
		var closed bool
		if text, closed = unquote(text); !closed {
			f.kind = kindHidden // who knows where quotes begin and end now
		}
	}
	f.show(text)
	if literal != nil {
		if f.kind != kindHidden {
			f.show(fmt.Sprintf("{%s} ...%[1]s bytes...", literal[1]))
		}
		n, err := strconv.ParseUint(literal[1], 10, 64)
		if err != nil {
			n = math.MaxUint64 // no end
		}
		f.literal, f.begun = n, true
		return
	}
	f.whole()
}

// whole emits what there is of a line that has come to its end.
func (f *filter) whole() {
	all := []rune(mail.Plain(f.shown.String()))
	if len(all) > longestShown {
		all = append(all[:longestShown], []rune("...")...)
	}
	f.emit(string(all))
	f.shown.Reset()
	f.begun = false
}

func (f *filter) show(text string) {
	if f.shown.Len() <= longestShown*4 {
		f.shown.WriteString(text)
	}
}

// unquote takes the contents of quoted strings away, and tells whether the last
// one has an end.
func unquote(text string) (string, bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
			b.WriteByte('"')
			if quoted {
				b.WriteString("...")
			}
		case quoted && text[i] == '\\':
			i++
		case !quoted:
			b.WriteByte(text[i])
		}
	}
	return b.String(), !quoted
}

// The patterns tell lines that are known from all others, which are not shown:
// behind a literal shorter than announced, mail looks like lines.
var (
	harmlessCommand = regexp.MustCompile(`^[A-Z]\d* (UID )?(CAPABILITY|NOOP|LOGOUT|STARTTLS|COMPRESS|ID|ENABLE|NAMESPACE|LIST|LSUB|STATUS|SELECT|EXAMINE|UNSELECT|CLOSE|CHECK|FETCH|SEARCH|STORE|COPY|MOVE|EXPUNGE|APPEND|CREATE|RENAME|DELETE|SUBSCRIBE|UNSUBSCRIBE|IDLE)( |$)|^DONE$`)
	loginCommand    = regexp.MustCompile(`(?i)^\S* (LOGIN|AUTHENTICATE \S+)`)
	statusAnswer    = regexp.MustCompile(`^([A-Z]\d*|\*) (?i:OK|NO|BAD|BYE|PREAUTH)( |$)`)
	fetchData       = regexp.MustCompile(`(?i)^\* \d+ FETCH `)
	harmlessAnswer  = regexp.MustCompile(`(?i)^\* (CAPABILITY|ENABLED|NAMESPACE|LIST|LSUB|STATUS|SEARCH|ESEARCH|FLAGS|ID|\d+ EXISTS|\d+ RECENT|\d+ EXPUNGE)( |$)`)
)

func classifyCommand(line string) (string, lineKind) {
	if harmlessCommand.MatchString(line) {
		return line, kindOpen
	}
	if m := loginCommand.FindString(line); strings.HasSuffix(strings.ToUpper(m), " LOGIN") {
		return m + " [not shown]", kindHidden
	} else if m != "" {
		return m + " [not shown]", kindSASL
	}
	return "", kindSASL // a SASL answer
}

func classifyAnswer(line string) (string, lineKind) {
	switch {
	case strings.HasPrefix(line, "+"):
		return "+ [not shown]", kindSASL
	case statusAnswer.MatchString(line):
		return line, kindText
	case fetchData.MatchString(line):
		return line, kindFetch
	case harmlessAnswer.MatchString(line):
		return line, kindOpen
	}
	return "", kindHidden
}
