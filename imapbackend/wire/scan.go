package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds for what a server may send.
const (
	// One response: a BODYSTRUCTURE of some 5000 parts. A message with a larger
	// one counts as one whose BODYSTRUCTURE cannot be read.
	mostResponse = 1 << 20
	// SEARCH and ESEARCH may name each message of a folder: 8 bytes each for a
	// million of them.
	mostSearch = 8 << 20
	// All responses up to the next tagged one: a FETCH or LIST of some 200,000
	// messages or mailboxes. No more than 2048 messages are asked for at once.
	mostText = 16 << 20
	// Likewise, of messages' content.
	mostContent = 1 << 30
	// Lists inside one another. Dovecot stops at 100 MIME levels, each of which
	// is a list here.
	mostNesting = 1000
	// The word that tells of what kind a response is, or a tag.
	mostWord = 64
)

// errSkip says that the response cannot be read, but where it ends is known.
var errSkip = errors.New("not readable")

// scanner reads responses (RFC 9051 §9) token by token. It takes more than the
// grammar allows, where that has one plain meaning: further spaces, a missing
// CR, empty lists. Its first error stays until the next response; behind it all
// that it returns is zero.
type scanner struct {
	r *bufio.Reader

	line, most    int64 // bytes of this response without content, and their bound
	text, content int64 // bytes since the last tagged response, without and of content
	literals      int   // in this response
	inDoubt       bool  // one of them, since the last tagged response, may have been longer than was said
	err           error // errSkip, or the end of the connection
	open          bool  // the error is in a quoted string: who knows where that ends
	ended         bool  // the end of the line has been read
}

// reset prepares for another response.
func (s *scanner) reset() {
	s.line, s.most, s.err, s.open, s.ended, s.literals = 0, mostResponse, nil, false, false, 0
}

// tagged ends what bounds the responses between two tagged ones.
func (s *scanner) tagged() { s.text, s.content, s.inDoubt = 0, 0, false }

func (s *scanner) fail(err error) {
	if s.err == nil || !errors.Is(err, errSkip) {
		s.err = err
	}
}

func (s *scanner) unreadable(what string) { s.fail(fmt.Errorf("%w: %s", errSkip, what)) }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// peek returns the next byte without taking it, 0 behind an error.
func (s *scanner) peek() byte {
	if s.err != nil {
		return 0
	}
	b, err := s.r.Peek(1)
	if err != nil {
		s.fail(err)
		return 0
	}
	return b[0]
}

// take takes what peek has returned.
func (s *scanner) take() {
	if s.err == nil {
		s.r.Discard(1)
		s.count(1)
	}
}

// count adds n bytes to the response.
func (s *scanner) count(n int64) {
	s.line += n
	s.text += n
	switch {
	case s.text > mostText:
		s.fail(malformed("more than %d bytes without an end of the answer", int64(mostText)))
	case s.line > s.most:
		s.unreadable(fmt.Sprintf("a response of more than %d bytes", s.most))
	}
}

// spaces passes over spaces, also where there are none.
func (s *scanner) spaces() {
	for b := s.peek(); b == ' ' || b == '\t'; b = s.peek() {
		s.take()
	}
}

func isEnd(b byte) bool { return b == '\r' || b == '\n' }

// atEnd tells whether the line has no more than its end.
func (s *scanner) atEnd() bool {
	s.spaces()
	return s.err != nil || isEnd(s.peek())
}

// word reads up to a space or list, and returns it in upper case.
func (s *scanner) word() string {
	var b []byte
	for c := s.peek(); s.err == nil && c != ' ' && c != '\t' && c != '(' && !isEnd(c); c = s.peek() {
		if len(b) == mostWord {
			s.unreadable("a word too long at the start of a response")
			return ""
		}
		b = append(b, c)
		s.take()
	}
	return strings.ToUpper(string(b))
}

// rest reads the rest of the line, of which it returns most bytes, without its
// end. There is no literal in it.
func (s *scanner) rest(most int) string {
	var line []byte
	s.ended = s.chunks(func(chunk []byte) { line = append(line, chunk[:min(len(chunk), max(most-len(line), 0))]...) })
	return strings.TrimRight(string(line), "\r\n")
}

// chunks hands the rest of the line to take, and tells whether its end has come.
func (s *scanner) chunks(take func(chunk []byte)) (ended bool) {
	for s.err == nil && !ended {
		chunk, err := s.r.ReadSlice('\n')
		s.count(int64(len(chunk)))
		take(chunk)
		if ended = err == nil; !ended && !errors.Is(err, bufio.ErrBufferFull) {
			s.fail(err)
		}
	}
	return ended
}

// finish passes over what is left of the response, with the literals in it. Its
// error is the end of the connection.
func (s *scanner) finish() error {
	open := s.open
	if s.err != nil && !errors.Is(s.err, errSkip) {
		return s.err
	}
	s.err, s.most = nil, mostText // skipped, it takes no memory
	for !s.ended {
		var tail []byte // the end of the line
		s.chunks(func(chunk []byte) {
			tail = append(tail, chunk[max(0, len(chunk)-longestSize):]...)
			tail = tail[max(0, len(tail)-longestSize):]
		})
		if s.err != nil {
			return s.err
		}
		size, announced := literalAt(string(tail))
		if !announced {
			s.ended = true
			break
		}
		if open {
			// Is this a literal, or the text of a string that has no end?
			return malformed("a quoted string with a line end in it")
		}
		if err := s.discard(size); err != nil {
			return err
		}
	}
	return s.err
}

// discard passes over a literal.
func (s *scanner) discard(size int64) error {
	s.literals++
	if s.content += size; s.content > mostContent {
		return malformed("more than %d bytes without an end of the answer", int64(mostContent))
	}
	_, err := io.CopyN(io.Discard, s.r, size)
	return err
}

// longestSize is longer than "~{18 digits+} " and a line end.
const longestSize = 40

// literalAt returns the size of the literal that the end of a line announces.
func literalAt(line string) (size int64, ok bool) {
	line = strings.TrimRight(line, "\r\n ")
	digits, ok := strings.CutSuffix(line, "}")
	if !ok {
		return 0, false
	}
	digits = digits[strings.LastIndexByte(digits, '{')+1:]
	size, err := strconv.ParseInt(strings.TrimSuffix(digits, "+"), 10, 64)
	return size, err == nil && len(digits) < len(line)-1 && size >= 0 && digits[0] != '+'
}

// kind is that of a value.
type kind int

const (
	isNothing kind = iota // NIL, or behind an error
	isWord                // an atom or number
	isString              // quoted, or a literal
	isList
)

// value is what the data of a response consist of.
type value struct {
	kind kind
	text string
	list []value
}

// value reads one value. Literals in it count as text.
func (s *scanner) value(depth int) value {
	s.spaces()
	switch b := s.peek(); {
	case s.err != nil:
		return value{}
	case b == '(':
		return s.listOf(depth)
	case b == '"':
		return value{kind: isString, text: s.quoted()}
	case b == '{' || b == '~':
		if size, ok := s.literalSize(); ok {
			s.count(size)
			if errors.Is(s.err, errSkip) { // too long to be kept, but where it ends is known
				if err := s.discard(size); err != nil {
					s.fail(err)
				}
			}
			if s.err != nil {
				return value{}
			}
			return value{kind: isString, text: string(s.bytes(size))}
		}
		return value{}
	case b == ')' || isEnd(b):
		s.unreadable("a value is missing")
		return value{}
	}
	text := s.atom()
	if strings.EqualFold(text, "NIL") {
		return value{}
	}
	return value{kind: isWord, text: text}
}

func (s *scanner) listOf(depth int) value {
	if depth == mostNesting {
		s.unreadable("lists inside one another")
		return value{}
	}
	s.take()
	v := value{kind: isList}
	for {
		s.spaces()
		b := s.peek()
		if s.err != nil || isEnd(b) {
			s.unreadable("a list without an end")
			return value{}
		}
		if b == ')' {
			s.take()
			return v
		}
		v.list = append(v.list, s.value(depth+1))
	}
}

// atom reads up to a space, a parenthesis or the end of the line: some servers have
// control characters in what should be one.
func (s *scanner) atom() string {
	var b []byte
	for c := s.peek(); s.err == nil && c != ' ' && c != '\t' && c != '(' && c != ')' && !isEnd(c); c = s.peek() {
		b = append(b, c)
		s.take()
	}
	if s.err == nil && len(b) == 0 {
		s.unreadable("an atom is missing")
	}
	return string(b)
}

// flags reads a list of them. As the keywords of some servers are of any bytes, with
// parentheses and quotes, it ends where the FETCH does or another item begins.
func (s *scanner) flags() value {
	s.spaces()
	if s.peek() != '(' {
		return s.value(0)
	}
	s.take()
	v := value{kind: isList}
	var word []byte
	for ended := false; !ended; {
		c := s.peek()
		switch {
		case s.err != nil:
			return value{}
		case isEnd(c):
			s.unreadable("a list without an end")
			if _, announced := literalAt(" " + string(word)); announced {
				s.fail(malformed("a literal, or a flag that looks like one"))
			}
			return value{}
		case c == ')':
			ended = s.isLast()
		}
		if !ended && c != ' ' && c != '\t' {
			word = append(word, c)
		} else if len(word) > 0 {
			v.list = append(v.list, value{kind: isWord, text: unquoted(string(word))})
			word = nil
		}
		s.take()
	}
	return v
}

func unquoted(word string) string {
	if n := len(word); n > 1 && word[0] == '"' && word[n-1] == '"' {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(word[1 : n-1])
	}
	return word
}

// isLast tells whether with the ")" that is next a list in a FETCH ends: the list around
// it does so too, or the line, or another item begins. It looks at nothing behind the
// end of the line, which may not come.
func (s *scanner) isLast() bool {
	next := func(i int) byte {
		b, err := s.r.Peek(i + 1)
		if err != nil {
			return '\n'
		}
		return b[i]
	}
	i := 1
	for next(i) == ' ' || next(i) == '\t' {
		i++
	}
	if c := next(i); c == ')' || isEnd(c) || i == 1 {
		return c == ')' || isEnd(c)
	}
	item := i
	for c := next(i); i < item+mostWord && (c >= 'A' && c <= 'Z' || i > item && (c >= '0' && c <= '9' || c == '.')); c = next(i) {
		i++
	}
	return i > item+2 && (next(i) == ' ' || next(i) == '[') // flags are hardly so
}

// quoted reads a quoted string. What follows it has to be the end of a value:
// else there is a quote too many in it.
func (s *scanner) quoted() string {
	s.take()
	var b []byte
	for {
		c := s.peek()
		switch {
		case s.err != nil:
			return ""
		case isEnd(c): // RFC 9051 §9, QUOTED-CHAR
			s.unreadable("a quoted string with a line end in it")
			if _, announced := literalAt(string(b)); announced {
				// Is this a literal, or the text of a string that has no end?
				s.fail(malformed("a quoted string with a line end in it"))
			}
			return ""
		case c == '\\':
			s.take()
			if c = s.peek(); isEnd(c) {
				continue
			}
		case c == '"':
			s.take()
			if c = s.peek(); s.err == nil && c != ' ' && c != ')' && c != '(' && !isEnd(c) {
				s.open = true
				s.unreadable("a quote in a quoted string")
			}
			return string(b)
		}
		b = append(b, c)
		s.take()
	}
}

// literalSize reads what announces a literal, up to its first byte.
func (s *scanner) literalSize() (size int64, ok bool) {
	var head []byte
	for c := s.peek(); s.err == nil && c != '\n'; c = s.peek() {
		if len(head) == longestSize {
			s.unreadable("a literal without a size")
			return 0, false
		}
		head = append(head, c)
		s.take()
	}
	if size, ok = literalAt(string(head)); !ok {
		s.unreadable("a literal without a size")
		return 0, false
	}
	s.take()
	s.literals++
	if size > 1<<50 {
		s.fail(malformed("a literal of %d bytes", size))
	}
	return size, s.err == nil
}

// firstAlloc is how much memory is taken for a literal before anything of it
// has come, 1 MiB: announcing one costs a server nothing.
const firstAlloc = 1 << 20

// bytes reads the content of a literal.
func (s *scanner) bytes(size int64) []byte {
	if s.err != nil {
		return nil
	}
	b := make([]byte, min(size, firstAlloc))
	for n := 0; ; {
		m, err := io.ReadFull(s.r, b[n:])
		if n += m; err != nil {
			s.fail(err)
			return nil
		}
		if int64(n) == size {
			return b
		}
		b = append(b, make([]byte, min(size-int64(n), int64(n)))...)
	}
}
