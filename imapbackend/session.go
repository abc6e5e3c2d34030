package imapbackend

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/mail"
)

var errTimeout = mail.ErrTimeout

// errBroken says that the connection ended under a command. What was asked is
// not known to have happened.
var errBroken = errors.New("the connection to the server broke")

// errMalformed says that the library gave the connection up because it could
// not read an answer.
var errMalformed = errors.New("the server sent what is not IMAP")

// session is one connection to the server. Which folder it has selected and
// who uses it is the pool's business.
type session struct {
	b      *Backend
	conn   *watchedConn
	client *imapclient.Client
	caps   imap.CapSet

	// Held for reading by each FETCH, for writing by one that must be alone
	// because the library gave answers to the wrong command (see fetch.go).
	alone sync.RWMutex

	// Lane uid%256 is held by each FETCH of a message's content: an answer
	// names the offset but not the length that was asked for, so two for the
	// same message could take each other's.
	lanes [256]sync.Mutex

	// Held by each SEARCH: the library gives an untagged SEARCH to the first
	// command that waits for one.
	searching sync.Mutex

	// Guarded by pool.mu:
	folder   string // selected; "" for none
	validity uint32 // its UIDVALIDITY when it was selected
	writable bool   // by SELECT, not EXAMINE
	users    int
	bulk     int       // users that move much data
	used     time.Time // by the last request
	moving   bool      // on the way to another folder
}

// can tells whether the server offers c, also as part of IMAP4rev2.
func (s *session) can(c imap.Cap) bool { return s.caps.Has(c) }

// ended tells whether the connection is closed.
func (s *session) ended() bool {
	select {
	case <-s.client.Closed():
		return true
	default:
		return false
	}
}

// search is one UID SEARCH.
func (s *session) search(what string, criteria *imap.SearchCriteria, options *imap.SearchOptions) (*imap.SearchData, error) {
	s.searching.Lock()
	defer s.searching.Unlock()
	var data *imap.SearchData
	err := s.command(what, func() (err error) {
		data, err = s.client.UIDSearch(criteria, options).Wait()
		return err
	})
	return data, err
}

// command runs f, which sends a command and waits for its answer, under the
// connection's watch, and turns its error into one of this package's.
func (s *session) command(what string, f func() error) error {
	s.conn.expect(1)
	err := f()
	s.conn.expect(-1)
	if err == nil {
		return nil
	}
	var status *imap.Error
	if errors.As(err, &status) && status.Type != imap.StatusResponseTypeBye {
		return &refusal{what: what, status: status}
	}
	switch {
	case s.conn.timedOut():
		err = errTimeout
	case s.conn.readError() != nil || s.b.ctx.Err() != nil:
		err = errBroken
	default:
		s.b.log.Debug("unreadable answer", "command", what, "error", plain(err.Error()))
		err = errMalformed
	}
	s.b.pool.drop(s)
	return fmt.Errorf("%s: %w", what, err)
}

// refusal is a NO or BAD.
type refusal struct {
	what   string
	status *imap.Error
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s: the server says %s: %s", r.what, r.status.Type, plain(r.status.Text))
}

// expungeIssued says that another client has expunged what was asked for
// (RFC 5530 §3).
const expungeIssued = imap.ResponseCode("EXPUNGEISSUED")

func (r *refusal) Unwrap() error {
	switch r.status.Code {
	case imap.ResponseCodeNonExistent, expungeIssued:
		return mail.ErrNotFound
	case imap.ResponseCodeNoPerm:
		return mail.ErrReadOnly
	}
	return mail.ErrRefused
}

// unilateral takes in what the server says unasked. All of it means one thing
// here: look at the folder again. (FETCH brings flags, which no file shows.)
func (s *session) unilateral() *imapclient.UnilateralDataHandler {
	return &imapclient.UnilateralDataHandler{
		Expunge: func(uint32) { s.b.pool.changed(s) },
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				s.b.pool.changed(s)
			}
		},
	}
}

// selectFolder selects name. Only the pool calls it, on a session that nobody
// else uses.
func (s *session) selectFolder(name string, writable bool) (*imap.SelectData, error) {
	var data *imap.SelectData
	err := s.command("open folder "+name, func() (err error) {
		data, err = s.client.Select(name, &imap.SelectOptions{ReadOnly: !writable}).Wait()
		return err
	})
	return data, err
}
