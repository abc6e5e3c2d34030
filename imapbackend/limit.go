package imapbackend

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
)

// Bounds for what a server may send. The library reads everything but the
// content of messages into memory, and lists by recursion.
const (
	// One response: a BODYSTRUCTURE of some 5000 parts. A message with a larger
	// one counts as one whose BODYSTRUCTURE cannot be read.
	mostResponse = 1 << 20
	// SEARCH and ESEARCH may name each message of a folder: 8 bytes each for a
	// million of them. The library needs 20 times as much memory.
	mostSearch = 8 << 20
	// All responses up to the next tagged one: a FETCH or LIST of some 200,000
	// messages or mailboxes. This package asks for 2048 messages at once.
	mostText = 16 << 20
	// Likewise, of messages' content.
	mostContent = 1 << 30
	// Lists inside one another. Dovecot stops at 100 MIME levels, each of which
	// is a list here. The library's own bound is the same, but it does not hold
	// for BODYSTRUCTURE.
	mostNesting = 1000
	// The library keeps the numbers of a SEARCH in order, and moves all larger
	// ones to put one among them: about a second for 2^30 moves, which is a
	// folder of 46,000 messages backwards. A million would take half an hour.
	mostMoves = 1 << 30
)

// limitedConn ends a connection on which more comes than the bounds above
// allow, before the library sees it.
//
// It follows the syntax of responses (RFC 9051 §9) only as far as it has to:
// lines, quoted strings, lists, literals. Where the library could see the end
// of a response elsewhere than this, it is refused: what hides in a literal is
// not looked at.
type limitedConn struct {
	net.Conn
	bye   func()            // called when the server has said BYE; nil for nothing
	alert func(text string) // and when it has said something that the user is to see

	mu     sync.Mutex // guards what follows
	failed error
	parted string // what the server has said behind BYE

	// Of the responses since the last tagged one:
	text, content int64
	numbers       int64 // of SEARCH and COPYUID; of which, at most, so many
	moves         int64 // had to be moved
	highest       int64 // of them

	// Of the response that is being read:
	place   place
	line    int64 // its length, with its literals but without content
	most    int64 // bound of line
	words   []byte
	fetch   bool
	search  bool
	number  int64 // in one of these, that is being read; 0 for none
	depth   int
	escape  bool    // in a quoted string, behind a backslash
	last    [2]byte // before this byte
	literal int64   // announced, or what is left of it
	digits  int
	isOpen  bool // the literal is content
	isBye   bool
	isText  bool
	said    []byte // of the status response that is being read, up to mostSaid
	sieve   sieve
}

// place says what the next byte belongs to.
type place int

const (
	inWords   place = iota // the words that tell what kind of response it is
	inCodeMay              // of a status response, where a "[" may follow
	inCode                 // its response code
	inFree                 // its text
	inData                 // another response
	inQuoted               // a quoted string in it
	inSize                 // the digits of a literal
	inSizeEnd              // between them and the literal
	inLiteral
)

// mostSaid is longer than what is shown of it.
const mostSaid = 1000

// heard takes in the text of a status response.
func (c *limitedConn) heard(text string) {
	if c.isBye {
		c.mu.Lock()
		c.parted = text
		c.mu.Unlock()
	}
	if code, rest, ok := strings.Cut(text, "]"); ok && strings.EqualFold(code, "[ALERT") && c.alert != nil {
		c.alert(strings.TrimSpace(rest))
	}
}

// farewell returns the BYE of the server, nil if there was none with a text.
func (c *limitedConn) farewell() *imap.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parted == "" {
		return nil
	}
	return parseBye(c.parted)
}

// parseBye parses what stands behind BYE.
func parseBye(text string) *imap.Error {
	status := &imap.Error{Type: imap.StatusResponseTypeBye, Text: text}
	if code, rest, ok := strings.Cut(text, "]"); ok && strings.HasPrefix(code, "[") {
		word, _, _ := strings.Cut(code[1:], " ")
		status.Code, status.Text = imap.ResponseCode(word), strings.TrimSpace(rest)
	}
	return status
}

// mostWords is longer than "* 4294967295 ESEARCH" and any tag.
const mostWords = 64

func limit(c net.Conn) *limitedConn {
	return &limitedConn{Conn: c, most: mostResponse}
}

// Read reads from the server, up to the first byte too many.
func (c *limitedConn) Read(p []byte) (int, error) {
	for {
		if len(c.sieve.spill) > 0 {
			n := copy(p, c.sieve.spill)
			c.sieve.spill = c.sieve.spill[n:]
			return n, nil
		}
		if err := c.error(); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		kept, ferr := c.follow(p[:n])
		if ferr != nil {
			c.mu.Lock()
			c.failed = ferr
			c.mu.Unlock()
			err = nil // once what is left is read
		}
		if kept > 0 || err != nil || n == 0 && ferr == nil {
			return kept, err
		}
	}
}

// follow follows what has come, and moves together what of it is passed on.
func (c *limitedConn) follow(p []byte) (kept int, err error) {
	out := p[:0]
	for i := 0; i < len(p); {
		used, err := c.take(p[i:])
		if err != nil {
			return len(out), err
		}
		mayBe := c.fetch || c.place == inWords
		ended := c.place == inWords && len(c.words) == 0
		out = c.sieve.add(out, i+used, p[i:i+used], mayBe, ended)
		i += used
	}
	return len(out), nil
}

// error is why the connection was ended, nil if it was not.
func (c *limitedConn) error() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func tooMuch(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMalformed}, args...)...)
}

// take follows one byte, or as much of a literal as p holds.
func (c *limitedConn) take(p []byte) (int, error) {
	if c.place == inLiteral {
		n := min(int64(len(p)), c.literal)
		if c.literal -= n; c.literal == 0 {
			c.place = inData
		}
		return int(n), nil
	}
	if err := c.count(1); err != nil {
		return 0, err
	}
	b := p[0]
	err := c.byte(b)
	c.last = [2]byte{c.last[1], b}
	return 1, err
}

// count adds n bytes to the response.
func (c *limitedConn) count(n int64) error {
	c.line += n
	c.text += n
	switch {
	case c.line > c.most:
		return tooMuch("a response of more than %d bytes", c.most)
	case c.text > mostText:
		return tooMuch("more than %d bytes without an end of the answer", mostText)
	}
	return nil
}

func (c *limitedConn) byte(b byte) error {
	if c.isText && len(c.said) < mostSaid {
		c.said = append(c.said, b)
	}
	switch c.place {
	case inWords:
		return c.word(b)
	case inCodeMay:
		c.place = inFree
		if b == '[' {
			c.place, c.words = inCode, c.words[:0]
			return nil
		}
		if b == '\n' {
			c.end()
		}
	case inCode:
		return c.code(b)
	case inFree:
		if b == '\n' {
			c.end()
		}
	case inData:
		return c.data(b)
	case inQuoted:
		switch {
		case b == '\n' || b == '\r': // RFC 9051 §9, QUOTED-CHAR
			return tooMuch("a quoted string with a line end in it")
		case c.escape:
			c.escape = false
		case b == '\\':
			c.escape = true
		case b == '"':
			c.place = inData
		}
	case inSize:
		switch {
		case b >= '0' && b <= '9' && c.digits < 18:
			c.literal = c.literal*10 + int64(b-'0')
			c.digits++
		case b == '}' && c.digits > 0:
			c.place = inSizeEnd
		default:
			return tooMuch("a literal without a size")
		}
	case inSizeEnd:
		switch b {
		case ' ', '\r': // so lenient is the library
		case '\n':
			return c.openLiteral()
		default:
			return tooMuch("a literal that does not begin on a new line")
		}
	}
	return nil
}

// word follows the beginning of a response: "*", a number maybe, and the kind
// of the response; "+"; or a tag.
func (c *limitedConn) word(b byte) error {
	switch {
	case b == '+' && len(c.words) == 0:
		c.place = inFree
		return nil
	case b > ' ' && b != '(' && b != '"' && b != '{':
		if len(c.words) == mostWords {
			return tooMuch("a word too long at the start of a response")
		}
		c.words = append(c.words, b)
		return nil
	}
	words := strings.Fields(strings.ToUpper(string(c.words)))
	if b == ' ' && len(words) == 1 && words[0] == "*" || b == ' ' && len(words) == 2 && words[1][0] >= '0' && words[1][0] <= '9' {
		c.words = append(c.words, ' ')
		return nil
	}
	kind := ""
	if len(words) > 0 {
		kind = words[len(words)-1]
	}
	status := false
	switch kind {
	case "OK", "NO", "BAD", "PREAUTH":
		status = true
	case "BYE":
		status = true
		if c.isBye = words[0] == "*"; c.isBye && c.bye != nil {
			c.bye()
		}
	case "FETCH":
		c.fetch = true
	case "SEARCH", "ESEARCH":
		c.most, c.search = mostSearch, true
	}
	if len(words) > 0 && words[0] != "*" {
		if b == ' ' && len(words) == 1 { // the tag; its status follows
			c.words = append(c.words, ' ')
			return nil
		}
		status = true
		c.text, c.content, c.numbers, c.moves, c.highest = 0, 0, 0, 0, 0
	}
	switch {
	case !status:
		c.place = inData
		return c.data(b)
	case b == '\n':
		c.end()
	case b == ' ':
		c.place = inCodeMay
		c.isText, c.said = true, c.said[:0]
	default:
		c.place = inFree
	}
	return nil
}

// code follows a response code, such as [UIDNEXT 4].
func (c *limitedConn) code(b byte) error {
	switch b {
	case ' ':
		c.search = c.search || strings.EqualFold(string(c.words), "COPYUID") // numbers too
	case ']':
		c.place = inFree
	case '\n':
		return tooMuch("a response code that does not end")
	case '(':
		return c.list()
	}
	if len(c.words) < mostWords {
		c.words = append(c.words, b)
	}
	if c.search {
		return c.order(b)
	}
	return nil
}

// list refuses lists of capabilities, from which the library never returns.
func (c *limitedConn) list() error {
	words := strings.Fields(strings.ToUpper(string(c.words)))
	if slices.Contains(words, "CAPABILITY") {
		return tooMuch("a list among the capabilities")
	}
	return nil
}

// order follows the numbers of a SEARCH, or of a COPYUID.
func (c *limitedConn) order(b byte) error {
	if b >= '0' && b <= '9' {
		c.number = min(c.number*10+int64(b-'0'), 1<<32)
		return nil
	}
	if c.number == 0 {
		return nil
	}
	c.numbers++
	if c.number < c.highest {
		c.moves += c.numbers
	}
	c.highest, c.number = max(c.highest, c.number), 0
	if c.moves > mostMoves {
		return tooMuch("%d numbers in no order", c.numbers)
	}
	return nil
}

// data follows a response that consists of atoms, strings and lists.
func (c *limitedConn) data(b byte) error {
	if c.search {
		if err := c.order(b); err != nil {
			return err
		}
	}
	switch b {
	case '(':
		if err := c.list(); err != nil {
			return err
		}
		if c.depth++; c.depth > mostNesting {
			return tooMuch("lists more than %d deep", mostNesting)
		}
	case ')':
		c.depth--
	case '"':
		c.place, c.escape = inQuoted, false
	case '{':
		// BODY[1] {5} and BODY[1]<0> {5}, which the library does not read into
		// memory. Everything else is as if it stood in the line.
		c.isOpen = c.fetch && c.depth == 1 && c.last[1] == ' ' && (c.last[0] == ']' || c.last[0] == '>')
		c.place, c.literal, c.digits = inSize, 0, 0
	case '\n':
		c.end()
	}
	return nil
}

func (c *limitedConn) openLiteral() error {
	c.place = inLiteral
	if c.literal == 0 {
		c.place = inData
	}
	if !c.isOpen {
		return c.count(c.literal)
	}
	if c.literal > mostLiteral {
		return fmt.Errorf("%w: %d bytes at once", errTooLarge, c.literal)
	}
	if c.content += c.literal; c.content > mostContent {
		return fmt.Errorf("%w: more than %d bytes without an end of the answer", errTooLarge, mostContent)
	}
	return nil
}

// end ends a response.
func (c *limitedConn) end() {
	if c.isText {
		c.heard(strings.TrimSpace(string(c.said)))
		c.isText, c.isBye = false, false
	}
	c.place, c.line, c.most, c.words, c.fetch, c.search, c.number, c.depth = inWords, 0, mostResponse, c.words[:0], false, false, 0, 0
}

// blame returns err, or what has caused it: why the connection was ended, or
// that it broke.
func (s *session) blame(err error) error {
	switch {
	case s.limits != nil && s.limits.error() != nil:
		return fmt.Errorf("%s: %w", s.b.cfg.URL.Host, s.limits.error())
	case s.conn.readError() != nil && !isRefusal(err) && !errors.Is(err, errAway):
		return unreachable{err}
	}
	return err
}
