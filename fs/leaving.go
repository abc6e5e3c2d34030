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
	hidden   map[hiddenName]time.Time
	deleting map[mail.ID]bool
	timer    *time.Timer // runs expire; nil if nothing is hidden
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
		l.hidden = make(map[hiddenName]time.Time)
	}
	l.hidden[n] = time.Now().Add(hideFor)
	if l.timer == nil {
		l.timer = time.AfterFunc(hideFor, l.expire)
	}
}

// hides tells whether a name is hidden.
func (l *leaving) hides(n hiddenName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.hidden) > 0 && time.Now().Before(l.hidden[n])
}

// show brings a name back if it is hidden.
func (l *leaving) show(n hiddenName) {
	l.showIf(func(other hiddenName, _ time.Time) bool { return other == n })
}

// showAll brings back what is hidden of a message.
func (l *leaving) showAll(id mail.ID) {
	l.showIf(func(n hiddenName, _ time.Time) bool { return n.id == id })
}

// expire brings back those names whose time is over.
func (l *leaving) expire() {
	now := time.Now()
	l.showIf(func(_ hiddenName, until time.Time) bool { return !until.After(now) })
}

// showIf brings names back, and has the timer run for those that are left.
func (l *leaving) showIf(back func(n hiddenName, until time.Time) bool) {
	shown := make(map[mail.ID]bool)
	l.mu.Lock()
	var next time.Time
	for n, until := range l.hidden {
		if back(n, until) {
			delete(l.hidden, n)
			shown[n.id] = true
		} else if next.IsZero() || until.Before(next) {
			next = until
		}
	}
	switch {
	case l.timer == nil:
	case next.IsZero():
		l.timer.Stop()
		l.timer = nil
	default:
		l.timer.Reset(time.Until(next))
	}
	l.mu.Unlock()
	for id := range shown {
		l.void(id)
	}
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
