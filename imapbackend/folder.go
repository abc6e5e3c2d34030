package imapbackend

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/mail"
)

// folder is what is known of one mailbox. A message costs 20 bytes here.
type folder struct {
	b    *Backend
	name string

	mu         sync.Mutex      // guards what follows
	source     source          // of uids
	validity   uint32          // UIDVALIDITY
	uidNext    uint32          // no message with a UID from here on has been there; 0: not known
	uids       []uint32        // ascending; handed out in listings, so never changed in place
	known      []known         // of the message with the UID at the same index
	unreadable map[uint32]bool // UIDs whose BODYSTRUCTURE the library cannot read
	culprits   map[uint32]bool // UIDs whose content it could not read, most likely
	attrs      window          // reading ahead of attributes
	structures window          // and of BODYSTRUCTUREs
	refreshing bool            // a refresh is running
	again      bool            // and has to run once more
	renewals   int             // how often the server has numbered the messages anew
	reported   uint32          // UIDNEXT as reported last; the listing may be older
	searches   int             // that fill the listing
	recalled   bool            // the store was asked
	dirty      bool            // the listing has to be stored
	dirtyAttrs map[uint32]bool // and these chunks of attributes
}

// source is where a folder's listing comes from.
type source int

const (
	fromNowhere source = iota // there is none
	fromStore                 // the server has not been asked since
	fromServer
)

// known is what the server has told of a message. Its zero value, nothing, is
// that of fresh memory: a large folder has 16 bytes for each message, of which
// most are not touched before somebody asks.
type known struct {
	beyond int64 // RFC822.SIZE + 1; 0: not asked yet
	date   int64 // INTERNALDATE, seconds since 1970
}

// knownAs believes no size that cannot be counted on.
func knownAs(size, date int64) known { return known{min(size, 1<<62) + 1, date} }

func (k known) isKnown() bool { return k.beyond > 0 }

func (k known) size() int64 { return k.beyond - 1 }

func (k known) attr() mail.Attr { return mail.Attr{Size: k.size(), Date: time.Unix(k.date, 0)} }

// window guesses how many messages in a row will be asked for: one at first,
// more for as long as the requests follow each other.
type window struct {
	first uint32 // UID of the last batch's first message
	next  uint32 // the UID after the last batch; 0: it has reached the end
	size  int
}

func (w *window) grow(uid uint32, most int) int {
	if uid == w.next && w.size > 0 {
		w.size = min(w.size*16, most)
	} else {
		w.size = 1
	}
	return w.size
}

// folder returns the state of the named folder.
func (b *Backend) folder(name string) *folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.folders[name]
	if f == nil {
		f = &folder{b: b, name: name}
		b.folders[name] = f
	}
	return f
}

// used returns the folders that were asked for. Whoever holds the lock of one of
// them may take that of the backend, so this never goes the other way round.
func (b *Backend) used() []*folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.folders))
}

// check finds out whether id still names a message, as far as is known here.
// It is called with f.mu held.
func (f *folder) check(id mail.ID) (int, error) {
	if f.validity != 0 && f.validity != id.UIDValidity {
		return 0, mail.ErrStale
	}
	i, ok := slices.BinarySearch(f.uids, id.UID)
	if !ok {
		return 0, mail.ErrNotFound
	}
	return i, nil
}

// selected takes in what SELECT or STATUS says of the folder (RFC 9051 §6.3.2,
// §6.3.11). The count and UIDNEXT together show every change of the set of
// messages: what came raises UIDNEXT, what only went lowers the count.
func (f *folder) selected(validity, uidNext, count uint32) {
	f.mu.Lock()
	f.recall()
	was := f.validity
	renewed := f.source != fromNowhere && was != validity
	changed := f.source != fromNowhere && (int(count) != len(f.uids) || uidNext > f.uidNext || uidNext == 0)
	switch {
	case renewed:
		f.forget()
		f.validity = validity // what bears another one is stale, not unknown
		f.renewals++
	case f.source == fromStore && !changed:
		f.source = fromServer
	case f.source == fromStore && f.searches > 0:
		changed = false // it is being looked at already
	}
	// It is taken over when the messages have been listed (searchOn): if that
	// fails, the old listing must not look like the one of now.
	f.reported = uidNext
	f.mu.Unlock()
	switch {
	case renewed:
		f.b.log.Warn("the server has numbered the messages anew", "folder", f.name)
		f.b.notify(mail.Change{Folder: f.name, Renewed: true, Was: was})
	case changed:
		f.b.refreshSoon(f.name)
	}
}

// forget drops all that is known of the messages. It is called with f.mu held.
func (f *folder) forget() {
	f.source, f.uids, f.known, f.unreadable, f.validity, f.uidNext, f.reported = fromNowhere, nil, nil, nil, 0, 0, 0
	f.attrs, f.structures, f.culprits = window{}, window{}, nil
	f.dirty, f.dirtyAttrs = false, nil
	f.forgetStored()
}

// remove takes a message out after it was deleted from here.
func (f *folder) remove(id mail.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, err := f.check(id); err == nil {
		f.uids = slices.Concat(f.uids[:i], f.uids[i+1:])
		f.known = slices.Delete(f.known, i, i+1)
		f.changed()
	}
}

// update makes uids, in ascending order, the folder's messages, and returns
// what came and went. It is called with f.mu held.
func (f *folder) update(uids []uint32) (added, removed []uint32) {
	old, oldKnown := f.uids, f.known
	f.uids = uids
	f.known = make([]known, len(uids))
	j := 0
	for i, uid := range uids {
		for j < len(old) && old[j] < uid {
			removed = append(removed, old[j])
			j++
		}
		if j < len(old) && old[j] == uid {
			f.known[i] = oldKnown[j]
			j++
			continue
		}
		if f.source != fromNowhere {
			added = append(added, uid)
		}
	}
	if len(uids) > 0 {
		f.uidNext = max(f.uidNext, uids[len(uids)-1]+1)
	}
	f.changed()
	return added, append(removed, old[j:]...)
}

// Folders returns the mailboxes of the account, sorted by name.
func (b *Backend) Folders() []mail.Folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list
}

// storeListEvery is how often a list of mailboxes that stays the same is stored.
const storeListEvery = time.Hour

// listFolders asks for the mailboxes (RFC 9051 §6.3.9) and tells of a change.
// NAMESPACE (§6.3.10) leads to those that LIST "" "*" leaves out: some servers
// keep shared and other users' mailboxes apart.
func (b *Backend) listFolders(ctx context.Context, statuses map[string]*imap.StatusData) error {
	return b.do(ctx, "folders", func() error {
		var found map[string]mail.Folder
		err := b.pool.with(need{}, func(l *lease) error {
			found = make(map[string]mail.Folder)
			clear(statuses)
			return l.listAll(found, statuses)
		})
		if err != nil {
			return err
		}
		if _, ok := found["INBOX"]; !ok {
			found["INBOX"] = mail.Folder{Name: "INBOX", Selectable: true} // always there (§5.1)
		}
		list := make([]mail.Folder, 0, len(found))
		for _, f := range found {
			list = append(list, f)
		}
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })

		b.mu.Lock()
		changed := b.list != nil && !slices.Equal(b.list, list)
		b.list = list
		// Not with each poll; but what nobody uses goes from a full store.
		store := b.listStored.IsZero() || changed || time.Since(b.listStored) > storeListEvery
		if store {
			b.listStored = time.Now()
		}
		b.mu.Unlock()
		if store {
			b.store.Put(foldersKey, encode(list))
		}
		if changed {
			b.notify(mail.Change{})
		}
		return nil
	})
}

func hasPrefix(found map[string]mail.Folder, prefix string) bool {
	for name := range found {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// listAll asks for all mailboxes, and for their state in the same command if
// statuses is not nil and the server can do that (LIST-STATUS, RFC 5819).
// NAMESPACE goes out together with the first LIST.
func (l *lease) listAll(found map[string]mail.Folder, statuses map[string]*imap.StatusData) error {
	options := &imap.ListOptions{ReturnSpecialUse: l.can(imap.CapSpecialUse) && l.can(imap.CapListExtended)}
	if statuses != nil && l.can(imap.CapListStatus) {
		options.ReturnStatus = statusItems
	}
	var spaces imap.NamespaceData
	err := l.command("list folders", func() error {
		list := l.client.List("", "*", options)
		var namespaces *imapclient.NamespaceCommand
		if l.can(imap.CapNamespace) {
			namespaces = l.client.Namespace()
		}
		err := l.collectFolders(list, found, statuses)
		if namespaces == nil {
			return err
		}
		data, nerr := namespaces.Wait()
		if data != nil {
			spaces = *data
		}
		return errors.Join(err, nerr)
	})
	if err != nil {
		return err
	}
	others := slices.Concat(spaces.Other, spaces.Shared)
	for _, space := range others[:min(len(others), mostNamespaces)] {
		if space.Prefix == "" || hasPrefix(found, space.Prefix) {
			continue
		}
		err := l.command("list folders", func() error {
			return l.collectFolders(l.client.List("", space.Prefix+"*", options), found, statuses)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Bounds for the mailboxes, of which all have a place in memory: about 100 MB
// at most.
const (
	mostFolderName = 1000    // bytes
	mostLevels     = 200_000 // in the names of all together: "a/b" is two
	mostNamespaces = 100
)

// collectFolders adds what LIST brings to found. What exceeds the bounds is
// left out.
func (l *lease) collectFolders(cmd *imapclient.ListCommand, found map[string]mail.Folder, statuses map[string]*imap.StatusData) error {
	left := mostLevels
	for _, f := range found {
		left -= levels(f)
	}
	skipped := 0
	for m := cmd.Next(); m != nil; m = cmd.Next() {
		f := newFolder(m)
		cost := levels(f)
		if old, has := found[f.Name]; has {
			cost -= levels(old)
		}
		if len(f.Name) > mostFolderName || cost > left {
			skipped++
			continue
		}
		left -= cost
		found[f.Name] = f
		if m.Status != nil && statuses != nil {
			statuses[f.Name] = m.Status
		}
	}
	if skipped > 0 {
		l.b.log.Warn("too many or too long folder names; some are left out", "count", skipped)
	}
	return cmd.Close()
}

func levels(f mail.Folder) int {
	if f.Delim == 0 {
		return 1
	}
	return 1 + strings.Count(f.Name, string(f.Delim))
}

func newFolder(m *imap.ListData) mail.Folder {
	f := mail.Folder{Name: m.Mailbox, Delim: m.Delim, Selectable: true}
	for _, a := range m.Attrs {
		switch a {
		case imap.MailboxAttrNoSelect, imap.MailboxAttrNonExistent:
			f.Selectable = false
		case imap.MailboxAttrAll, imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrFlagged,
			imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash, imap.MailboxAttrImportant:
			f.SpecialUse = string(a)
		}
	}
	return f
}
