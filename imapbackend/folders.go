package imapbackend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// Folders are made, renamed and deleted as messages are changed (exchange.go): the
// command goes out with a LIST behind it, which has the last word; and where nobody
// knows what was done, because the connection broke, LIST is asked before anything is
// sent again. One is changed at a time, and while one goes nobody is in it.

// CreateFolder makes a mailbox. component is its name below parent, which is the full
// name of a folder, "" for none.
func (b *Backend) CreateFolder(ctx context.Context, parent, component string) error {
	return b.arrange(ctx, fmt.Sprintf("create folder %q in %q", component, parent), func(what string) error {
		at, err := b.target(parent, component)
		if err != nil {
			return err
		}
		send := func(l *lease) (sent []*imapclient.Command) {
			name := wire.Verbatim(at.wire)
			return append(sent, l.client.Create(name, nil), l.client.Subscribe(name))
		}
		listed, unsure, err := b.sendSurely(what, send, func(listed []wire.Mailbox) bool { return find(listed, at.wire) != nil }, at.wire)
		made := find(listed, at.wire)
		if made != nil {
			b.edit(func(list []mail.Folder, wires map[string]string) []mail.Folder { return b.entered(list, wires, *made) })
		}
		switch {
		case made == nil && err == nil:
			return b.notListed(what)
		case made == nil:
			if isStatus(err) {
				b.subscribe(nil, []string{at.wire})
			}
			return b.whereFolders(parent, err)
		case err != nil && !unsure:
			return fmt.Errorf("%w: %w", mail.ErrExists, err) // another client was faster
		}
		return nil
	})
}

// notListed is for a folder that the server says is there now, and does not list: another
// client was there at the same moment.
func (b *Backend) notListed(what string) error {
	b.log.Warn("the server says that it is done, and does not list the folder", "what", what)
	return mail.ErrNotFound
}

// entered adds a mailbox to the list. It is called with b.mu held.
func (b *Backend) entered(list []mail.Folder, wires map[string]string, m wire.Mailbox) []mail.Folder {
	full, _ := decodeName(m.Name)
	f := newFolder(full, m)
	if slices.ContainsFunc(list, func(other mail.Folder) bool { return other.FullName() == full }) {
		return list
	}
	for b.spent[f.Name] || slices.ContainsFunc(list, func(other mail.Folder) bool { return other.Name == f.Name }) {
		f.Name += "~"
	}
	setFullName(&f, full)
	if isOnWire(f.Name, m.Name) {
		wires[f.Name] = m.Name
	}
	return append(list, f)
}

// whereFolders adds to a refusal where folders can be made, if that is not everywhere.
func (b *Backend) whereFolders(parent string, err error) error {
	if !isStatus(err) {
		return err
	}
	err = forbidden(err)
	var spaces wire.Namespaces
	b.pool.locked(func() {
		for _, s := range b.pool.sessions {
			spaces = s.ear.namespaces()
		}
	})
	if parent != "" || len(spaces.Own) == 0 || !errors.Is(err, mail.ErrForbidden) {
		return err
	}
	above, _ := decodeName(spaces.Own[0])
	return fmt.Errorf("the server has the folders of this account below %q; make it there: %w", above, err)
}

// forbidden makes a NO that does not say why one that forbids.
func forbidden(err error) error {
	if status, ok := errors.AsType[*imap.Error](err); ok && status.Type == imap.StatusResponseTypeNo && status.Code == "" {
		return fmt.Errorf("%w: %w", mail.ErrForbidden, err)
	}
	return err
}

// DeleteFolder deletes a mailbox, by its full name, in which there is neither a message
// nor a folder. DELETE takes along what is in it (RFC 9051 §6.3.5), so that is looked at
// in the flight before: what another client puts there between the two is lost with it.
func (b *Backend) DeleteFolder(ctx context.Context, name string) error {
	return b.arrange(ctx, fmt.Sprintf("delete folder %q", name), func(what string) error {
		at, ok := b.find(name)
		switch {
		case !ok:
			return mail.ErrNotFound
		case at.listed.Name == "":
			return mail.ErrNotEmpty // it is there for what is below it
		}
		if err := b.mayGo(at.listed); err != nil {
			return err
		}
		reopen, err := b.pool.vacate(map[string]bool{at.listed.Name: true})
		defer reopen()
		if err != nil {
			return err
		}
		gone, err := deletionOf{b, at, what}.surely()
		if gone {
			b.forgetFolder(at.listed.Name)
		}
		return err
	})
}

// deletionOf deletes the folder at a spot.
type deletionOf struct {
	b    *Backend
	at   spot
	what string
}

// surely deletes the folder, and looks, before it begins once more, where the connection
// broke.
func (d deletionOf) surely() (gone bool, err error) {
	for range 2 {
		gone, err = d.once()
		refused := isStatus(err) && errors.Is(err, errNoFolder) && !gone // it may have gone in that moment
		if !refused && !isBroken(err) || errors.Is(err, errAway) {
			break
		}
		d.b.log.Info("looking whether it was done", "what", d.what, "error", err)
		listed, lerr := d.b.listOf(d.what, d.at.wire)
		if lerr != nil {
			return false, lerr
		}
		if d.isGone(listed) {
			if refused {
				return true, mail.ErrNotFound
			}
			return true, nil
		}
	}
	if gone && err != nil { // whatever SELECT has said
		err = fmt.Errorf("%w: %w", mail.ErrNotFound, err)
	}
	if isStatus(err) && !gone && !errors.Is(err, errNoFolder) {
		d.b.subscribe([]string{d.at.wire}, nil)
	}
	return gone, err
}

// once looks into the folder, and deletes it in the next flight. gone tells that it is
// not there any more, whoever has deleted it.
func (d deletionOf) once() (gone bool, err error) {
	n := need{alone: true}
	if d.at.listed.Selectable {
		n.folder = d.at.listed.Name
	}
	err = d.b.pool.once(n, func(l *lease) error {
		there, err := d.look(l)
		if err != nil || !there {
			gone = err == nil
			return cmp.Or(err, mail.ErrNotFound)
		}
		gone, err = d.delete(l)
		return err
	})
	return gone, err
}

// look finds out, in one flight with SELECT, whether the folder is there and empty.
func (d deletionOf) look(l *lease) (there bool, err error) {
	patterns := []string{d.at.wire}
	below := d.at.wire + string(d.at.delim)
	if d.at.delim != 0 {
		patterns = append(patterns, below+"*")
	}
	listed, err := l.listExactly(d.what, patterns...)
	if err != nil {
		return false, err
	}
	if find(listed, d.at.wire) == nil {
		return false, nil
	}
	if slices.ContainsFunc(listed, func(m wire.Mailbox) bool {
		return d.at.delim != 0 && len(m.Name) > len(below) && strings.HasPrefix(m.Name, below) && exists(m)
	}) {
		return true, mail.ErrNotEmpty
	}
	if l.sel == nil {
		return true, nil
	}
	if err := l.confirm(); err != nil {
		return true, err
	}
	if l.sel.data.messages > 0 || l.ear.selected().messages > 0 {
		return true, mail.ErrNotEmpty
	}
	return true, nil
}

// delete sends DELETE, behind what has the connection leave the folder: there are
// servers that end it else, or refuse to delete.
func (d deletionOf) delete(l *lease) (gone bool, err error) {
	listed, err := l.sendAndList(d.what, func(l *lease) (sent []*imapclient.Command) {
		name := wire.Verbatim(d.at.wire)
		var left *imapclient.Command
		switch {
		case l.sel == nil:
		case l.caps.Has(imap.CapUnselect):
			left = l.client.Unselect()
		default:
			left = l.client.UnselectAndExpunge() // CLOSE: there is nothing to expunge
		}
		sent = append(sent, l.client.Delete(name), l.client.Unsubscribe(name))
		if left != nil {
			sent = append(sent, left)
		}
		return sent
	}, d.at.wire)
	if l.sel != nil {
		d.b.pool.unselected(l.sel)
	}
	switch gone = d.isGone(listed); {
	case isStatus(err) && gone && listed != nil:
		return true, err // another client was faster
	case isStatus(err):
		return false, forbidden(err)
	case err != nil:
		return false, err
	case !gone:
		d.b.log.Warn("the server says that a folder is deleted, and lists one of its name", "what", d.what)
	}
	return true, nil
}

// isGone tells whether the folder is gone by what is listed. One with children can
// stay as a level of the hierarchy.
func (d deletionOf) isGone(listed []wire.Mailbox) bool {
	m := find(listed, d.at.wire)
	return m == nil || d.at.listed.Selectable && !newFolder("", *m).Selectable
}

// forgetFolder forgets all of a mailbox that was deleted.
func (b *Backend) forgetFolder(name string) {
	b.edit(func(list []mail.Folder, wires map[string]string) []mail.Folder {
		delete(wires, name)
		b.spent[name] = true // a new one has nothing of it, not even its UIDVALIDITY if a server gives that twice
		return slices.DeleteFunc(list, func(f mail.Folder) bool { return f.Name == name })
	})
	f := b.folder(name)
	f.mu.Lock()
	f.forget()
	f.mu.Unlock()
	b.mu.Lock()
	delete(b.folders, name)
	b.mu.Unlock()
}

// mayGo finds out whether folders can be renamed or deleted: the account needs INBOX
// (RENAME would move the mail out of it, RFC 9051 §6.3.6), and those with a special use.
func (b *Backend) mayGo(folders ...mail.Folder) error {
	trash, _ := b.trashFolder()
	for _, f := range folders {
		use := f.SpecialUse
		switch f.Name {
		case inbox, trash:
			use = cmp.Or(use, "here")
		}
		if use != "" {
			return fmt.Errorf("%s is in use (%s): %w", f.FullName(), use, mail.ErrInUse)
		}
	}
	return nil
}

// RenameFolder gives a mailbox, or a level of the hierarchy, another full name, and with
// it all below it. from and parent are full names, as in CreateFolder.
func (b *Backend) RenameFolder(ctx context.Context, from, parent, component string) error {
	return b.arrange(ctx, fmt.Sprintf("rename folder %q to %q in %q", from, component, parent), func(what string) error {
		at, ok := b.find(from)
		if !ok {
			return mail.ErrNotFound
		}
		to, err := b.target(parent, component)
		moved := b.within(at)
		switch {
		case err != nil:
			return err
		case parent != "" && at.delim != 0 && to.delim != at.delim:
			return fmt.Errorf("the server has other names there: %w", mail.ErrForbidden)
		case at.delim != 0 && strings.HasPrefix(to.name, from+string(at.delim)):
			return fmt.Errorf("a folder cannot be in itself: %w", mail.ErrForbidden)
		}
		to.delim = at.delim
		if err := b.mayGo(moved...); err != nil {
			return err
		}
		names := make(map[string]bool)
		for _, f := range moved {
			names[f.Name] = true
		}
		reopen, err := b.pool.vacate(names)
		defer reopen()
		if err != nil {
			return err
		}
		if err := b.rename(what, at, to, moved); err != nil {
			return b.whereFolders(parent, err)
		}
		b.edit(func(list []mail.Folder, wires map[string]string) []mail.Folder { return renamed(list, wires, at, to) })
		return nil
	})
}

// rename sends RENAME, and tells whether it was done.
func (b *Backend) rename(what string, at, to spot, moved []mail.Folder) error {
	r := renaming{at, to}
	send := func(l *lease) (sent []*imapclient.Command) {
		sent = append(sent, l.client.Rename(wire.Verbatim(at.wire), wire.Verbatim(to.wire), nil))
		for _, f := range moved {
			before := b.wireName(f.Name)
			sent = append(sent, l.client.Unsubscribe(wire.Verbatim(before)), l.client.Subscribe(wire.Verbatim(to.wire+before[len(at.wire):])))
		}
		return sent
	}
	listed, unsure, err := b.sendSurely(what, send, func(listed []wire.Mailbox) bool { return !r.has(listed, at) }, r.patterns()...)
	here, gone := r.has(listed, to), !r.has(listed, at)
	switch {
	case here && (err == nil || unsure && gone):
		return nil
	case err == nil: // Courier says OK, whether there was anything or not
		return b.notListed(what)
	case !isStatus(err):
		return err
	}
	var before, after []string
	for _, f := range moved {
		name := b.wireName(f.Name)
		before, after = append(before, name), append(after, to.wire+name[len(at.wire):])
	}
	b.subscribe(before, after)
	switch {
	case here && !gone:
		return fmt.Errorf("%w: %w", mail.ErrExists, err)
	case gone && listed != nil:
		return fmt.Errorf("%w: %w", mail.ErrNotFound, err)
	}
	return err
}

// renaming is of the folder at a spot to another one.
type renaming struct{ at, to spot }

// patterns are for a LIST of what is there: of a level that is not listed by itself, what
// is below it.
func (r renaming) patterns() []string {
	if r.at.listed.Selectable || r.at.delim == 0 {
		return []string{r.at.wire, r.to.wire}
	}
	delim := string(r.at.delim)
	return []string{r.at.wire, r.to.wire, r.at.wire + delim + "%", r.to.wire + delim + "%"}
}

// has tells whether the folder is at a spot, by what is listed. What was selectable can
// leave a level of the hierarchy behind.
func (r renaming) has(listed []wire.Mailbox, at spot) bool {
	return slices.ContainsFunc(listed, func(m wire.Mailbox) bool {
		switch {
		case !exists(m):
			return false
		case r.at.listed.Selectable:
			return m.Name == at.wire && newFolder("", m).Selectable
		}
		return m.Name == at.wire || r.at.delim != 0 && strings.HasPrefix(m.Name, at.wire+string(r.at.delim))
	})
}

// renamed gives what was at one spot, and below it, the names of another one. All else
// stays as it is, Name above all.
func renamed(list []mail.Folder, wires map[string]string, at, to spot) []mail.Folder {
	for i := range list {
		f := &list[i]
		full, onWire := f.FullName(), cmp.Or(wires[f.Name], f.Name)
		rest, ok := strings.CutPrefix(full, at.name)
		if !ok || rest != "" && (at.delim == 0 || !strings.HasPrefix(rest, string(at.delim))) || !strings.HasPrefix(onWire, at.wire) {
			continue
		}
		setFullName(f, to.name+rest)
		onWire = to.wire + onWire[len(at.wire):]
		delete(wires, f.Name)
		if isOnWire(f.Name, onWire) {
			wires[f.Name] = onWire
		}
	}
	return list
}

// arrange runs act, alone, for whoever waits for it until ctx ends. act then goes on.
func (b *Backend) arrange(ctx context.Context, what string, act func(what string) error) error {
	if b.cfg.ReadOnly {
		return mail.ErrReadOnly
	}
	return b.do(ctx, what, func() error {
		b.arranging.Lock()
		defer b.arranging.Unlock()
		b.mu.Lock()
		b.edits++ // what is being listed is of before
		b.mu.Unlock()
		return act(what)
	})
}
