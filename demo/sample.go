package demo

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Message is one message of the sample mailbox.
type Message struct {
	Mailbox string // full name, with '/' between the levels
	Case    string // what it is an example of
	Raw     []byte // with CRLF line ends
	Date    time.Time
	Flags   []imap.Flag

	// Text is what a person should read, with LF line ends, where the example
	// is about that; else "".
	Text string
}

// AddSample fills the server with the sample mailbox: the mail of Mara, who
// looks after the Laternenhof, a workshop that its neighbours share. Nothing in
// it is real, and every kind of message that mail programs meet is there once.
func (s *Server) AddSample() error {
	// Folders with nothing in them yet.
	for _, name := range []string{"Drafts", "Projects/Bee hotel"} {
		if _, err := s.acct.ensure(s.localName(name)); err != nil {
			return err
		}
	}
	for _, m := range Sample() {
		if err := s.Append(s.localName(m.Mailbox), m.Raw, m.Date, m.Flags...); err != nil {
			return err
		}
	}
	return nil
}

// localName writes the name of a sample folder with the server's delimiter.
func (s *Server) localName(name string) string { return strings.ReplaceAll(name, "/", s.acct.delim) }

// Sample returns the messages of the sample mailbox, the oldest first. They are
// the same at every call and in every run; their bytes must not be changed.
func Sample() []Message { return slices.Clone(sample()) }

// sample composes the messages when somebody first asks: one of them is large.
var sample = sync.OnceValue(compose)

func compose() []Message {
	var list []Message
	for _, letters := range [][]letter{
		plainLetters, charsetLetters(), headerLetters(), htmlLetters(), mimeLetters(), nameLetters(), brokenLetters,
	} {
		for _, l := range letters {
			list = append(list, l.message())
		}
	}
	slices.SortStableFunc(list, func(a, b Message) int { return a.Date.Compare(b.Date) })
	return list
}
