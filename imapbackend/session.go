package imapbackend

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// session is one connection to the server. Which folder it has selected and
// who uses it is the pool's business.
type session struct {
	b      *Backend
	conn   *wire.Conn
	ear    *ear
	client *imapclient.Client // nil before the login
	caps   imap.CapSet

	// Held for the messages whose content is being fetched: an answer names
	// the offset but not the length that was asked for, so two for the same
	// message could take each other's.
	content locks[uint32]

	// Held by each SEARCH: an untagged SEARCH does not say which it answers.
	searching sync.Mutex

	// Held by each MOVE, COPY and APPEND: APPENDUID and COPYUID do not say which
	// command they answer.
	putting sync.Mutex

	doingMu sync.Mutex // guards doing
	doing   []string   // commands that wait for their answers

	opened    time.Time
	isPlain   bool         // it is asked only for what is needed
	succeeded atomic.Int32 // commands that went well

	asked map[string]int // for the rights in folders: folder.reopened then; selectFolder's alone

	place   place       // guarded by pool.mu
	resting *time.Timer // begins IDLE; guarded by pool.mu
}

// lease is a session in use, and the folder that it has selected for this use.
type lease struct {
	*session
	need need
	sel  *selection // nil if no folder was asked for

	behind bool // see pool.catchUp
	growth int  // ear.growth when the use began
}

// confirm waits until the folder is selected. Its error is that of SELECT, or
// mail.ErrStale if UIDs have another meaning now. It must not be called while
// the reader waits for somebody to take an answer from it: that of SELECT may
// be the next.
func (l *lease) confirm() error {
	if l.need.folder == "" {
		return nil
	}
	<-l.sel.done
	if l.sel.err != nil {
		return fmt.Errorf("%w: %w", errNoFolder, l.sel.err)
	}
	if l.need.messages && l.need.validity != l.sel.data.validity {
		return fmt.Errorf("%s: %w", l.sel.folder, mail.ErrStale)
	}
	return nil
}

// locks has a lock for each key, and locks several at once.
type locks[K comparable] struct {
	mu   sync.Mutex // guards what follows
	wake *sync.Cond
	held map[K]bool
}

// lock waits until nobody holds any of keys, takes them all, and returns what
// lets go of them.
func (u *locks[K]) lock(keys ...K) (unlock func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held == nil {
		u.wake, u.held = sync.NewCond(&u.mu), make(map[K]bool)
	}
	for slices.ContainsFunc(keys, func(key K) bool { return u.held[key] }) {
		u.wake.Wait()
	}
	for _, key := range keys {
		u.held[key] = true
	}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, key := range keys {
			delete(u.held, key)
		}
		u.wake.Broadcast()
	}
}

// can tells whether the server offers c, also as part of IMAP4rev2. Whoever asks
// makes use of it.
func (s *session) can(c imap.Cap) bool {
	if !s.caps.Has(c) || s.isPlain && c != imap.CapUIDPlus && c != imap.CapMove {
		return false
	}
	s.b.inUse.Store(c, true)
	return true
}

// ended tells whether the connection is closed.
func (s *session) ended() bool { return isClosed(s.client.Closed()) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// close closes the connection and waits until the library's reader has ended
// with it, and all commands with that.
func (s *session) close() {
	if s.client == nil {
		s.conn.Abandon()
		return
	}
	s.conn.End()
	<-s.client.Closed()
}

// command runs f, which sends a command and waits for its answer, under the
// connection's watch, and turns its error into one of this package's.
func (s *session) command(what string, f func() error) error {
	s.expect(what)
	return s.settle(what, f())
}

// noop has the server tell what it has not told yet (RFC 9051 §6.1.2).
func (s *session) noop() error {
	return s.command("NOOP", func() error { return s.client.Noop().Wait() })
}

// expect notes that a command is under way.
func (s *session) expect(what string) {
	s.conn.Line.Expect(1)
	s.doingMu.Lock()
	defer s.doingMu.Unlock()
	s.doing = append(s.doing, what)
}

// settle ends what expect has begun.
func (s *session) settle(what string, err error) error {
	s.conn.Line.Expect(-1)
	s.doingMu.Lock()
	if i := slices.Index(s.doing, what); i >= 0 {
		s.doing = slices.Delete(s.doing, i, i+1)
	}
	s.doingMu.Unlock()
	if err == nil {
		if s.succeeded.Add(1) == usefulCommands {
			s.b.pool.useful()
		}
		return nil
	}
	var status *imap.Error
	if errors.As(err, &status) && status.Type != imap.StatusResponseTypeBye {
		status.Text = s.b.secrets.hide(status.Text)
		return &refusal{what: what, status: status}
	}
	switch {
	case s.conn.Fault() != nil:
		err = s.conn.Fault()
		s.b.log.Warn("a connection was ended", "command", what, "error", err)
	case s.conn.Line.Lost():
		err = errLost
	case s.conn.Line.TimedOut():
		err = errTimeout
	case s.conn.Corrupt():
		s.b.quirks.noCompress.Store(true)
		s.b.log.Warn("the server's compression is broken, going on without", "command", what)
		err = errBroken
	default:
		err = errBroken
		if bye := s.ear.farewell(); bye != "" {
			err = fmt.Errorf("%w (it says: %s)", errBroken, bye)
		}
	}
	s.b.pool.drop(s)
	return fmt.Errorf("%s: %w", what, err)
}

// selectFolder sends SELECT, or EXAMINE on a mount that only reads, and returns
// at once. Only the pool calls it, on a session that nobody else uses. The
// answer is awaited by a goroutine that ends with the connection, and that
// pool.close waits for.
func (s *session) selectFolder(sel *selection) {
	what := "open folder " + sel.folder
	s.expect(what)
	cmd := s.client.Select(s.b.onWire(sel.folder), &imap.SelectOptions{ReadOnly: s.b.cfg.ReadOnly})
	granted := s.askForRights(sel.folder) // in the same flight
	go func() {
		defer s.b.pool.selecting.Done() // which the pool has counted
		_, err := cmd.Wait()
		sel.data = s.ear.selected()
		sel.confirm()
		f := s.b.folder(sel.folder)
		if sel.err = s.settle(what, err); sel.err == nil {
			f.selected(sel.data.validity, sel.data.uidNext, sel.data.messages)
			f.countedFlags(sel.data.modSeq)
			if !s.b.cfg.ReadOnly {
				f.allows(s.rightsIn(sel.data, f.opens(&sel.data)))
			}
		} else {
			f.opens(nil)
			s.b.pool.unselected(sel)
		}
		close(sel.done)
		if letters := granted(sel.err == nil); letters != "" {
			f.grants(letters)
			f.allows(s.rightsIn(sel.data, letters))
		}
	}()
}
