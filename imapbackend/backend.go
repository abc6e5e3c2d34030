// Package imapbackend asks an IMAP server for mail.
//
// An IMAP connection is a conversation in which the client sends tagged
// commands and the server answers each with data and a tagged OK, NO or BAD
// (RFC 9051 §2.2). Commands on messages work on the one mailbox that the
// connection has selected, so a client that reads several folders at once
// wants several connections. Messages are named by UID, which is valid for as
// long as the mailbox keeps its UIDVALIDITY; sequence numbers shift with each
// expunge, so this package uses them for nothing but noticing that something
// has changed.
//
// Backend is the whole of it. It keeps a few connections (pool.go, place.go, session.go,
// connect.go, login.go), gathers what is said on them (heard.go, and package wire below
// it), and asks again where they break (failure.go, away.go). It knows which folders
// there are (mailboxes.go), what they are called (names.go) and what is in each
// (folder.go, listing.go, attr.go, structure.go, flags.go), what may be done there
// (rights.go) and how much room there is (quota.go), hears what changes (idle.go,
// news.go), and reads it (fetch.go, section.go). All that it changes on the server it
// changes by an exchange (exchange.go): messages it takes away (delete.go), brings
// (arrival.go, append.go; doubt.go where nobody knows whether one has come) and marks
// (flags_set.go); folders it makes, renames and deletes in the same way, with LIST for
// the question behind it (folders.go, hierarchy.go). How a server differs from others it
// remembers (quirks.go), and what it does not give is left in peace (trouble.go). What it
// knows is kept for the next mount (remember.go). It knows nothing of the kernel.
package imapbackend

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"imapfs/cache"
	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// Config says which server to use and how.
type Config struct {
	URL         URL
	Password    string
	NewPassword func(context.Context) (string, error) // looks for another one when the server refuses it; nil: there is none
	Token       func(context.Context) (string, error) // an access token for each login, instead of Password
	Retry       bool                                  // Connect waits for a server that cannot be reached
	Insecure    bool                                  // allow a login without TLS
	RootCAs     *x509.CertPool                        // nil: the system's
	Connections int                                   // at most this many connections
	Timeout     time.Duration                         // a server that is silent for so long is given up
	Poll        time.Duration                         // how often to ask for news that IDLE does not bring
	Trash       string                                // removed messages go to this mailbox, or SpecialTrash; "": deleted for good
	ReadOnly    bool                                  // never select a folder for writing
	Version     string                                // told to the server by ID (RFC 2971)
	Store       Store                                 // what is known survives a restart here; nil for none
	Log         *slog.Logger
	Trace       io.Writer // what is said with the server, without mail and credentials; nil for none
}

// The locks of this package. What is held when another one is taken stands above it
// here, and never in the same row:
//
//	Backend.polling, then Backend.arranging; Backend.alike
//	session.content, then session.searching, then session.putting, then ear.sending
//	pool.mu, folder.mu, credentials.mu
//	Backend.mu
//	ear.mu, and in package wire Trace.mu
//	session.doingMu, secrets.mu, structures, envelopes, and all else in package wire
//
// Those of the first two rows are queues for the server, and are held while it is
// asked; so is credentials.mu while a command looks for a password, which nobody waits
// for but who opens a connection. Under all others neither the network is used nor the
// disk, but for a line of the log or the trace, and nobody waits for the library, whose
// reader takes them.

// Backend is a mail account on an IMAP server. It is safe for concurrent use.
// A method whose ctx ends returns soon; the command that it started goes on,
// so that whoever asks next finds the answer.
type Backend struct {
	cfg   Config
	log   *slog.Logger
	trace *wire.Trace
	pool  *pool
	group singleflight.Group

	credentials *credentials
	secrets     *secrets
	reached     atomic.Bool // there was a connection, if only of TCP
	onChange    atomic.Pointer[func(mail.Change)]

	quirks quirks

	whole      atomic.Pointer[whole] // that is read in pieces where quirks.noPartial is true
	structures *cache.Weighted[mail.ID, *mail.Part]
	envelopes  *cache.Weighted[chunkOf, envelopes]
	store      Store
	unsaved    chan struct{} // wakes the saver

	polling    sync.Mutex    // held by askForNews
	arranging  sync.RWMutex  // held while a folder is made, renamed or deleted
	alike      locks[string] // held for what would be taken for each other in one mailbox
	usageAsked atomic.Bool   // somebody has asked for Usage since the last poll
	quotaAsked atomic.Bool   // and once at all
	inUse      sync.Map      // imap.Cap to true: what was made use of

	ctx  context.Context // ends when the backend closes
	stop context.CancelFunc
	wg   sync.WaitGroup // poll, watch, IDLE and refreshes; Close waits for it

	mu      sync.Mutex // guards what follows
	closed  bool       // no goroutine may start any more
	folders map[string]*folder
	alerts  map[string]bool     // that the user was told of
	doubts  map[string]*arrival // what may be there, see doubt.go
	list    []mail.Folder       // replaced as a whole, as wires
	wires   map[string]string   // names on the wire of those which differ, see names.go
	spent   map[string]bool     // Names of mailboxes that were deleted from here
	quota   mail.Quota          // as told last
	edits   int                 // how often folders were changed from here, or begun to be

	listStored time.Time // when list was put into the store
}

// Connect logs in and lists the folders. If the server cannot be reached, but
// the folders are remembered, Connect does without, and goes on trying. Its
// error is one plain line for the user.
func Connect(ctx context.Context, cfg Config) (*Backend, error) {
	b := &Backend{
		cfg:        cfg,
		log:        cfg.Log,
		structures: newStructures(),
		envelopes:  newEnvelopes(),
		store:      cfg.Store,
		unsaved:    make(chan struct{}, 1),
		folders:    make(map[string]*folder),
		alerts:     make(map[string]bool),
		doubts:     make(map[string]*arrival),
		spent:      make(map[string]bool),
		secrets:    &secrets{},
	}
	b.trace = wire.NewTrace(cfg.Trace, b.secrets.hide)
	b.credentials = newCredentials(&b.cfg, b.secrets)
	if b.store == nil {
		b.store = forgetful{}
	}
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.pool = newPool(b)
	err := b.listFirst(ctx)
	if err == nil {
		_, err = b.trashFolder()
	}
	if err != nil {
		b.stop()
		b.pool.close()
		b.wg.Wait()
		return nil, err
	}
	b.pool.locked(func() { b.pool.watched = b.named(b.pool.watched) })
	b.credentials.askAgain()
	b.start(b.poll)
	b.start(b.watch)
	b.start(b.saver)
	return b, nil
}

// offlineAfter is how long Connect waits for a sign of a server that it can do
// without. One that has taken the connection has Config.Timeout for what it says
// to the login.
const offlineAfter = 3 * time.Second

// listFirst opens the first connection and asks for the folders.
func (b *Backend) listFirst(ctx context.Context) error {
	waiting := time.AfterFunc(offlineAfter, func() {
		b.log.Warn("waiting for the server", "server", b.cfg.URL.Addr())
	})
	defer waiting.Stop()
	if !b.recallFolders() {
		return b.reach(ctx)
	}
	err := b.pool.dialFirst(ctx, offlineAfter)
	if err == nil {
		err = b.listFolders(ctx, nil)
	}
	if !isUnreached(err) {
		return err
	}
	b.log.Warn("the server cannot be reached; showing what is remembered", "error", err)
	return nil
}

// reach asks for the folders, again and again with Config.Retry.
func (b *Backend) reach(ctx context.Context) error {
	for pauses := newBackOff(); ; {
		err := b.listFolders(ctx, nil)
		if !b.cfg.Retry || !isUnreached(err) {
			return err
		}
		pause := pauses.NextBackOff()
		b.log.Warn("trying again", "in", pause.Round(time.Millisecond), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// OnChange sets the function that is told of changes. It is called without any
// lock held, one change at a time for each folder, and must not wait for a
// system call on the mount.
func (b *Backend) OnChange(f func(mail.Change)) { b.onChange.Store(&f) }

func (b *Backend) notify(c mail.Change) {
	if f := b.onChange.Load(); f != nil {
		(*f)(c)
	}
}

// Close logs out and ends all goroutines. It takes a few seconds at most, also
// when the server is gone.
func (b *Backend) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.stop()
	b.pool.close()
	b.wg.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	for what := range b.doubts {
		what, _, _ = strings.Cut(what, "\x00")
		b.log.Warn("nobody knows whether this was done, or half of it: look on the server", "what", what)
	}
}

// start runs f in a goroutine that Close waits for, or tells that it is too
// late for that.
func (b *Backend) start(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.wg.Go(f)
	return true
}

// sleep waits, and returns false if the backend closes meanwhile.
func (b *Backend) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-b.ctx.Done():
		return false
	}
}

// doFor is do for f that asks about one message and reads its neighbours on the
// way. That this one is gone is no answer for the others who wait: they are to
// ask again if asked is false.
func (b *Backend) doFor(ctx context.Context, key string, f func() error) (asked bool, err error) {
	mine := false
	err = b.do(ctx, key, func() error {
		mine = true
		return f()
	})
	if errors.Is(err, mail.ErrNotFound) || errors.Is(err, mail.ErrStale) {
		// Not an error of ctx, so f has ended.
		return mine, err
	}
	return true, err
}

// do runs f once for all callers that wait under the same key, and goes on
// with it when they stop waiting.
func (b *Backend) do(ctx context.Context, key string, f func() error) error {
	done := b.group.DoChan(key, func() (any, error) { return nil, f() })
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
