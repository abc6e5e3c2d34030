package imapbackend

import (
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

var errTimeout = mail.ErrTimeout

// errLost says that the network has not taken in what was sent.
var errLost = fmt.Errorf("the connection is dead: %w", errTimeout)

// errBroken says that the connection ended under a command. What was asked is
// not known to have happened.
var errBroken = errors.New("the connection to the server broke")

// errMalformed says that an answer could not be read.
var errMalformed = wire.ErrMalformed

// isBroken tells whether err is that the connection went under a command, and is
// not known to have done it.
func isBroken(err error) bool {
	return errors.Is(err, errBroken) || errors.Is(err, errTimeout) || errors.Is(err, errMalformed)
}

// isStatus tells whether err is a NO or BAD of the server.
func isStatus(err error) bool {
	_, ok := errors.AsType[*imap.Error](err)
	return ok
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

// tooBig says that a message is too large for the server (RFC 7889 §4).
const tooBig = imap.ResponseCode("TOOBIG")

func (r *refusal) Unwrap() []error {
	switch r.status.Code {
	case imap.ResponseCodeNonExistent, expungeIssued:
		return []error{mail.ErrNotFound, r.status}
	case imap.ResponseCodeNoPerm:
		return []error{mail.ErrReadOnly, r.status}
	case imap.ResponseCodeTryCreate:
		return []error{mail.ErrNotFound, r.status}
	}
	if kind := refusals[r.status.Code]; kind != nil {
		return []error{kind, mail.ErrRefused, r.status}
	}
	return []error{mail.ErrRefused, r.status}
}

// refusals says more of a refusal, by its code (RFC 5530 §3).
var refusals = map[imap.ResponseCode]error{
	imap.ResponseCodeAlreadyExists: mail.ErrExists,
	imap.ResponseCodeCannot:        mail.ErrForbidden,
	imap.ResponseCodeHasChildren:   mail.ErrNotEmpty,
	imap.ResponseCodeInUse:         mail.ErrInUse,
	imap.ResponseCodeLimit:         mail.ErrNoRoom,
	imap.ResponseCodeOverQuota:     mail.ErrNoRoom,
	tooBig:                         mail.ErrTooLarge,
}

// errNoFolder says that the folder cannot be selected.
var errNoFolder = errors.New("the folder cannot be opened")

// isTheirs tells whether err is about what was asked for: not about the network,
// the folder or the login.
func isTheirs(err error) bool {
	return (errors.Is(err, mail.ErrRefused) || errors.Is(err, errMalformed) || errors.Is(err, errTooLarge)) &&
		!errors.Is(err, errNoFolder) && !errors.Is(err, errAway)
}

// errCutOff says that a connection ends, or is silent, each time that a message
// is asked for.
var errCutOff = fmt.Errorf("the server breaks off each time: %w", mail.ErrRefused)

// isUnreached tells whether err says nothing of what was asked for, but that
// the server could not be asked.
func isUnreached(err error) bool {
	return errors.Is(err, errAway) || errors.Is(err, errBroken) || errors.Is(err, errTimeout)
}

// mostAttempts is how often a request is sent at most. One whose connections
// break each time is to blame for that itself.
const mostAttempts = 3

// with runs f on a session that fits n. The folder may be still on the way to
// be selected: f can send commands at once, but believes their answers only
// after lease.confirm. When the connection breaks under f, it is run again on
// another one, for as long as a server can take to restart: f must be such that
// this does no harm.
func (p *pool) with(n need, f func(*lease) error) error {
	begun, pauses := time.Now(), newBackOff()
	for attempt := 1; ; attempt++ {
		err := p.onceOpen(n, f)
		broken := errors.Is(err, errBroken)
		switch {
		case !isBroken(err) || errors.Is(err, errAway):
			return err
		case broken && attempt == mostAttempts:
			return fmt.Errorf("%w (%w)", errCutOff, err)
		case broken && time.Since(begun) >= p.grace, !broken && attempt > 1:
			// Silence and what cannot be read count once: an unreadable answer may
			// have been one to another command, and a silent connection the only one.
			return err
		}
		p.b.log.Info("trying again on another connection", "folder", p.b.fullName(n.folder), "error", err)
		if errors.Is(err, errTimeout) {
			p.suspect(!errors.Is(err, errLost))
		}
		if attempt > 1 && !p.b.sleep(pauses.NextBackOff()) {
			return err
		}
	}
}

// onceOpen is once, and again if the server says BAD, as some do when they have
// forgotten which folder is selected.
func (p *pool) onceOpen(n need, f func(*lease) error) error {
	err := p.once(n, f)
	if refused, ok := errors.AsType[*refusal](err); !ok || n.folder == "" || refused.status.Type != imap.StatusResponseTypeBad || errors.Is(err, errNoFolder) {
		return err
	}
	p.locked(func() {
		for _, s := range p.sessions {
			if s.place.has(n.folder) {
				s.place.sel.failed = true
			}
		}
	})
	return p.once(n, f)
}

// once is with, but runs f once only.
func (p *pool) once(n need, f func(*lease) error) error {
	l, err := p.acquire(n)
	if err != nil {
		return err
	}
	defer p.release(l.session, n)
	l.growth = l.ear.growth()
	p.catchUp(l)
	err = f(l)
	// Without its folder a command fails for that reason only, and means
	// nothing if it does not.
	if serr := l.confirm(); serr != nil {
		return serr
	}
	return err
}

// twice is once, but tries again on another connection if the first one breaks.
// If the second does so too, that is because of what is asked for.
func (p *pool) twice(n need, f func(*lease) error) error {
	err := p.onceOpen(n, f)
	if err == nil || !p.mayGoOn(err) {
		return err
	}
	p.b.log.Info("trying again on another connection", "folder", p.b.fullName(n.folder), "error", err)
	if err = p.onceOpen(n, f); err != nil && p.mayGoOn(err) {
		return fmt.Errorf("%w (%w)", errCutOff, err)
	}
	return err
}

// mayGoOn tells whether err is that a connection broke, which another one may not do.
func (p *pool) mayGoOn(err error) bool {
	if isBroken(err) && !errors.Is(err, errAway) && p.b.ctx.Err() == nil {
		if errors.Is(err, errTimeout) {
			p.suspect(!errors.Is(err, errLost))
		}
		return true
	}
	return false
}
