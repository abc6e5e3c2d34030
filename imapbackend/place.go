package imapbackend

import (
	"sync/atomic"
	"time"
)

// place is what the pool knows of a session: which folder it has, who uses it, and
// whether it hears of news by IDLE. Only its methods change it. Whoever calls one, or
// reads a field, holds pool.mu.
type place struct {
	sel    *selection // of the folder that is selected, or on the way to be; nil for none
	moving bool       // SELECT is being sent
	behind bool       // the folder has got a message from here of which the session may not know

	users int
	bulk  int       // of these, who move much data
	ahead int       // of these, who read ahead; they count as bulk too
	used  time.Time // when a request for the folder came or ended

	listening chan struct{} // closed to end IDLE; nil if there is none
	beginning bool          // IDLE is sent, and no other command may be before the server listens
	idled     bool          // an IDLE has ended well
	refused   bool          // the server does not do IDLE
}

// selection is one SELECT or EXAMINE. Commands on the folder are sent behind it
// without waiting for its answer; what they bring may be believed only once it
// is there.
type selection struct {
	folder string
	before string        // the folder that was selected before, "" for none
	failed bool          // guarded by pool.mu; no folder is selected then (RFC 9051 §6.3.2)
	done   chan struct{} // closed when the answer has come

	at atomic.Int64 // when its UIDVALIDITY was told last, in Unix nanoseconds

	// Set before done is closed:
	data mailbox
	err  error
}

func (sel *selection) confirm()             { sel.at.Store(time.Now().UnixNano()) }
func (sel *selection) confirmed() time.Time { return time.Unix(0, sel.at.Load()) }

// answered tells whether the answer has come.
func (sel *selection) answered() bool { return isClosed(sel.done) }

// folder is the one that the session has selected, or will have; "" for none.
func (p *place) folder() string {
	if p.sel == nil || p.sel.failed {
		return ""
	}
	return p.sel.folder
}

func (p *place) has(folder string) bool { return folder != "" && p.folder() == folder }

func (p *place) fits(n need) bool { return n.folder == "" || p.has(n.folder) }

// change begins to select another folder, for which nobody may use the session
// before changed.
func (p *place) change(sel *selection) {
	if p.sel != nil {
		sel.before = p.sel.folder
	}
	p.sel, p.moving, p.behind = sel, true, false
}

func (p *place) changed() { p.moving = false }

// concerned returns the folders that what comes now may be about.
func (p *place) concerned() (folders []string) {
	if p.sel == nil {
		return nil
	}
	if p.sel.before != "" && !p.sel.answered() {
		folders = append(folders, p.sel.before)
	}
	if p.sel.folder == "" { // see need.glance
		return folders
	}
	return append(folders, p.sel.folder)
}

// take counts another user, for whom IDLE ends.
func (p *place) take(n need) {
	p.count(n, 1)
	p.endIdle()
}

func (p *place) count(n need, by int) {
	p.users += by
	if n.bulk || n.ahead {
		p.bulk += by
	}
	if n.ahead {
		p.ahead += by
	}
	if n.folder != "" && !n.watch {
		p.used = time.Now()
	}
}

// isBusy tells whether no command may be sent now.
func (p *place) isBusy() bool { return p.moving || p.beginning }

// listen begins IDLE, and returns what will be closed when it has to end; nil if it
// must not begin.
func (p *place) listen() chan struct{} {
	if p.refused || p.users > 0 || p.isBusy() || p.listening != nil || p.folder() == "" {
		return nil
	}
	p.listening, p.beginning = make(chan struct{}), true
	return p.listening
}

// begun notes that the server listens, or does not.
func (p *place) begun(listens bool) {
	if p.beginning = false; !listens {
		p.endIdle()
	}
}

// idle notes what became of an IDLE.
func (p *place) idle(well, refused bool) {
	p.idled, p.refused = p.idled || well, p.refused || refused
}

// endIdle has IDLE end, if there is one.
func (p *place) endIdle() {
	if p.listening != nil {
		close(p.listening)
		p.listening = nil
	}
}
