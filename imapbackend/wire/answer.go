package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Handler is told what the server says, in its order, by the one goroutine that
// reads. Before the end of a command is told to whoever waits for it, all that
// came before it has been handed over. No method may wait for another answer.
type Handler interface {
	Exists(n uint32)           // so many messages are in the selected mailbox
	Expunged()                 // one is not any more
	Sent(tag, command string)  // one is about to go out: its verb, "UID FETCH" for one
	Ended(tag, command string) // and has come to its end
	Said(Status)               // OK, NO, BAD, or BYE, behind which the connection ends
	Data(data any)             // a Mailbox, State, Namespaces, Found, Quota or MyRights
	Message(Message)
	// MostContent is how much content an answer for one message may have, in
	// bytes.
	MostContent() int64
	// Unreadable is told of an answer that was skipped. what names its kind.
	Unreadable(what string, err error)
}

// answers is what the library reads from.
type answers struct {
	c *Conn
	h Handler
	scanner
	out   []byte          // for the library
	over  context.Context // ends when nothing more is read
	close context.CancelFunc

	mu     sync.Mutex // guards what follows
	failed error
	open   map[string]string // commands whose end has not come, by tag
	last   int               // number of the last tag
	asks   string            // tag of the IDLE that the server has not agreed to yet
}

func newAnswers(c *Conn, h Handler) *answers {
	a := &answers{c: c, h: h, open: make(map[string]string)}
	a.over, a.close = context.WithCancel(context.Background())
	a.r = bufio.NewReaderSize(traced{c.in, c.trace}, 32<<10)
	// What the library does not know of it does not do in its own way: names are
	// not written as IMAP4rev2 has them.
	// Its one literal, an empty one, it never sends: see upload.go.
	caps := []string{string(imap.CapIMAP4rev1), string(imap.CapLiteralMinus)}
	for _, known := range []imap.Cap{imap.CapUIDPlus, imap.CapMove, imap.CapESearch, imap.CapIdle, imap.CapNamespace, imap.CapID,
		imap.CapListExtended, imap.CapListStatus, imap.CapSpecialUse} {
		if c.caps.Has(known) {
			caps = append(caps, string(known))
		}
	}
	a.out = fmt.Appendf(nil, "* PREAUTH [CAPABILITY %s] logged in\r\n", strings.Join(caps, " "))
	return a
}

// Read returns what the library is to know: how each command has ended.
func (a *answers) Read(p []byte) (int, error) {
	for len(a.out) == 0 {
		if err := a.fault(); err != nil {
			return 0, err
		}
		if err := a.response(); err != nil {
			a.close()
			if errors.Is(err, ErrMalformed) {
				a.mu.Lock()
				a.failed = err
				a.mu.Unlock()
			}
			return 0, err
		}
	}
	n := copy(p, a.out)
	a.out = a.out[n:]
	return n, nil
}

// fault is why the connection was given up, nil if it was not.
func (a *answers) fault() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// sent takes note of a command before it is sent.
func (a *answers) sent(p []byte) {
	tag, command, _ := bytes.Cut(p, []byte(" "))
	number, err := strconv.Atoi(strings.TrimPrefix(string(tag), "T"))
	if err != nil {
		return // DONE
	}
	words := strings.Fields(string(command[:min(len(command), 40)]))
	if len(words) == 0 {
		return
	}
	verb := words[0]
	if verb == "UID" && len(words) > 1 {
		verb += " " + words[1]
	}
	a.h.Sent(string(tag), verb)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[string(tag)], a.last = verb, number
	if verb == "IDLE" {
		a.asks = string(tag)
	}
}

// response reads one response.
func (a *answers) response() error {
	a.reset()
	if a.atEnd() && a.err == nil {
		return a.finish() // an empty line
	}
	if a.peek() == '+' {
		a.agree()
		return a.finish()
	}
	word := a.word()
	switch {
	case a.err != nil:
	case word == "*":
		whole := a.untagged()
		err := a.finish()
		a.inDoubt = a.inDoubt || a.literals > 0 && !whole
		return err
	default:
		a.end(word)
	}
	return a.finish()
}

// agree takes in a "+". Some servers say so unasked.
func (a *answers) agree() {
	a.mu.Lock()
	defer a.mu.Unlock()
	idles := false // what is said to an IDLE once more is no leave for mail
	for _, verb := range a.open {
		idles = idles || verb == "IDLE"
	}
	switch {
	case !idles && a.c.uploads.answered("", true):
	case a.asks != "":
		a.asks = ""
		a.out = append(a.out, "+ go on\r\n"...)
	}
}

// longestStatus is longer than what is shown of one.
const longestStatus = 8192

// end takes in the end of a command.
func (a *answers) end(tag string) {
	a.spaces()
	status, ok := parseStatus(a.rest(longestStatus))
	if a.err != nil {
		return
	}
	a.mu.Lock()
	verb, isOpen := a.open[tag]
	delete(a.open, tag)
	ended := tag == a.asks // without a word before it; not that of an IDLE before
	if ended {
		a.asks = ""
	}
	number, err := strconv.Atoi(strings.TrimPrefix(tag, "T"))
	stale := err == nil && number <= a.last
	a.mu.Unlock()
	a.c.uploads.answered(tag, false)
	if isOpen {
		a.tagged()
		a.c.Line.progress()
	}
	switch {
	case !isOpen && !stale && a.inDoubt:
		// This is mail, and what follows too.
		a.err = malformed("what is no answer, behind a literal")
		return
	case !isOpen:
		// To a command that has ended; or to DONE, when IDLE has ended before.
		a.h.Unreadable("answer", errors.New("to no command that is under way"))
		return
	case !ok:
		status = Status{Type: imap.StatusResponseTypeBad, Text: "the answer is neither OK nor NO nor BAD"}
	case ended && status.Err() == nil:
		// The library would take it for listening, and end what has ended.
		status = Status{Type: imap.StatusResponseTypeNo, Text: "IDLE has ended before it began"}
	}
	a.heard(status)
	a.h.Ended(tag, verb)
	a.out = append(a.out, tag+" "+string(status.Type)...)
	if status.Err() != nil && isAtom(string(status.Code)) && !slices.Contains(codesWithData, status.Code) {
		a.out = append(a.out, " ["+string(status.Code)+"]"...)
	}
	a.out = append(a.out, " "+plainText(status.Text)+"\r\n"...)
}

// codesWithData are those that the library would read more of.
var codesWithData = []imap.ResponseCode{codeCapability, "APPENDUID", "COPYUID"}

// plainText is text that the library reads as one.
func plainText(text string) string {
	if text == "" || text[0] == '[' {
		text = "- " + text
	}
	return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(text)
}

// heard tells of a status response.
func (a *answers) heard(status Status) {
	if status.Type == imap.StatusResponseTypeBye {
		time.AfterFunc(lastWords, a.c.End)
	}
	a.h.Said(status)
}

// untagged reads what is behind "*". What nobody needs is not looked at: FLAGS,
// ID, CAPABILITY, ENABLED, RECENT and what is not known. whole tells whether all that
// came was as it should be, up to the end.
func (a *answers) untagged() (whole bool) {
	a.spaces()
	kind := a.word()
	number, err := strconv.ParseUint(kind, 10, 32)
	if err == nil {
		a.spaces()
		kind = a.word()
	}
	if a.err != nil {
		return false
	}
	switch kind {
	case "EXISTS", "EXPUNGE", "FETCH":
		if err != nil {
			a.unreadable("no number")
			a.h.Unreadable(kind, a.err)
			return false
		}
	}
	switch kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		if status, ok := parseStatus(kind + a.rest(longestStatus)); ok && a.err == nil {
			a.heard(status)
		}
	case "EXISTS":
		a.h.Exists(uint32(number))
	case "EXPUNGE", "VANISHED":
		a.h.Expunged()
	case "FETCH":
		a.message()
	case "LIST":
		a.list()
	case "STATUS":
		a.state()
	case "NAMESPACE":
		a.namespaces()
	case "QUOTA":
		a.quota()
	case "MYRIGHTS":
		a.rights()
	case "SEARCH":
		a.search()
	case "ESEARCH":
		a.esearch()
	}
	if errors.Is(a.err, errSkip) {
		a.h.Unreadable(kind, a.err)
	}
	return a.ended || a.atEnd() && a.err == nil
}
