package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
// folder meanwhile.
const resultsKept = time.Minute

// How much is remembered: queries, one for each folder, and UIDs in them, of 4 bytes.
const (
	mostResults = 1000
	mostFound   = 2_000_000
)

// results is what queries have found last.
type results struct {
	mu    sync.Mutex // guards what follows
	of    map[resultsOf]result
	uids  int                 // in of, and in what was there before
	shown map[*foundNode]bool // that the kernel knows
}

type resultsOf struct{ mailbox, text string }

type result struct {
	mail.Listing
	at      time.Time
	newest  uint32    // the highest UID that there was
	flagged time.Time // when flags in the folder had changed last
}

func (r *results) find(of resultsOf) (result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.of[of]
	return found, ok
}

func (r *results) keep(of resultsOf, found result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uids += len(found.UIDs); r.of == nil || len(r.of) >= mostResults || r.uids > mostFound {
		r.of, r.uids = make(map[resultsOf]result), len(found.UIDs)
	}
	r.of[of] = found
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

// results returns the messages of a folder that a query finds, of those that are there now.
func (fsys *FS) results(ctx context.Context, mailbox string, s *search) (mail.Listing, error) {
	all, err := fsys.mail.Messages(ctx, mailbox)
	if err != nil {
		return mail.Listing{}, err
	}
	now := result{flagged: fsys.flagged.at(mailbox, fsys.start)}
	if n := len(all.UIDs); n > 0 {
		now.newest = all.UIDs[n-1]
	}
	found, ok := fsys.found.find(resultsOf{mailbox, s.text})
	if !ok || found.UIDValidity != all.UIDValidity || found.newest < now.newest || !found.flagged.Equal(now.flagged) || time.Since(found.at) > resultsKept {
		q, err := s.parse()
		if err != nil {
			return mail.Listing{}, err
		}
		// It goes on when nobody waits any more, for whoever asks again.
		err = change(ctx, func() error {
			uids, err := (finding{fsys, mailbox, all.UIDValidity}).all(context.Background(), q, all.UIDs)
			if err == nil {
				now.Listing, now.at = mail.Listing{UIDValidity: all.UIDValidity, UIDs: uids}, time.Now() // it can have taken long
				fsys.found.keep(resultsOf{mailbox, s.text}, now)
			}
			return err
		})
		if err != nil {
			return mail.Listing{}, err
		}
		found = now
	}
	return mail.Listing{UIDValidity: all.UIDValidity, UIDs: both(found.UIDs, all.UIDs)}, nil
}

// finding is the search of a folder.
type finding struct {
	fsys     *FS
	mailbox  string
	validity uint32
}

// all returns which of the messages with these UIDs a query finds: of those that are kept if
// all are and it is about a text, or if the server cannot be asked.
func (f finding) all(ctx context.Context, q query.Query, uids []uint32) ([]uint32, error) {
	if q.Reads() && f.isMirrored() {
		if found, unknown, err := f.kept(ctx, q, uids); err == nil && unknown == 0 {
			return found, nil
		}
	}
	found, err := f.among(ctx, q, uids)
	if !isUnanswered(err) {
		return found, err
	}
	found, unknown, kerr := f.kept(ctx, q, uids)
	if kerr != nil || unknown == len(uids) && unknown > 0 {
		return nil, err
	}
	f.fsys.log.Warn("the server cannot be asked; searched in what is kept", "folder", f.fsys.shown(f.mailbox), "messages", len(uids)-unknown, "not kept", unknown, "error", err)
	return found, nil
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

// among returns which of the messages with these UIDs a query finds. The server is asked
// once for all that it can know; attachments are looked for in what is left then. Some
// servers search for ASCII alone ([BADCHARSET]): who has sent a message, and what it is
// about, is known here too.
func (f finding) among(ctx context.Context, q query.Query, uids []uint32) ([]uint32, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	if !q.Has(query.Attachment) {
		found, err := f.ask(ctx, q, uids)
		if !errors.Is(err, mail.ErrRefused) || !q.IsBeyondASCII() {
			return found, err
		}
		if q.Op == query.Field && (q.Key == "from" || q.Key == "subject") {
			return f.withText(ctx, q, uids)
		}
		if len(q.Of) == 0 {
			return nil, err
		}
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
		var err error
		if len(known.Of) > 0 {
			uids, err = f.ask(ctx, known, uids)
		}
		for i := 0; i < len(rest) && err == nil; i++ {
			uids, err = f.among(ctx, rest[i], uids)
		}
		return uids, err
	case query.Or:
		var all []uint32
		for _, q := range q.Of {
			found, err := f.among(ctx, q, without(uids, all))
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
			slices.Sort(all)
		}
		return all, nil
	case query.Not:
		found, err := f.among(ctx, q.Of[0], uids)
		return without(uids, found), err
	}
	return f.withAttachments(ctx, uids)
}

// ask has the server search.
func (f finding) ask(ctx context.Context, q query.Query, uids []uint32) ([]uint32, error) {
	found, err := f.fsys.mail.Search(ctx, f.mailbox, q)
	if err == nil && found.UIDValidity != f.validity {
		err = mail.ErrStale
	}
	return both(found.UIDs, uids), err
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

// lookedIntoAtOnce is in how many messages attachments are looked for at the same time: the
// structures of the others come along with the first one's.
const lookedIntoAtOnce = 8

// withAttachments returns which of the messages have something in attachments/.
func (f finding) withAttachments(ctx context.Context, uids []uint32) ([]uint32, error) {
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
	if err := look.Wait(); err != nil {
		return nil, err
	}
	var found []uint32
	for i, uid := range uids {
		if has[i] {
			found = append(found, uid)
		}
	}
	return found, nil
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
