package fs

import (
	"sync"
	"time"

	"imapfs/content"
	"imapfs/mail"
)

// hideFor is how long an unlinked name stays away: longer than an rm -r needs
// from a file to the directory of its message.
const hideFor = time.Minute

// leaving is the one table of what has gone or is going, of messages that the
// server still has: the names that unlink has taken away for a while, because a
// message cannot lose a part of itself, but rm -r has to get on to the message; and
// the messages that are being deleted from here.
type leaving struct {
	void func(mail.ID) // declares the kernel's listings of a message void

	mu       sync.Mutex // guards what follows
	hidden   map[mail.ID]*hiding
	deleting map[mail.ID]bool
}

// hiding is what is hidden of one message.
type hiding struct {
	until map[hiddenName]time.Time
	timer *time.Timer // runs expire
}

// hiddenName is a name in one of the directories of a message.
type hiddenName struct {
	id   mail.ID
	dir  content.Kind // kindMessage or kindAttachments
	name string
}

// hide hides a name. The kernel drops it by itself after an unlink, and is given
// no answer to keep about a name that is hidden; only when names come back it has
// to be told that the listing has changed.
func (l *leaving) hide(n hiddenName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hidden == nil {
		l.hidden = make(map[mail.ID]*hiding)
	}
	h := l.hidden[n.id]
	if h == nil {
		h = &hiding{make(map[hiddenName]time.Time), time.AfterFunc(hideFor, func() { l.expire(n.id) })}
		l.hidden[n.id] = h
	}
	h.until[n] = time.Now().Add(hideFor)
}

// hides tells whether a name is hidden.
func (l *leaving) hides(n hiddenName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hidden[n.id]
	return h != nil && time.Now().Before(h.until[n])
}

// show brings a name back if it is hidden.
func (l *leaving) show(n hiddenName) {
	l.showIf(n.id, func(other hiddenName, _ time.Time) bool { return other == n })
}

// showAll brings back what is hidden of a message.
func (l *leaving) showAll(id mail.ID) {
	l.showIf(id, func(hiddenName, time.Time) bool { return true })
}

// expire brings back those names of a message whose time is over.
func (l *leaving) expire(id mail.ID) {
	now := time.Now()
	l.showIf(id, func(_ hiddenName, until time.Time) bool { return !until.After(now) })
}

// showIf brings names of a message back, and has the timer run for those that are
// left.
func (l *leaving) showIf(id mail.ID, back func(n hiddenName, until time.Time) bool) {
	if l.showNow(id, back) {
		l.void(id)
	}
}

func (l *leaving) showNow(id mail.ID, back func(n hiddenName, until time.Time) bool) (shown bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.hidden[id]
	if h == nil {
		return false
	}
	var next time.Time
	for n, until := range h.until {
		if back(n, until) {
			delete(h.until, n)
			shown = true
		} else if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	if len(h.until) > 0 {
		h.timer.Reset(time.Until(next))
	} else {
		h.timer.Stop()
		delete(l.hidden, id)
	}
	return shown
}

// delete notes that a message is being deleted from here, until the function is
// called.
func (l *leaving) delete(id mail.ID) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deleting == nil {
		l.deleting = make(map[mail.ID]bool)
	}
	l.deleting[id] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.deleting, id)
	}
}

// deletes tells whether a message is just being deleted from here.
func (l *leaving) deletes(id mail.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deleting[id]
}
