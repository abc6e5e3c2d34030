package wire

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
)

// Up to the login a connection is a dialogue: one command, its answer, the next
// one. So this is done here, a line at a time, and not by the library, whose
// reader and writer wait for each other for ever where a server answers before it
// is asked, or not what it is asked. What waits here ends with the connection.

// Bounds for what a server says up to the login.
const (
	longestLoginLine = 64 << 10
	mostLoginLines   = 1000 // behind one command
)

// lastWords is how long a server may still talk after BYE, behind which no answer
// has to come any more (RFC 9051 §7.1.5). Most servers close the connection
// themselves, but not all, and the end can be lost on the way.
const lastWords = time.Second

// readLine reads one line, and returns it without its end.
func (c *Conn) readLine() (string, error) {
	var line []byte
	for {
		chunk, err := c.in.ReadSlice('\n')
		line = append(line, chunk...)
		switch {
		case err == nil:
			c.trace.received(line)
			return strings.TrimRight(string(line), "\r\n"), nil
		case len(line) > longestLoginLine:
			return "", fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, longestLoginLine)
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// Greeting reads the server's first word (RFC 9051 §7.1). isIn tells that the
// connection is logged in already. Its error is an *imap.Error for a BYE.
func (c *Conn) Greeting() (isIn bool, err error) {
	for range mostLoginLines {
		line, err := c.readLine()
		if err != nil {
			return false, err
		}
		rest, isUntagged := strings.CutPrefix(line, "*")
		if !isUntagged {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return false, fmt.Errorf("%w: the greeting", ErrMalformed)
		}
		status, ok := parseStatus(strings.TrimSpace(rest))
		if !ok {
			continue // something else before it
		}
		c.untagged(status)
		switch status.Type {
		case imap.StatusResponseTypeOK, imap.StatusResponseTypePreAuth:
			return status.Type == imap.StatusResponseTypePreAuth, nil
		default:
			return false, status.Err()
		}
	}
	return false, fmt.Errorf("%w: no greeting", ErrMalformed)
}

// untagged takes in a status response or CAPABILITY.
func (c *Conn) untagged(status Status) {
	if status.Code == codeCapability {
		c.caps = capabilities(status.Args)
	}
	if status.IsAlert() && c.alert != nil {
		c.alert(status.Text)
	}
}

// Command sends one command and waits for its end. Its error is an *imap.Error
// for NO, BAD and BYE.
func (c *Conn) Command(command string) error { return c.exchange([]string{command}, nil) }

// Login sends LOGIN (RFC 9051 §6.2.3).
func (c *Conn) Login(user, password string) error {
	parts := []string{"LOGIN"}
	for _, text := range []string{user, password} {
		if isQuotable(text) {
			parts[len(parts)-1] += ` "` + quotes.Replace(text) + `"`
			continue
		}
		// RFC 9051 §4.3: the server has to agree before what follows is sent.
		parts[len(parts)-1] += fmt.Sprintf(" {%d}", len(text))
		parts = append(parts, text)
	}
	return c.enter(func() error { return c.exchange(parts, nil) })
}

// enter runs f, behind which the server can do other things than before.
func (c *Conn) enter(f func() error) error {
	before := c.caps
	c.caps = nil // but for what the server tells along
	err := f()
	if err != nil && c.caps == nil {
		c.caps = before
	}
	return err
}

func isQuotable(text string) bool {
	for i := range len(text) {
		if b := text[i]; b == 0 || b == '\r' || b == '\n' || b > '~' {
			return false
		}
	}
	return len(text) < 1000
}

// Authenticate sends AUTHENTICATE (RFC 9051 §6.2.2), with what the mechanism says
// first if the server takes that (RFC 4959).
func (c *Conn) Authenticate(client sasl.Client) error {
	mechanism, first, err := client.Start()
	if err != nil {
		return err
	}
	command, said := "AUTHENTICATE "+mechanism, 0
	if first != nil && c.caps.Has(imap.CapSASLIR) {
		command += " " + cmp.Or(base64.StdEncoding.EncodeToString(first), "=") // RFC 4959
		said++
	}
	answer := func(challenge string) (string, error) {
		if first != nil && (said == 0 || challenge == "" && said < 3) {
			said++ // some servers ask for it again
			return base64.StdEncoding.EncodeToString(first), nil
		}
		decoded, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			return "", fmt.Errorf("%w: a challenge that is no base64", ErrMalformed)
		}
		answer, err := client.Next(decoded)
		return base64.StdEncoding.EncodeToString(answer), err
	}
	return c.enter(func() error { return c.exchange([]string{command}, answer) })
}

// exchange sends a command, of which each part but the first waits until the
// server agrees, and waits for its end. next answers what the server asks behind
// the last part; nil for nothing. If it fails, the exchange is called off.
func (c *Conn) exchange(parts []string, next func(challenge string) (string, error)) error {
	c.tags++
	d := &dialogue{Conn: c, tag: "H" + strconv.Itoa(c.tags), parts: parts[1:], next: next}
	if err := c.say(d.tag + " " + parts[0]); err != nil {
		return err
	}
	for range mostLoginLines {
		line, err := c.readLine()
		if err != nil {
			return cmp.Or(d.parted, err)
		}
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case word == "*":
			d.hear(rest)
		case strings.HasPrefix(line, "+"):
			if err := d.answer(strings.TrimSpace(line[1:])); err != nil {
				return err
			}
		case word == d.tag:
			return d.end(rest)
		}
		// Answers to what was not asked: some servers have them.
	}
	return fmt.Errorf("%w: no end of an answer", ErrMalformed)
}

// dialogue is one exchange.
type dialogue struct {
	*Conn
	tag    string
	parts  []string // that are to be sent
	next   func(challenge string) (string, error)
	failed error // of next
	parted error // the server's BYE
}

// hear takes in what is behind "*".
func (d *dialogue) hear(rest string) {
	if name, args, _ := strings.Cut(rest, " "); strings.EqualFold(name, "CAPABILITY") {
		d.caps = capabilities(args)
	} else if status, ok := parseStatus(rest); ok {
		d.untagged(status)
		if status.Type == imap.StatusResponseTypeBye {
			// An answer may follow, and the end of the connection should.
			d.parted = status.Err()
			time.AfterFunc(lastWords, d.End)
		}
	}
}

// answer says what the server waits for.
func (d *dialogue) answer(challenge string) error {
	said := "*" // RFC 9051 §6.2.2: called off
	switch {
	case d.isAnswered(d.tag):
		return nil // it does not wait for what it asks
	case len(d.parts) > 0:
		said, d.parts = d.parts[0], d.parts[1:]
	case d.next == nil || d.failed != nil:
		return nil // nobody has asked for it
	default:
		next, err := d.next(challenge)
		if d.failed = err; err == nil {
			said = next
		}
	}
	return d.say(said)
}

// end takes in what is behind the tag.
func (d *dialogue) end(rest string) error {
	status, ok := parseStatus(rest)
	if !ok {
		return fmt.Errorf("%w: an answer without OK, NO or BAD", ErrMalformed)
	}
	d.untagged(status)
	d.Line.progress()
	switch {
	case d.failed != nil:
		return d.failed
	case status.Type == imap.StatusResponseTypeOK && len(d.parts) > 0:
		return fmt.Errorf("%w: an answer to half a command", ErrMalformed)
	}
	return status.Err()
}

// isAnswered tells whether the answer to a command has come already.
func (c *Conn) isAnswered(tag string) bool {
	b, _ := c.in.Peek(c.in.Buffered())
	for line := range bytes.Lines(b) {
		if bytes.HasPrefix(line, []byte(tag+" ")) {
			return true
		}
	}
	return false
}

func (c *Conn) say(line string) error { return c.send([]byte(line + "\r\n")) }

// Caps is what the server can do. It is asked if it has not said so since
// STARTTLS or the login, which change it.
func (c *Conn) Caps() (imap.CapSet, error) {
	if c.caps == nil {
		if err := c.Command("CAPABILITY"); err != nil {
			return nil, err
		}
		if c.caps == nil {
			c.caps = imap.CapSet{imap.CapIMAP4rev1: {}} // the least that there is
		}
	}
	return c.caps, nil
}

// capabilities reads a list of them. What is no atom is left out.
func capabilities(args string) imap.CapSet {
	caps := make(imap.CapSet)
	for _, word := range strings.Fields(args) {
		if isAtom(word) {
			caps[imap.Cap(strings.ToUpper(word))] = struct{}{}
		}
	}
	return caps
}

const codeCapability = imap.ResponseCode("CAPABILITY")

func isAtom(word string) bool {
	for i := range len(word) {
		if b := word[i]; b <= ' ' || b > '~' || strings.IndexByte(`(){%*"\]`, b) >= 0 {
			return false
		}
	}
	return word != ""
}
