package imapbackend

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// folder is what is known of one mailbox. A message costs 24 bytes here.
type folder struct {
	b    *Backend
	name string

	mu         sync.Mutex // guards what follows
	listed     bool
	validity   uint32 // UIDVALIDITY
	uidNext    uint32
	messages   []message // by UID
	attrs      window    // reading ahead of attributes
	structures window    // and of BODYSTRUCTUREs
	refreshing bool      // a refresh is running
	again      bool      // and has to run once more
}

type message struct {
	uid        uint32
	unreadable bool  // the library cannot read its BODYSTRUCTURE
	size       int64 // RFC822.SIZE; -1: not asked yet
	date       int64 // INTERNALDATE, seconds since 1970
}

// window guesses how many messages in a row will be asked for: one at first,
// more for as long as the requests follow each other.
type window struct {
	next uint32 // the UID after the last batch
	size int
}

func (w *window) grow(uid uint32, most int) int {
	if uid == w.next && w.size > 0 {
		w.size = min(w.size*4, most)
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

// find returns the index of uid in messages, and whether it is there. It is
// called with f.mu held.
func (f *folder) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(f.messages, uid, func(m message, uid uint32) int {
		switch {
		case m.uid < uid:
			return -1
		case m.uid > uid:
			return 1
		}
		return 0
	})
}

// check finds out whether id still names a message, as far as is known here.
// It is called with f.mu held.
func (f *folder) check(id mail.ID) (int, error) {
	if f.validity != 0 && f.validity != id.UIDValidity {
		return 0, mail.ErrStale
	}
	i, ok := f.find(id.UID)
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
	renewed := f.listed && f.validity != validity
	changed := f.listed && (int(count) != len(f.messages) || uidNext != f.uidNext)
	if renewed {
		f.forget()
		f.validity = validity // what bears another one is stale, not unknown
	}
	f.uidNext = uidNext
	f.mu.Unlock()
	switch {
	case renewed:
		f.b.log.Warn("the server has numbered the messages anew", "folder", f.name)
		f.b.notify(mail.Change{Folder: f.name, Renewed: true})
	case changed:
		f.b.refreshSoon(f.name)
	}
}

// forget drops all that is known of the messages. It is called with f.mu held.
func (f *folder) forget() {
	f.listed, f.messages, f.validity = false, nil, 0
	f.attrs, f.structures = window{}, window{}
}

// remove takes a message out after it was deleted from here.
func (f *folder) remove(id mail.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, err := f.check(id); err == nil {
		f.messages = slices.Delete(f.messages, i, i+1)
	}
}

// update makes uids, in ascending order, the folder's messages, and returns
// what came and went.
func (f *folder) update(uids []uint32) (added, removed []uint32) {
	old := f.messages
	f.messages = make([]message, 0, len(uids))
	for _, uid := range uids {
		for len(old) > 0 && old[0].uid < uid {
			removed = append(removed, old[0].uid)
			old = old[1:]
		}
		if len(old) > 0 && old[0].uid == uid {
			f.messages = append(f.messages, old[0])
			old = old[1:]
			continue
		}
		added = append(added, uid)
		f.messages = append(f.messages, message{uid: uid, size: -1})
	}
	for _, m := range old {
		removed = append(removed, m.uid)
	}
	return added, removed
}

// Folders returns the mailboxes of the account, sorted by name.
func (b *Backend) Folders() []mail.Folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list
}

// listFolders asks for the mailboxes (RFC 9051 §6.3.9) and tells of a change.
// NAMESPACE (§6.3.10) leads to those that LIST "" "*" leaves out: some servers
// keep shared and other users' mailboxes apart.
func (b *Backend) listFolders(ctx context.Context) error {
	return b.do(ctx, "folders", func() error {
		found := make(map[string]mail.Folder)
		err := b.pool.with(need{}, func(s *session) error {
			options := &imap.ListOptions{ReturnSpecialUse: true}
			if !s.can(imap.CapSpecialUse) || !s.can(imap.CapListExtended) {
				options = nil
			}
			if err := s.listInto(found, "*", options); err != nil {
				return err
			}
			if !s.can(imap.CapNamespace) {
				return nil
			}
			var spaces *imap.NamespaceData
			err := s.command("ask for namespaces", func() (err error) {
				spaces, err = s.client.Namespace().Wait()
				return err
			})
			if err != nil {
				return err
			}
			for _, space := range slices.Concat(spaces.Other, spaces.Shared) {
				if space.Prefix == "" || hasPrefix(found, space.Prefix) {
					continue
				}
				if err := s.listInto(found, space.Prefix+"*", options); err != nil {
					return err
				}
			}
			return nil
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
		b.mu.Unlock()
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

// listInto adds the mailboxes that match pattern.
func (s *session) listInto(found map[string]mail.Folder, pattern string, options *imap.ListOptions) error {
	return s.command("list folders", func() error {
		mailboxes, err := s.client.List("", pattern, options).Collect()
		for _, m := range mailboxes {
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
			found[f.Name] = f
		}
		return err
	})
}

// keepalive asks for news now and then, which also keeps idle connections from
// being closed (RFC 9051 §5.4 allows that after 30 minutes; routers forget
// them sooner). It ends with the backend.
func (b *Backend) keepalive() {
	ticker := time.NewTicker(b.cfg.Keepalive)
	defer ticker.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
		if err := b.askForNews(); err != nil {
			b.log.Warn("no news from the server", "error", err)
		}
	}
}

// askForNews sends NOOP on each connection, which reports what happened in the
// folder that it has selected, and STATUS for the other folders that are known.
func (b *Backend) askForNews() error {
	b.pool.mu.Lock()
	b.pool.most = max(b.cfg.Connections, 1) // the server may have room again
	b.pool.mu.Unlock()

	for _, s := range b.pool.open() {
		err := s.command("NOOP", func() error { return s.client.Noop().Wait() })
		if err != nil {
			b.log.Info("a connection is gone", "error", err)
		}
	}
	if err := b.listFolders(b.ctx); err != nil {
		return err
	}
	selected := b.pool.selectedBy()
	b.mu.Lock()
	var others []*folder
	for name, f := range b.folders {
		if selected[name] == nil {
			others = append(others, f)
		}
	}
	b.mu.Unlock()
	for _, f := range others {
		if err := f.status(); err != nil {
			b.log.Info("cannot ask for news", "folder", f.name, "error", err)
		}
	}
	return nil
}

// status compares a folder that no connection has selected with the server
// (RFC 9051 §6.3.11).
func (f *folder) status() error {
	f.mu.Lock()
	listed := f.listed
	f.mu.Unlock()
	if !listed {
		return nil
	}
	return f.b.pool.with(need{}, func(s *session) error {
		return s.command("ask for the state of "+f.name, func() error {
			data, err := s.client.Status(f.name, &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true}).Wait()
			if err == nil && data.NumMessages != nil {
				f.selected(data.UIDValidity, uint32(data.UIDNext), *data.NumMessages)
			}
			return err
		})
	})
}
