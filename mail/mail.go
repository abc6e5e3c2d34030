// Package mail is what the rest of imapfs means by mail: mailboxes, messages
// and their parts, and the rules that turn one message into the files a user
// sees.
//
// A message on the wire is a header and a body (RFC 5322). The body is often a
// tree of parts (MIME, RFC 2045 to 2049): the text once as plain text and once
// as HTML, pictures, attached documents. IMAP numbers these parts: section
// "2.1" is the first part inside the second one (RFC 9051 §6.4.5). This package
// describes such a tree (Part), finds it in the bytes of a message (Parse),
// picks the parts a reader would display, and writes them as headers.txt,
// body.txt, body.html and the attachments. It never talks to a server or to
// the kernel.
package mail

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Version counts the changes of what this package makes of a message. It is
// raised whenever a file's bytes or a tree may differ from before, so that nothing
// remembered of the old ones is taken for true.
const Version = 3

// Folder is one mailbox as LIST reports it (RFC 9051 §7.3.1).
type Folder struct {
	// Name is by which a mailbox is known in all of imapfs: its full name, decoded from
	// modified UTF-7. Where it is renamed from here it keeps that, and with it all that
	// is known and cached of it; a new one of the old name gets another Name.
	Name        string
	Renamed     string // its full name on the server, where that is another one than Name; else ""
	Delim       rune   // hierarchy delimiter; 0 where names are flat
	Selectable  bool   // false for \Noselect and \NonExistent
	NoInferiors bool   // it can have no children
	SpecialUse  string // such as `\Trash` (RFC 6154), "" for none
}

// FullName is the name that the mailbox has on the server now, decoded from modified
// UTF-7.
func (f Folder) FullName() string { return cmp.Or(f.Renamed, f.Name) }

// ID names one message. It never comes to mean another one, because the server
// changes UIDVALIDITY when it has to number its messages anew (RFC 9051
// §2.3.1.1).
type ID struct {
	Folder      string
	UIDValidity uint32
	UID         uint32
}

func (id ID) String() string { return fmt.Sprintf("%s/%d", id.Folder, id.UID) }

// Listing is messages of a folder at one moment. It is shared: nobody may
// change it.
type Listing struct {
	UIDValidity uint32
	UIDs        []uint32 // ascending
}

// After returns the index of the first message with a UID above uid.
func (l Listing) After(uid uint32) int {
	i, found := slices.BinarySearch(l.UIDs, uid)
	if found {
		i++
	}
	return i
}

// Has tells whether there is a message with this UID.
func (l Listing) Has(uid uint32) bool {
	_, found := slices.BinarySearch(l.UIDs, uid)
	return found
}

// Attr is what the server tells of a message without its content.
type Attr struct {
	Size int64     // RFC822.SIZE in bytes; some servers are wrong about it
	Date time.Time // INTERNALDATE
}

// Letter is a message that is to be put into a mailbox.
type Letter struct {
	Content io.ReaderAt // as it is in a file: a line may end in LF alone
	Size    int64       // of that, in bytes
	Date    time.Time   // INTERNALDATE (RFC 9051 §6.3.12); zero: the server's time
}

// Change is what the server reported of a folder since the last one.
type Change struct {
	Folder      string   // "" when the list of folders changed
	UIDValidity uint32   // of what follows
	Added       []uint32 // UIDs
	Removed     []uint32 // UIDs
	Flags       []uint32 // UIDs of messages with other flags than were known
	Rights      bool     // they are others than were known
	Renewed     bool     // UIDVALIDITY changed: nothing known before holds
	Was         uint32   // with Renewed, the UIDVALIDITY before
}

// Usage is how much mail there is, as far as is known.
type Usage struct {
	Messages int
	Bytes    int64 // of those whose size is known
	Quota    Quota
}

// Quota is how much of what the user may have is used (RFC 9208).
type Quota struct{ Bytes, Messages Room }

// Room is what is used of a limit; a Limit of 0 is none.
type Room struct{ Used, Limit int64 }

// Left returns what is free.
func (r Room) Left() int64 { return max(r.Limit-r.Used, 0) }

// Narrow takes in another quota that holds too: what has the least left counts.
func (q *Quota) Narrow(other Quota) {
	narrow := func(r *Room, other Room) {
		if other.Limit > 0 && (r.Limit == 0 || other.Left() < r.Left()) {
			*r = other
		}
	}
	narrow(&q.Bytes, other.Bytes)
	narrow(&q.Messages, other.Messages)
}

// Rights is what may be done in a mailbox, as far as the server has said when it was
// selected: all, before.
type Rights struct {
	Insert bool // messages can be put into it
	Create bool // folders can be made in it
	Delete bool // they can be taken out of it
	Flag   bool // their flags can be changed
}

// What can go wrong with a message or folder, beside the network.
var (
	ErrNotFound    = errors.New("no such message or folder on the server")
	ErrStale       = errors.New("the server has numbered the folder's messages anew (UIDVALIDITY changed)")
	ErrReadOnly    = errors.New("the server allows only reading in this folder")
	ErrRefused     = errors.New("the server refused")
	ErrUnsupported = errors.New("the server cannot do this")
	ErrTimeout     = errors.New("the server did not answer in time")
	ErrExists      = errors.New("there is one of this name already")
	ErrNotEmpty    = errors.New("there is mail or a folder in it")
	ErrForbidden   = errors.New("this may not be done")
	ErrInUse       = errors.New("the account needs this folder")
	ErrQuery       = errors.New("this query cannot be asked")
	ErrNoMessage   = errors.New("this is no message")
	ErrNoRoom      = errors.New("the quota on the server is used up")
	ErrTooLarge    = errors.New("the server takes no message of this size")
)
