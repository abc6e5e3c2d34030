package imapbackend

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
)

// ear gathers what the server says on one connection for those who have asked.
// Its methods with upper-case names are those of wire.Handler.
type ear struct {
	s *session

	sending sync.Mutex // held from ask to when a FETCH is sent

	mu        sync.Mutex // guards what follows
	mailbox   mailbox
	selects   bool      // SELECT is under way: what comes may be about the mailbox before
	asked     []*asking // FETCH that are under way, in the order in which they were sent
	gathering []*gathered
	visits    []visit           // see visit; nil if nobody glances
	grown     int               // how often it was told of more messages
	spaces    wire.Namespaces   // as told last
	deleting  bool              // EXPUNGE is being sent from here
	expunged  int               // messages since then
	bye       string            // what the server has said with it
	odd       map[string]int    // answers that cannot be read, by kind
	granted   map[string]string // rights by the full name of the folder, of which MYRIGHTS is under way
}

// mailbox is what the server has said of the selected one (RFC 9051 §6.3.2).
type mailbox struct {
	validity, uidNext, messages uint32
	modSeq                      uint64   // HIGHESTMODSEQ (RFC 7162 §3.1.2.1); 0: the server has none
	permanent                   []string // flags that can be changed, in lower case
	readOnly                    bool
}

// Sent gives the tag of a FETCH to whoever is about to send it (see ask), and forgets
// the mailbox that was selected before.
func (e *ear) Sent(tag, command string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch n := len(e.asked); command {
	case "SELECT", "EXAMINE":
		e.mailbox, e.selects = mailbox{}, true
	case "UID FETCH":
		if n > 0 && e.asked[n-1].tag == "" {
			e.asked[n-1].tag = tag
		}
	}
}

// Ended takes note of the end of a command before anybody else hears of it: what
// comes then is an answer to another one.
func (e *ear) Ended(tag, command string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch command {
	case "SELECT", "EXAMINE":
		e.selects = false
		e.opened()
	case "UID FETCH":
		for _, a := range e.asked {
			a.ended = a.ended || a.tag == tag
		}
	}
}

func (e *ear) selected() mailbox {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mailbox
}

// growth is how often the server has told of more messages in what is selected.
func (e *ear) growth() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.grown
}

func (e *ear) Exists(n uint32) {
	e.mu.Lock()
	isNew := e.mailbox.messages != n && !e.selects // some servers say it each time
	if isNew && n > e.mailbox.messages {
		e.grown++
	}
	e.mailbox.messages = n
	e.mu.Unlock()
	if isNew {
		e.s.b.pool.changed(e.s)
	}
}

func (e *ear) Expunged() {
	e.mu.Lock()
	if e.mailbox.messages > 0 {
		e.mailbox.messages--
	}
	ours := e.deleting
	if ours {
		e.expunged++
	}
	e.mu.Unlock()
	if !ours {
		e.s.b.pool.changed(e.s)
	}
}

// expunging has what is expunged counted until the function that it returns is
// called, which tells how many those were.
func (e *ear) expunging() (end func() int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deleting, e.expunged = true, 0
	return func() int {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.deleting = false
		return e.expunged
	}
}

func (e *ear) Said(status wire.Status) {
	if status.IsAlert() {
		e.s.b.alert(status.Text)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch status.Type {
	case imap.StatusResponseTypeOK:
		e.mailbox.set(status.Code, status.Args)
		if put, ok := wire.ParsePut(status); ok {
			for _, g := range e.gathering {
				g.put = append(g.put, put)
			}
		}
	case imap.StatusResponseTypeBye:
		e.bye = plain(e.s.b.secrets.hide(status.Text))
		if e.s.b.ctx.Err() == nil { // else it says so to our LOGOUT
			e.s.b.log.Info("the server ends a connection", "says", e.bye)
		}
	}
}

// set takes in what a response code says.
func (m *mailbox) set(code imap.ResponseCode, args string) {
	number, _ := strconv.ParseUint(args, 10, 32) // 0 is what is not told
	switch code {
	case "HIGHESTMODSEQ":
		m.modSeq, _ = strconv.ParseUint(args, 10, 63)
	case "UIDVALIDITY":
		m.validity = uint32(number)
	case "UIDNEXT":
		m.uidNext = uint32(number)
	case "READ-ONLY":
		m.readOnly = true
	case "PERMANENTFLAGS":
		m.permanent = strings.Fields(strings.ToLower(strings.Trim(args, "()")))
	}
}

// farewell returns what the server has said with BYE, "" if nothing.
func (e *ear) farewell() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bye
}

// gathered is what the server has said while somebody has listened.
type gathered struct {
	mailboxes []wire.Mailbox
	states    map[string]wire.State // by name on the wire
	spaces    wire.Namespaces       // or before, as they stay the same
	found     []wire.Range          // by SEARCH
	searched  bool                  // there was an answer to it
	isOdd     bool                  // of which not all are UIDs, or can be read
	put       []wire.Put            // into mailboxes
	quotas    []wire.Quota
}

// gather returns where all that comes is put, until end is called. It is to be read
// only then.
func (e *ear) gather() (g *gathered, end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g = &gathered{states: make(map[string]wire.State), spaces: e.spaces}
	e.gathering = append(e.gathering, g)
	return g, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.gathering = slices.DeleteFunc(e.gathering, func(other *gathered) bool { return other == g })
	}
}

func (e *ear) Data(data any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := data.(wire.MyRights); ok {
		name, _ := decodeName(r.Mailbox) // the server may write it in two ways
		if _, isAsked := e.granted[name]; isAsked {
			e.granted[name] = r.Rights
		}
	}
	if found, ok := data.(wire.Found); ok {
		e.hear(found)
	}
	for _, g := range e.gathering {
		switch data := data.(type) {
		case wire.Mailbox:
			if len(g.mailboxes) <= mostLevels {
				g.mailboxes = append(g.mailboxes, data)
			}
		case wire.State:
			name, _ := decodeName(data.Name) // the server may write it in two ways
			g.states[data.Name], g.states[name] = data, data
		case wire.Namespaces:
			g.spaces, e.spaces = data, data
		case wire.Quota:
			if len(g.quotas) <= mostLevels {
				g.quotas = append(g.quotas, data)
			}
		case wire.Found:
			g.searched = true
			g.isOdd = g.isOdd || data.IsOdd()
			g.found = append(g.found, data.Ranges...)
		}
	}
}

// awaitRights has what MYRIGHTS tells of a folder, by its full name, kept until end is
// called, which returns it.
func (e *ear) awaitRights(name string) (end func() string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.granted == nil {
		e.granted = make(map[string]string)
	}
	e.granted[name] = ""
	return func() string {
		e.mu.Lock()
		defer e.mu.Unlock()
		letters := e.granted[name]
		delete(e.granted, name)
		return letters
	}
}

func (e *ear) Unreadable(what string, err error) {
	if n := e.countOdd(what); n > 0 {
		e.s.b.log.Info("an answer that cannot be read is left out", "answer", plain(what), "times", n, "error", err)
	}
}

// countOdd counts what cannot be read, and returns how often that was if it is to be
// logged: the first time, the second, the fourth, and so on.
func (e *ear) countOdd(what string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.odd == nil {
		e.odd = make(map[string]int)
	}
	e.odd[what]++
	if n := e.odd[what]; n&(n-1) == 0 && len(e.odd) < 100 {
		return n
	}
	return 0
}

// MostContent is the most that anybody waits for.
func (e *ear) MostContent() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var most int64
	for _, a := range e.asked {
		most = max(most, a.most)
	}
	return most
}

// Message hands a FETCH to whoever has asked for it. What nobody has asked for
// goes: when another client has changed the flags of a message, a server may say
// so at any moment (RFC 9051 §7.5.2).
func (e *ear) Message(m wire.Message) {
	e.mu.Lock()
	var best *asking
	fits := 0
	for _, a := range e.asked {
		if a.tag == "" {
			continue // it takes nothing in before it is sent, which can wait for the reader
		}
		n := 2 * a.fits(&m)
		if a.ended && n > 0 {
			n = 1 // some servers send data behind the end, but that of another one is likelier
		}
		if n > fits {
			best, fits = a, n
		}
	}
	if best != nil && m.UID == 0 {
		// RFC 9051 §6.4.9: each answer has the UID. Of one message alone it can
		// be no other.
		if m.UID = best.one; len(e.asked) > 1 {
			best = nil
		}
	}
	e.mu.Unlock()
	if m.HasFlags && (best == nil || !best.options.Flags) {
		e.s.b.pool.heardFlags(e.s)
	}
	if best == nil || m.UID == 0 {
		return
	}
	if len(m.Odd) > 0 {
		items := plain(strings.Join(m.Odd, " "))
		if n := e.countOdd(items); n > 0 {
			e.s.b.log.Info("not all that the server says of a message can be read", "folder", e.s.b.fullName(best.folder), "uid", m.UID, "items", items, "times", n)
		}
	}
	best.came <- m // whoever has asked takes it until the command has ended
}

// namespaces returns the prefixes that the server has told last.
func (e *ear) namespaces() wire.Namespaces {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spaces
}
