package demo

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// account is the one user's mail.
type account struct {
	user, password string
	delim          string
	caps           imap.CapSet

	// mu guards the map and the fields of mailboxes that say so. It may be
	// held when a mailbox's own lock is taken, never the other way round.
	mu           sync.Mutex
	boxes        map[string]*mailbox // by full name
	lastValidity uint32
}

func newAccount(user, password string, o Options) *account {
	a := &account{
		user:     user,
		password: password,
		delim:    string(o.Delim),
		caps:     o.Caps,
		boxes:    make(map[string]*mailbox),
		// The messages of one run have nothing to do with those of another, so
		// their numbers must not look alike to a cache.
		lastValidity: uint32(time.Now().Unix()),
	}
	a.createLocked("INBOX")
	return a
}

// mailbox is a list of messages in the order of their UIDs.
type mailbox struct {
	uidValidity uint32
	tracker     *imapserver.MailboxTracker // queues what each view has to be told

	// Guarded by account.mu.
	name       string
	noSelect   bool // exists only because something is below it
	subscribed bool
	specialUse imap.MailboxAttr

	mu      sync.Mutex
	msgs    []*message
	uidNext imap.UID
	views   map[*view]struct{}
}

// message is one message. Its bytes never change.
type message struct {
	uid  imap.UID
	raw  []byte
	date time.Time

	// root is the message's MIME tree, parsed when somebody first asks.
	root func() *part

	flags map[imap.Flag]struct{} // guarded by mailbox.mu
}

// view is a mailbox as one session has it selected. It learns of changes at
// the end of a command or in IDLE.
type view struct {
	*mailbox
	tracker  *imapserver.SessionTracker
	readOnly bool
	saved    imap.UIDSet   // the result of SEARCH RETURN (SAVE)
	changed  chan struct{} // wakes IDLE
}

// specialUses are the mailboxes whose purpose a name tells (RFC 6154).
var specialUses = map[string]imap.MailboxAttr{
	"Archive": imap.MailboxAttrArchive,
	"Drafts":  imap.MailboxAttrDrafts,
	"Junk":    imap.MailboxAttrJunk,
	"Sent":    imap.MailboxAttrSent,
	"Trash":   imap.MailboxAttrTrash,
}

// Answers to a client that asks for the impossible.
var (
	errNoMailbox  = no(imap.ResponseCodeNonExistent, "No such mailbox")
	errTryCreate  = no(imap.ResponseCodeTryCreate, "No such mailbox")
	errExists     = no(imap.ResponseCodeAlreadyExists, "Mailbox already exists")
	errBadName    = no(imap.ResponseCodeCannot, "Not a mailbox name")
	errInbox      = no(imap.ResponseCodeCannot, "INBOX has to stay")
	errSame       = no("", "Source and destination are the same mailbox") // as some servers say
	errReadOnly   = no(imap.ResponseCodeNoPerm, "Mailbox was opened read-only")
	errNotOffered = &imap.Error{Type: imap.StatusResponseTypeBad, Text: "Not supported"}
)

func no(code imap.ResponseCode, text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

// get returns a mailbox that can hold messages.
func (a *account) get(name string) (*mailbox, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	mbox := a.boxes[name]
	if mbox == nil || mbox.noSelect {
		return nil, errNoMailbox
	}
	return mbox, nil
}

// ensure returns the mailbox of that name, which it makes if need be.
func (a *account) ensure(name string) (*mailbox, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if mbox := a.boxes[name]; mbox != nil && !mbox.noSelect {
		return mbox, nil
	}
	return a.createLocked(name)
}

// createLocked makes a mailbox, and \Noselect ones for the missing names above
// it.
func (a *account) createLocked(name string) (*mailbox, error) {
	levels := strings.Split(name, a.delim)
	if slices.Contains(levels, "") {
		return nil, errBadName
	}
	if mbox := a.boxes[name]; mbox != nil {
		if !mbox.noSelect {
			return nil, errExists
		}
		mbox.noSelect = false
		return mbox, nil
	}
	for i := 1; i <= len(levels); i++ {
		above := strings.Join(levels[:i], a.delim)
		if a.boxes[above] != nil {
			continue
		}
		a.addLocked(above).noSelect = i < len(levels)
	}
	return a.boxes[name], nil
}

// addLocked puts an empty mailbox in the place of that name. No two mailboxes
// have the same UIDVALIDITY, so that one that is deleted and made again can be
// told from the first.
func (a *account) addLocked(name string) *mailbox {
	a.lastValidity++
	mbox := &mailbox{
		uidValidity: a.lastValidity,
		tracker:     imapserver.NewMailboxTracker(0),
		name:        name,
		subscribed:  true,
		specialUse:  specialUses[name],
		uidNext:     1,
		views:       make(map[*view]struct{}),
	}
	a.boxes[name] = mbox
	return mbox
}

// hasChildrenLocked tells whether there is a mailbox below name.
func (a *account) hasChildrenLocked(name string) bool {
	for other := range a.boxes {
		if strings.HasPrefix(other, name+a.delim) {
			return true
		}
	}
	return false
}

// append adds a message, which then owns raw.
func (mbox *mailbox) append(raw []byte, date time.Time, flags []imap.Flag) imap.UID {
	if date.IsZero() {
		date = time.Now()
	}
	msg := &message{raw: raw, date: date, flags: make(map[imap.Flag]struct{})}
	msg.root = sync.OnceValue(func() *part { return parsePart(raw, "text/plain") })
	for _, f := range flags {
		msg.flags[canonicalFlag(f)] = struct{}{}
	}

	mbox.mu.Lock()
	defer mbox.mu.Unlock()
	msg.uid = mbox.uidNext
	mbox.uidNext++
	mbox.msgs = append(mbox.msgs, msg)
	mbox.tracker.QueueNumMessages(uint32(len(mbox.msgs)))
	mbox.wakeLocked()
	return msg.uid
}

// expungeLocked removes the messages for which gone is true.
func (mbox *mailbox) expungeLocked(gone func(*message) bool) {
	// From the end, so that the sequence numbers still to come stay right.
	for i, msg := range slices.Backward(mbox.msgs) {
		if gone(msg) {
			mbox.tracker.QueueExpunge(uint32(i) + 1)
		}
	}
	mbox.msgs = slices.DeleteFunc(mbox.msgs, gone)
	mbox.wakeLocked()
}

// wakeLocked tells idling sessions that something has been queued for them.
func (mbox *mailbox) wakeLocked() {
	for v := range mbox.views {
		select {
		case v.changed <- struct{}{}:
		default: // it is to wake up already
		}
	}
}

func (mbox *mailbox) countFlagLocked(flag imap.Flag) uint32 {
	var n uint32
	for _, msg := range mbox.msgs {
		if msg.has(flag) {
			n++
		}
	}
	return n
}

// flagsLocked returns the system flags and every keyword in use.
func (mbox *mailbox) flagsLocked() []imap.Flag {
	set := make(map[imap.Flag]struct{})
	for _, f := range systemFlags {
		set[f] = struct{}{}
	}
	for _, msg := range mbox.msgs {
		maps.Copy(set, msg.flags)
	}
	return slices.Sorted(maps.Keys(set))
}

// open starts a view, which close ends.
func (mbox *mailbox) open(readOnly bool) *view {
	mbox.mu.Lock()
	defer mbox.mu.Unlock()
	v := &view{
		mailbox:  mbox,
		tracker:  mbox.tracker.NewSession(),
		readOnly: readOnly,
		changed:  make(chan struct{}, 1),
	}
	mbox.views[v] = struct{}{}
	return v
}

func (v *view) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.views, v)
	v.tracker.Close()
}

func (msg *message) has(flag imap.Flag) bool {
	_, ok := msg.flags[canonicalFlag(flag)]
	return ok
}

func (msg *message) flagList() []imap.Flag { return slices.Sorted(maps.Keys(msg.flags)) }

func (msg *message) store(op imap.StoreFlagsOp, flags []imap.Flag) {
	if op == imap.StoreFlagsSet {
		clear(msg.flags)
	}
	for _, f := range flags {
		if op == imap.StoreFlagsDel {
			delete(msg.flags, canonicalFlag(f))
		} else {
			msg.flags[canonicalFlag(f)] = struct{}{}
		}
	}
}

var systemFlags = []imap.Flag{imap.FlagSeen, imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagDraft}

// canonicalFlag returns the usual spelling of a flag; case means nothing in
// them (RFC 9051 §2.3.2).
func canonicalFlag(flag imap.Flag) imap.Flag {
	for _, f := range systemFlags {
		if strings.EqualFold(string(f), string(flag)) {
			return f
		}
	}
	return imap.Flag(strings.ToLower(string(flag)))
}
