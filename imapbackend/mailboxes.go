package imapbackend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// Folders returns the mailboxes of the account, sorted by name.
func (b *Backend) Folders() []mail.Folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list
}

// storeListEvery is how often a list of mailboxes that stays the same is stored.
const storeListEvery = time.Hour

// listFolders asks for the mailboxes (RFC 9051 §6.3.9) and tells of a change.
// statuses, if it is not nil, is filled with the state of those of which the
// server tells it along.
func (b *Backend) listFolders(ctx context.Context, statuses map[string]wire.State) error {
	return b.do(ctx, "folders", func() error {
		for range mostLists {
			if listed, err := b.listOnce(statuses); listed || err != nil {
				return err
			}
		}
		return nil
	})
}

// mostLists is how often in a row the folders are listed while they are changed from
// here: what is known is from there then.
const mostLists = 3

// listOnce is listFolders. listed is false if folders were changed from here meanwhile:
// the answer may be older, or have what that has not told yet.
func (b *Backend) listOnce(statuses map[string]wire.State) (listed bool, err error) {
	b.arranging.Lock()
	b.mu.Lock()
	old, known, spent, edits := b.list, b.wires, maps.Clone(b.spent), b.edits
	b.mu.Unlock()
	b.arranging.Unlock()
	var heard *gathered
	partial := false
	err = b.pool.with(need{}, func(l *lease) (err error) {
		heard, partial, err = l.listAll(statuses != nil)
		return err
	})
	if err != nil {
		return false, err
	}
	if len(heard.mailboxes) == 0 && len(old) > 1 {
		return false, fmt.Errorf("list folders: there is none in the answer: %w", mail.ErrRefused)
	}
	list, wires := folderNames(b.withinBounds(heard.mailboxes), known, spent)
	add := func(f mail.Folder) {
		if !slices.ContainsFunc(list, func(other mail.Folder) bool { return other.Name == f.Name }) {
			list = append(list, f)
			if name, ok := known[f.Name]; ok {
				wires[f.Name] = name
			}
		}
	}
	if partial { // nobody is gone because he was not mentioned
		for _, f := range old {
			add(f)
		}
	}
	add(mail.Folder{Name: inbox, Selectable: true}) // always there (§5.1)
	sortFolders(list)
	for _, f := range list {
		if state, ok := heard.states[cmp.Or(wires[f.Name], f.Name)]; ok && statuses != nil {
			statuses[f.Name] = state
		}
	}
	return b.setFolders(list, wires, edits), nil
}

func sortFolders(list []mail.Folder) {
	slices.SortFunc(list, func(a, b mail.Folder) int { return cmp.Compare(a.Name, b.Name) })
}

// setFolders takes in the mailboxes that there are, unless there were edits since.
func (b *Backend) setFolders(list []mail.Folder, wires map[string]string, edits int) bool {
	b.mu.Lock()
	if b.edits != edits {
		b.mu.Unlock()
		return false
	}
	changed := b.list != nil && !slices.Equal(b.list, list)
	b.list, b.wires = list, wires
	// Not with each poll; but what nobody uses goes from a full store.
	store := b.listStored.IsZero() || changed || time.Since(b.listStored) > storeListEvery
	if store {
		b.listStored = time.Now()
	}
	b.mu.Unlock()
	if store {
		b.storeFolders(list, wires)
	}
	if changed {
		b.notify(mail.Change{})
	}
	return true
}

func (b *Backend) storeFolders(list []mail.Folder, wires map[string]string) {
	b.store.Put(foldersKey, encode(list))
	b.store.Put(wiresKey, encode(wires))
}

// edit takes in what a command from here has changed. Whoever has sent it knows, so
// nobody is told. list and wires are copies, which change may change.
func (b *Backend) edit(change func(list []mail.Folder, wires map[string]string) []mail.Folder) {
	b.mu.Lock()
	wires := maps.Clone(b.wires)
	if wires == nil {
		wires = make(map[string]string)
	}
	list := change(slices.Clone(b.list), wires)
	sortFolders(list)
	b.list, b.wires, b.listStored = list, wires, time.Now()
	b.mu.Unlock()
	b.storeFolders(list, wires)
}

// listAll asks for all mailboxes, and for their state in the same command if
// withState is set and the server can do that (LIST-STATUS, RFC 5819). partial tells
// that some may be missing.
func (l *lease) listAll(withState bool) (heard *gathered, partial bool, err error) {
	options := &imap.ListOptions{}
	if !l.b.quirks.plainList.Load() {
		options.ReturnSpecialUse = l.can(imap.CapSpecialUse) && l.can(imap.CapListExtended)
		if withState && l.can(imap.CapListStatus) {
			options.ReturnStatus = l.statusItems()
		}
	}
	heard, end := l.ear.gather()
	listed, err := l.list(options)
	end()
	if isStatus(listed) && (options.ReturnSpecialUse || options.ReturnStatus != nil) {
		// What it offers it may not be able to do; or one folder is enough for a NO.
		l.b.quirks.plainList.Store(true)
		return l.listAll(false)
	}
	if partial = isStatus(listed) && len(heard.mailboxes) > 0; partial {
		l.b.log.Warn("the server may not have listed all folders", "error", plain(l.b.secrets.hide(listed.Error())))
	} else if err != nil {
		return nil, false, err
	}
	for _, prefix := range heard.spaces.Others[:min(len(heard.spaces.Others), mostNamespaces)] {
		if slices.ContainsFunc(heard.mailboxes, func(m wire.Mailbox) bool { return strings.HasPrefix(m.Name, prefix) }) {
			continue
		}
		more, end := l.ear.gather()
		err := l.command("list folders", func() error { return l.client.List("", wire.Verbatim(prefix+"*"), options).Close() })
		end()
		if len(heard.mailboxes) <= mostLevels {
			heard.mailboxes = append(heard.mailboxes, more.mailboxes...)
			maps.Copy(heard.states, more.states)
		}
		if err != nil && !isStatus(err) {
			return nil, false, err
		}
	}
	return heard, partial, nil
}

// list sends LIST and NAMESPACE (RFC 9051 §6.3.10) together: that leads to those that
// LIST "" "*" leaves out, as some servers keep shared and other users' mailboxes
// apart. If it fails there is nothing that it leads to. listed is how LIST has ended.
func (l *lease) list(options *imap.ListOptions) (listed, err error) {
	err = l.command("list folders", func() error {
		list := l.client.List("", "*", options)
		var namespaces *imapclient.NamespaceCommand
		if l.can(imap.CapNamespace) {
			namespaces = l.client.Namespace()
		}
		listed = list.Close()
		var named error
		if namespaces != nil {
			_, named = namespaces.Wait()
		}
		if isStatus(named) {
			l.b.log.Info("the server does not tell its namespaces", "error", plain(l.b.secrets.hide(named.Error())))
			named = nil
		}
		return cmp.Or(listed, named)
	})
	return listed, err
}

// Bounds for the mailboxes, of which all have a place in memory: about 100 MB
// at most.
const (
	mostFolderName = 1000    // bytes
	mostLevels     = 200_000 // in the names of all together: "a/b" is two
	mostNamespaces = 100
)

// withinBounds leaves out what exceeds the bounds, and what is there twice: the
// last word counts.
func (b *Backend) withinBounds(listed []wire.Mailbox) []wire.Mailbox {
	last := make(map[string]int, len(listed))
	for i, m := range listed {
		last[m.Name] = i
	}
	left, skipped := mostLevels, 0
	var some []wire.Mailbox
	for i, m := range listed {
		if last[m.Name] != i {
			continue
		}
		cost := 1
		if m.Delim != 0 {
			cost += strings.Count(m.Name, string(m.Delim))
		}
		if len(m.Name) > mostFolderName || cost > left {
			skipped++
			continue
		}
		left -= cost
		some = append(some, m)
	}
	if skipped > 0 {
		b.log.Warn("too many or too long folder names; some are left out", "count", skipped)
	}
	return some
}

func newFolder(name string, m wire.Mailbox) mail.Folder {
	f := mail.Folder{Name: name, Delim: m.Delim, Selectable: true}
	for _, a := range m.Attrs {
		switch a {
		case `\noselect`, `\nonexistent`:
			f.Selectable = false
		case `\noinferiors`:
			f.NoInferiors = true
		}
		for _, use := range []imap.MailboxAttr{imap.MailboxAttrAll, imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrFlagged,
			imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash, imap.MailboxAttrImportant} {
			if strings.EqualFold(a, string(use)) {
				f.SpecialUse = string(use)
			}
		}
	}
	return f
}
