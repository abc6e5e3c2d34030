package fs

import (
	"context"
	"errors"
	"sync"
	"time"

	"imapfs/mail"
	"imapfs/query"
)

// found is what a query finds in a folder. It grows until it is complete. A goroutine that
// nobody waits for looks for it: it ends when it has looked at all messages, when it fails, or
// when nobody has asked for a while.
type found struct {
	flagged time.Time // when flags in the folder had changed last before

	mu       sync.Mutex    // guards what follows
	validity uint32        // UIDVALIDITY
	newest   uint32        // the highest UID that there was
	uids     []uint32      // ascending
	more     chan struct{} // closed when there is news
	at       time.Time     // when it was complete; zero before
	err      error         // it will not be
	waiting  int           // who waits for more
	asked    time.Time     // when somebody did last
}

func newFound(flagged time.Time) *found {
	return &found{flagged: flagged, more: make(chan struct{}), asked: time.Now()}
}

// isCurrent tells whether it has, or will have, what a query finds now, in the messages all,
// if they are known.
func (f *found) isCurrent(flagged time.Time, all *mail.Listing) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return false
	case f.at.IsZero():
		f.asked = time.Now()
		return true
	case !f.flagged.Equal(flagged) || time.Since(f.at) > resultsKept:
		return false
	}
	return all == nil || all.UIDValidity == f.validity && (len(all.UIDs) == 0 || all.UIDs[len(all.UIDs)-1] <= f.newest)
}

func (f *found) isComplete() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.at.IsZero()
}

// begin notes in what is looked.
func (f *found) begin(validity, newest uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.validity, f.newest = validity, newest
}

// add adds messages behind those that were found before, and tells that there is progress.
func (f *found) add(uids []uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.uids = append(f.uids, uids...)
	f.tell()
}

// end completes it, or says why it is not complete.
func (f *found) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err = err; err == nil {
		f.at = time.Now() // it can have taken long
	}
	f.tell()
}

// tell wakes who waits. It is called with f.mu held.
func (f *found) tell() {
	close(f.more)
	f.more = make(chan struct{})
}

// isAbandoned tells whether nobody has asked for a while.
func (f *found) isAbandoned() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting == 0 && time.Since(f.asked) > resultsKept
}

// now returns what is found so far.
func (f *found) now() (l mail.Listing, complete bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = time.Now()
	return mail.Listing{UIDValidity: f.validity, UIDs: f.uids}, !f.at.IsZero(), f.err
}

// wait returns what is found when that is enough, or complete. As long as there is progress it
// waits, each time as long as a call can take.
func (f *found) wait(ctx context.Context, fsys *FS, enough func(uids []uint32) bool) (l mail.Listing, complete bool, err error) {
	f.mu.Lock()
	f.waiting++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.waiting--
		f.mu.Unlock()
	}()
	for {
		f.mu.Lock()
		more := f.more
		f.mu.Unlock()
		if l, complete, err = f.now(); complete || err != nil || enough(l.UIDs) {
			return l, complete, err
		}
		if err := waitFor(ctx, fsys, more); err != nil {
			return l, false, err
		}
	}
}

func waitFor(ctx context.Context, fsys *FS, more <-chan struct{}) error {
	call, finish := fsys.call(ctx)
	defer finish()
	select {
	case <-more:
		return nil
	case <-call.Done():
		return context.Cause(call)
	}
}

func someOf(uids []uint32) bool { return len(uids) > 0 }

// upTo is enough for who asks about one message.
func upTo(uid uint32) func([]uint32) bool {
	return func(uids []uint32) bool { return len(uids) > 0 && uids[len(uids)-1] >= uid }
}

func nothing([]uint32) bool { return false }

// errAbandoned ends a search that nobody waits for.
var errAbandoned = errors.New("nobody waits for it")

// How many messages are searched first, so that what is found in them is there soon, and how
// long the search of the further ones may take, at which a server can read a hundred messages a
// second or a million. Between them others have their turn, and a server that is slow
// is told from one that is dead.
const (
	searchedFirst = 1000
	searchedFor   = time.Second
)

// searchedAtOnce is how many folders are searched at the same time; how many connections
// there are limits it too.
const searchedAtOnce = 8

// run looks for what q finds.
func (f *found) run(in finding, q query.Query) {
	in.fsys.searches <- struct{}{}
	defer func() { <-in.fsys.searches }()
	f.end(f.look(in, q))
}

func (f *found) look(in finding, q query.Query) error {
	ctx := context.Background()
	all, err := in.fsys.mail.Messages(ctx, in.mailbox)
	if err != nil {
		return err
	}
	in.validity, in.all = all.UIDValidity, all.UIDs
	uids, newest := all.UIDs, uint32(0)
	if n := len(uids); n > 0 {
		newest = uids[n-1]
	}
	f.begin(all.UIDValidity, newest)
	in.here = new(lookedHere)
	defer in.tell()
	some := len(uids)
	if q.Has(query.Field) || q.Has(query.Raw) || q.Has(query.Attachment) {
		some = searchedFirst
	}
	for len(uids) > 0 {
		if f.isAbandoned() {
			return errAbandoned
		}
		some = min(some, len(uids))
		begun := time.Now()
		found, err := in.among(ctx, q, uids[:some:some])
		if err != nil {
			return err
		}
		f.add(found)
		in.fsys.found.count(len(found))
		uids = uids[some:]
		some = int(min(float64(some)*float64(searchedFor)/float64(time.Since(begun)+1), float64(len(all.UIDs)))) + 1
	}
	return nil
}
