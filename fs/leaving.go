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
// message cannot lose a part of itself, but rm -r has to get on to the message; the
// messages that are being deleted or moved from here; and the names that those have for
// a while which were moved. It knows messages by mail.ID, so it is the same wherever one
// is shown, and whatever the kernel forgets. It is no expirable LRU of golang-lru: the
// kernel has to be told when names are back, with no lock held, and what clears that
// one never ends.
type leaving struct {
	void func(mail.ID) // declares the kernel's listings of a message void

	mu       sync.Mutex // guards what follows
	messages map[mail.ID]*departure
	called   map[named]mail.ID
	lives    map[mail.ID]uint32 // how often the kernel thinks that it was replaced
}

// departure is what is leaving of one message.
type departure struct {
	leaves int // exchanges that take it away, under way from here
	hidden map[hiddenName]time.Time
	timer  *time.Timer // runs expire; nil if nothing is hidden
}

// hiddenName is a name in one of the directories of a message.
type hiddenName struct {
	id   mail.ID
	dir  content.Kind // kindMessage or kindAttachments
	name string
}

// at hands f what is leaving of a message, and forgets it if that is nothing then.
func (l *leaving) at(id mail.ID, f func(*departure)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.messages[id]
	if d == nil {
		if l.messages == nil {
			l.messages = make(map[mail.ID]*departure)
		}
		d = &departure{hidden: make(map[hiddenName]time.Time)}
		l.messages[id] = d
	}
	if f(d); d.leaves == 0 && len(d.hidden) == 0 {
		delete(l.messages, id)
	}
}

// hide hides a name. The kernel drops it by itself after an unlink, and is given
// no answer to keep about a name that is hidden; only when names come back it has
// to be told that the listing has changed.
func (l *leaving) hide(n hiddenName) {
	l.at(n.id, func(d *departure) {
		d.hidden[n] = time.Now().Add(hideFor)
		if d.timer == nil {
			d.timer = time.AfterFunc(hideFor, func() { l.expire(n.id) })
		}
	})
}

// hides tells whether a name is hidden.
func (l *leaving) hides(n hiddenName) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.messages[n.id]
	return d != nil && time.Now().Before(d.hidden[n])
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
	shown := false
	l.at(id, func(d *departure) {
		var next time.Time
		for n, until := range d.hidden {
			if back(n, until) {
				delete(d.hidden, n)
				shown = true
			} else if next.IsZero() || until.Before(next) {
				next = until
			}
		}
		switch {
		case d.timer == nil:
		case next.IsZero():
			d.timer.Stop()
			d.timer = nil
		default:
			d.timer.Reset(time.Until(next))
		}
	})
	if shown {
		l.void(id)
	}
}

// leave notes that a message is being deleted or moved from here, until the function is
// called.
func (l *leaving) leave(id mail.ID) (end func()) {
	l.at(id, func(d *departure) { d.leaves++ })
	return func() { l.at(id, func(d *departure) { d.leaves-- }) }
}

// leaves tells whether a message is just being deleted or moved from here.
func (l *leaving) leaves(id mail.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.messages[id]
	return d != nil && d.leaves > 0
}

// call gives a message that was moved a name in its folder for a while. over is called
// when that has passed.
func (l *leaving) call(mailbox, name string, id mail.ID, over func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.called == nil {
		l.called = make(map[named]mail.ID)
	}
	c := named{mailbox, name}
	l.called[c] = id
	time.AfterFunc(hideFor, func() {
		l.mu.Lock()
		ours := l.called[c] == id
		if ours {
			delete(l.called, c)
		}
		l.mu.Unlock()
		if ours {
			over()
		}
	})
}

// find returns the message that is called so.
func (l *leaving) find(mailbox, name string) (id mail.ID, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, ok = l.called[named{mailbox, name}]
	return id, ok
}

// replaced notes that the kernel takes a message for replaced by another one. To show it
// again takes another inode: Linux looks for nothing any more in a directory that a rename
// has replaced.
func (l *leaving) replaced(id mail.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lives == nil {
		l.lives = make(map[mail.ID]uint32)
	}
	l.lives[id]++
}

// life returns how often that was.
func (l *leaving) life(id mail.ID) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lives[id]
}
