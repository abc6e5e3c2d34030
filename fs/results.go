package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"imapfs/mail"
	"imapfs/query"
)

// search is a query as somebody has written it.
type search struct {
	where string // the Key of the folder in which it was asked: each directory has one inode
	text  string // as the name of a directory
}

// parse reads the query anew each time, because in it can be today.
func (s *search) parse() (query.Query, error) {
	q, err := query.Parse(query.Unescape(s.text), time.Now())
	if err != nil {
		err = fmt.Errorf("%w: %w", mail.ErrQuery, err)
	}
	return q, err
}

// resultsKept is how long it is believed what a query has found, if nothing changes in the
// folder meanwhile, and how long it is looked for when nobody waits.
const resultsKept = time.Minute

// How much is remembered: queries, one for each folder, and UIDs in them, of 4 bytes.
const (
	mostResults = 10_000
	mostFound   = 2_000_000
)

// results is what queries have found last, or are finding.
type results struct {
	mu    sync.Mutex // guards what follows
	of    map[resultsOf]*found
	uids  int                 // in of, and in what was there before
	shown map[*foundNode]bool // that the kernel knows
}

type resultsOf struct{ mailbox, text string }

func (r *results) find(of resultsOf) *found {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[of]
}

// begin puts f in the place of old, or returns what somebody else has put there.
func (r *results) begin(of resultsOf, old, f *found) (in *found, begins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.of[of]; now != old {
		return now, false
	}
	if r.of == nil || len(r.of) >= mostResults || r.uids > mostFound {
		r.of, r.uids = make(map[resultsOf]*found), 0
	}
	r.of[of] = f
	return f, true
}

// count notes how many UIDs there are more.
func (r *results) count(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uids += n
}

// show notes a directory that the kernel knows, until hide.
func (r *results) show(n *foundNode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shown == nil {
		r.shown = make(map[*foundNode]bool)
	}
	r.shown[n] = true
}

func (r *results) hide(n *foundNode) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.shown, n)
}

// void declares void what the kernel has listed of what was found.
func (r *results) void() {
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.shown))
	r.mu.Unlock()
	for _, n := range all {
		n.NotifyContent(0, 0)
	}
}

// searchIn returns what a query finds in a folder, which may just have begun. all is the
// messages of the folder, nil if they are not listed.
func (fsys *FS) searchIn(mailbox string, s *search, all *mail.Listing) (*found, error) {
	f, q, begins, err := fsys.beginSearch(mailbox, s, all)
	if begins {
		go f.run(finding{fsys: fsys, mailbox: mailbox}, q)
	}
	return f, err
}

// beginSearch is searchIn that leaves it to the caller to look.
func (fsys *FS) beginSearch(mailbox string, s *search, all *mail.Listing) (f *found, q query.Query, begins bool, err error) {
	of := resultsOf{mailbox, s.text}
	flagged := fsys.flagged.at(mailbox, fsys.start)
	old := fsys.found.find(of)
	if old != nil && old.isCurrent(flagged, all) {
		return old, q, false, nil
	}
	if q, err = s.parse(); err == nil {
		f, begins = fsys.found.begin(of, old, newFound(flagged))
	}
	return f, q, begins, err
}

// searchAll returns what a query finds in many folders, by mailbox: those that are not listed
// are asked about together.
func (fsys *FS) searchAll(ctx context.Context, mailboxes []string, s *search) (map[string]*found, error) {
	all := make(map[string]*found)
	together := make(map[string]*found)
	var names []string
	var asked query.Query
	for _, mailbox := range mailboxes {
		var listed *mail.Listing
		if fsys.mail.IsListed(mailbox) {
			l, err := fsys.mail.Messages(ctx, mailbox)
			if err != nil {
				return nil, err
			}
			listed = &l
		}
		f, q, begins, err := fsys.beginSearch(mailbox, s, listed)
		if err != nil {
			return nil, err
		}
		all[mailbox] = f
		in := finding{fsys: fsys, mailbox: mailbox}
		switch {
		case !begins:
		case listed != nil || q.Has(query.Attachment) || in.looksHere(q):
			go f.run(in, q)
		default:
			asked, together[mailbox] = q, f
			names = append(names, mailbox)
		}
	}
	if len(names) > 0 {
		go fsys.searchTogether(names, together, asked)
	}
	return all, nil
}

// searchTogether looks in folders that are not listed.
func (fsys *FS) searchTogether(names []string, of map[string]*found, q query.Query) {
	if len(names) > 1 {
		err := fsys.mail.SearchEach(context.Background(), names, q, func(mailbox string, l mail.Listing, newest uint32) {
			f := of[mailbox]
			f.begin(l.UIDValidity, newest)
			f.add(l.UIDs)
			fsys.found.count(len(l.UIDs))
			f.end(nil)
		})
		if err != nil {
			fsys.log.Info("cannot search in the folders all at once", "folders", len(names), "error", err)
		}
	}
	for _, mailbox := range names {
		if f := of[mailbox]; !f.isComplete() {
			go f.run(finding{fsys: fsys, mailbox: mailbox}, q)
		}
	}
}

// finding is the search of a folder.
type finding struct {
	fsys     *FS
	mailbox  string
	validity uint32
	all      []uint32 // the messages of the folder
	here     *lookedHere
}

// lookedHere is what was looked for here because the server could not be asked.
type lookedHere struct {
	why               error // nil: nothing was
	messages, unknown int
}

// tell logs what was looked for here.
func (f finding) tell() {
	if h := f.here; h.why != nil {
		f.fsys.log.Warn("the server cannot be asked; searched in what is kept", "folder", f.fsys.shown(f.mailbox), "messages", h.messages-h.unknown, "not kept", h.unknown, "error", h.why)
	}
}

// among returns which of the messages with these UIDs, which follow on each other in the
// folder, a query finds: of those that are kept if all are and it is about a text, or if the
// server cannot be asked.
func (f finding) among(ctx context.Context, q query.Query, uids []uint32) ([]uint32, error) {
	if f.looksHere(q) {
		if found, unknown, err := f.kept(ctx, q, uids); err == nil && unknown == 0 {
			return found, nil
		}
	}
	found, err := f.known(ctx, q, uids)
	if !isUnanswered(err) {
		return found, err
	}
	found, unknown, kerr := f.kept(ctx, q, uids)
	if kerr != nil || unknown == len(uids) && unknown > 0 {
		return nil, err
	}
	f.here.why = err
	f.here.messages += len(uids)
	f.here.unknown += unknown
	return found, nil
}

// looksHere tells whether all messages are here, and the server would have to read each, or to tell
// the parts of each.
func (f finding) looksHere(q query.Query) bool {
	return (q.Reads() || q.Has(query.Attachment)) && f.isMirrored()
}

// isMirrored tells whether all of the folder is kept.
func (f finding) isMirrored() bool {
	for _, folder := range f.fsys.mail.Folders() {
		if folder.Name == f.mailbox {
			return f.fsys.content.IsMirrored(folder)
		}
	}
	return false
}

// known returns which of the messages with these UIDs a query finds. The server is asked
// once for all that it can know; attachments are looked for in what is left then. Some
// servers search for ASCII alone ([BADCHARSET]): who has sent a message, and what it is
// about, is known here too.
func (f finding) known(ctx context.Context, q query.Query, uids []uint32) ([]uint32, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	found, err := f.ask(ctx, q, uids)
	switch {
	case errors.Is(err, mail.ErrUnsupported) && q.Op == query.Attachment:
		return f.withAttachments(ctx, uids)
	case errors.Is(err, mail.ErrUnsupported):
	case !errors.Is(err, mail.ErrRefused) || !q.IsBeyondASCII():
		return found, err
	case q.Op == query.Field && (q.Key == "from" || q.Key == "subject"):
		return f.withText(ctx, q, uids)
	}
	switch q.Op {
	case query.And:
		known := query.Query{Op: query.And}
		var rest []query.Query
		for _, q := range q.Of {
			if q.Has(query.Attachment) || q.IsBeyondASCII() {
				rest = append(rest, q)
			} else {
				known.Of = append(known.Of, q)
			}
		}
		err = nil
		if len(known.Of) > 0 {
			uids, err = f.ask(ctx, known, uids)
		}
		for i := 0; i < len(rest) && err == nil; i++ {
			uids, err = f.known(ctx, rest[i], uids)
		}
		return uids, err
	case query.Or:
		var all []uint32
		for _, q := range q.Of {
			found, err := f.known(ctx, q, without(uids, all))
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
			slices.Sort(all)
		}
		return all, nil
	case query.Not:
		found, err := f.known(ctx, q.Of[0], uids)
		return without(uids, found), err
	}
	return nil, err
}

// ask has the server search, in all of the folder or in a part of it that these messages are
// in.
func (f finding) ask(ctx context.Context, q query.Query, uids []uint32) ([]uint32, error) {
	first, last := uint32(1), uint32(math.MaxUint32)
	if uids[0] != f.all[0] {
		first = uids[0]
	}
	if n := len(uids) - 1; uids[n] != f.all[len(f.all)-1] {
		last = uids[n]
	}
	found, err := f.fsys.mail.Search(ctx, f.mailbox, f.validity, first, last, q)
	return both(found, uids), err
}

// withText returns which of the messages are from somebody, or about something.
func (f finding) withText(ctx context.Context, q query.Query, uids []uint32) (found []uint32, err error) {
	l := mail.Listing{UIDValidity: f.validity, UIDs: uids}
	for i := 0; i < len(uids); {
		some, err := f.fsys.mail.Envelopes(ctx, f.mailbox, l, i)
		if err != nil {
			return nil, err
		}
		for _, e := range some {
			text := e.Subject
			if q.Key == "from" {
				text = e.From
			}
			if strings.Contains(strings.ToLower(text), strings.ToLower(q.Text)) {
				found = append(found, uids[i])
			}
			i++
		}
	}
	return found, nil
}

// In how many messages attachments are looked for at the same time, of how many the parts are asked
// for with one command, and how many such commands go ahead.
const (
	lookedIntoAtOnce = 8
	describedAtOnce  = 1024
	describedAhead   = 3
)

// withAttachments returns which of the messages have something in attachments/.
func (f finding) withAttachments(ctx context.Context, uids []uint32) ([]uint32, error) {
	var found []uint32
	some := slices.Collect(slices.Chunk(uids, describedAtOnce))
	described := make([]chan struct{}, len(some))
	describe := func(i int) {
		if i < len(some) {
			described[i] = make(chan struct{})
			go func() { // it ends with the answer
				defer close(described[i])
				f.fsys.content.DescribeParts(f.mailbox, mail.Listing{UIDValidity: f.validity, UIDs: some[i]})
			}()
		}
	}
	for i := range describedAhead {
		describe(i)
	}
	for i, uids := range some {
		describe(i + describedAhead)
		<-described[i]
		more, err := f.lookInto(ctx, uids)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// lookInto is withAttachments of messages whose parts are known, but for where the server is not to
// be believed.
func (f finding) lookInto(ctx context.Context, uids []uint32) (found []uint32, err error) {
	has := make([]bool, len(uids))
	look, ctx := errgroup.WithContext(ctx)
	look.SetLimit(lookedIntoAtOnce)
	for i, uid := range uids {
		look.Go(func() error {
			root, err := f.fsys.content.Message(mail.ID{Folder: f.mailbox, UIDValidity: f.validity, UID: uid}).Structure(ctx)
			if errors.Is(err, mail.ErrNotFound) {
				return nil // it has gone meanwhile
			}
			has[i] = err == nil && len(root.Attachments()) > 0
			return err
		})
	}
	err = look.Wait()
	for i, uid := range uids {
		if has[i] {
			found = append(found, uid)
		}
	}
	return found, err
}

// both returns what is in both of two ascending lists.
func both(a, b []uint32) []uint32 {
	var all []uint32
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			all = append(all, a[i])
			i, j = i+1, j+1
		}
	}
	return all
}

// without returns what of an ascending list is not in another one.
func without(a, b []uint32) []uint32 {
	var all []uint32
	for _, uid := range a {
		if _, ok := slices.BinarySearch(b, uid); !ok {
			all = append(all, uid)
		}
	}
	return all
}
