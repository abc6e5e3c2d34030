package fs

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

const (
	// keepDone is how long the name of a letter that was sent leads to what was
	// written: programs look at what they have written, and set its attributes. An
	// empty one waits as long for whoever has made it.
	keepDone = time.Minute
	// mostDone bounds how many are kept.
	mostDone = 256
)

// fate is what becomes of a file that is written into a folder, by its name.
type fate int

const (
	toSend   fate = iota // *.eml: a message, sent when it is closed
	toKeep               // a program's own: it stays here, until it is called otherwise
	toRefuse             // when it is closed, unless it is called otherwise by then
)

// temporaryEnds are what programs hang on to the name of a file until it is complete.
var temporaryEnds = []string{".part", ".tmp", ".partial", ".filepart", ".crdownload"}

// fateOf tells what becomes of a name. Temporary names begin with a dot, as rsync's and those of
// file managers' own files, or go on behind .eml (x.eml~, x.eml.1a2b.partial), or have one
// of the usual ends.
func fateOf(name string) fate {
	lower := strings.ToLower(name)
	_, behind, found := strings.Cut(lower, ".eml")
	next, _ := utf8.DecodeRuneInString(behind)
	switch {
	case strings.HasPrefix(lower, "."):
		return toKeep
	case path.Ext(lower) == ".eml":
		return toSend
	case found && !unicode.IsLetter(next) && !unicode.IsDigit(next),
		slices.Contains(temporaryEnds, path.Ext(lower)):
		return toKeep
	}
	return toRefuse
}

// letters is the files that somebody writes into folders.
type letters struct {
	fsys   *FS
	spools spools
	sends  sync.WaitGroup // under way

	mu     sync.Mutex // guards what follows, and what says so in each letter
	at     map[named]*letter
	kept   []*letter // that are done, and that nobody has open: the oldest first
	count  int       // of all so far
	closed bool
}

// letter is a file that is being written, or was a moment ago: a message to be, or what
// a program needs for a while.
type letter struct {
	fsys   *FS
	number gofs.StableAttr
	spool  spool
	turn   chan struct{} // is held by who changes the content or sends it
	orphan *letterHandle // of who writes without OPEN (spare.go)

	// letters.mu guards what follows. What is marked so changes only for who has
	// the turn.
	at         named
	gone       bool // no name leads to it any more
	removed    bool // because somebody has removed it
	handles    int  // how often it is open
	unfinished int  // handles by which something was written that their writer has not closed since
	perm       uint32
	date       time.Time // mtime
	dated      bool      // and somebody has set it
	until      time.Time // when a letter that was sent vanishes

	changes   int       // of the content, so far (turn)
	broken    error     // a change has failed: the content is not what was written (turn)
	source    *fileNode // the content is that of this message.eml, and the spool is empty (turn)
	copied    int64     // up to here, in bytes (turn)
	answered  int       // changes when it was sent last (turn)
	answer    error     // and what became of that (turn)
	sent      *mail.ID  // the message that it has become, also from an earlier content (turn)
	abandoned bool      // its writer was killed
}

// add makes a letter that is open once, in the place of one that nobody can see any
// more.
func (ls *letters) add(at named) *letter {
	ls.mu.Lock()
	ls.count++
	l := &letter{fsys: ls.fsys, at: at, turn: make(chan struct{}, 1), handles: 1, date: time.Now()}
	l.number = numbersOf("letter "+strconv.Itoa(ls.count), 0).of(0, 0, syscall.S_IFREG)
	l.spool.all = &ls.spools
	l.orphan = &letterHandle{letter: l, writes: true}
	free := ls.put(l, at)
	ls.mu.Unlock()
	release(free)
	return l
}

// put makes a name lead to l and to nothing else, and returns what nobody needs any
// more. The caller holds mu.
func (ls *letters) put(l *letter, at named) (free []*letter) {
	if ls.at == nil {
		ls.at = make(map[named]*letter)
	}
	if ls.at[l.at] == l {
		delete(ls.at, l.at)
	}
	if old := ls.at[at]; old != nil && old != l {
		free = ls.forget(old)
	}
	ls.at[at], l.at = l, at
	return free
}

// find returns what a name leads to, nil for nothing.
func (ls *letters) find(at named) *letter {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.at[at]; l != nil && l.visible() {
		return l
	}
	return nil
}

// visible tells whether the name leads to it: what was refused is gone for all but
// those who have it open. The caller holds letters.mu.
func (l *letter) visible() bool { return !l.gone && !l.abandoned && !l.refused() }

// refused tells that the content is not to become a message. The caller holds
// letters.mu.
func (l *letter) refused() bool {
	return l.changes > 0 && l.answered == l.changes && l.answer != nil && fateOf(l.at.name) != toKeep
}

// isSent tells whether the server has all of it. The caller holds letters.mu.
func (l *letter) isSent() bool {
	return l.sent != nil && l.answered == l.changes && l.answer == nil
}

// isDone tells whether nothing is left to be done with it. The caller holds letters.mu.
func (l *letter) isDone() bool {
	return l.isSent() || l.changes == 0 && fateOf(l.at.name) != toKeep
}

// entries lists what was not sent yet of a mailbox.
func (ls *letters) entries(mailbox string) []fuse.DirEntry {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	var all []fuse.DirEntry
	for at, l := range ls.at {
		if at.mailbox == mailbox && l.visible() && !l.isSent() {
			all = append(all, fuse.DirEntry{Name: at.name, Mode: syscall.S_IFREG, Ino: l.number.Ino})
		}
	}
	slices.SortFunc(all, func(a, b fuse.DirEntry) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// update changes a letter, and lets it go if nobody needs it then.
func (l *letter) update(change func()) {
	ls := &l.fsys.letters
	ls.mu.Lock()
	change()
	free := ls.settle(l)
	ls.mu.Unlock()
	release(free)
}

// settle lets go of a letter that nobody needs any more. The caller holds mu.
func (ls *letters) settle(l *letter) (free []*letter) {
	ls.kept = slices.DeleteFunc(ls.kept, func(other *letter) bool { return other == l })
	switch {
	case l.handles > 0, l.unfinished > 0, len(l.turn) > 0:
		return nil
	case l.gone:
		return []*letter{l}
	case !l.visible(), l.changes > 0 && fateOf(l.at.name) == toRefuse:
		return ls.vanish(l)
	case !l.isDone():
		return nil
	}
	l.until = time.Now().Add(keepDone)
	time.AfterFunc(keepDone, l.expire)
	ls.kept = append(ls.kept, l)
	for len(ls.kept) > mostDone {
		free = append(free, ls.vanish(ls.kept[0])...)
	}
	return free
}

// expire has the name of a letter that is done vanish when its time is over.
func (l *letter) expire() {
	ls := &l.fsys.letters
	ls.mu.Lock()
	var free []*letter
	if !l.gone && l.isDone() && l.handles == 0 && len(l.turn) == 0 && !time.Now().Before(l.until) {
		free = ls.vanish(l)
	}
	ls.mu.Unlock()
	release(free)
}

// forget takes the name away. The caller holds mu.
func (ls *letters) forget(l *letter) (free []*letter) {
	if ls.at[l.at] == l {
		delete(ls.at, l.at)
	}
	l.gone = true
	return ls.settle(l)
}

func release(all []*letter) {
	for _, l := range all {
		l.spool.free()
	}
}

// vanish is forget for a name that the kernel believes in. The caller holds mu.
func (ls *letters) vanish(l *letter) (free []*letter) {
	fsys, at := ls.fsys, l.at
	fsys.notes.add(func() {
		folder := fsys.inodeOf(at.mailbox)
		if folder == nil {
			return
		}
		if child := folder.GetChild(at.name); child != nil && child.StableAttr() == l.number { // and no other by now
			folder.NotifyDelete(at.name, child)
		}
		folder.NotifyContent(0, 0) // the listing
	})
	return ls.forget(l)
}

// close waits for what is being sent, and forgets the rest: nobody can ask for it any
// more.
func (ls *letters) close() {
	ls.mu.Lock()
	ls.closed = true
	ls.mu.Unlock()
	ls.sends.Wait()
	ls.mu.Lock()
	lost := 0
	var all []*letter
	for _, l := range ls.at {
		if l.visible() && l.changes > 0 && !l.isSent() {
			lost++
		}
		all = append(all, l)
	}
	ls.at, ls.kept = nil, nil
	ls.mu.Unlock()
	release(all)
	if lost > 0 {
		ls.fsys.log.Warn("files were written into folders that never got the name of a message, *.eml; they are gone", "files", lost)
	}
}

// take takes the turn. Its error is that of ctx.
func (l *letter) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// give gives the turn back, with what has changed.
func (l *letter) give(change func()) {
	l.update(func() {
		change()
		<-l.turn
	})
}
