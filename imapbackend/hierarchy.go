package imapbackend

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// spot is a place in the hierarchy: a mailbox that the server lists, or a level above
// one. The zero value is the root.
type spot struct {
	name   string // in full
	wire   string
	delim  rune
	listed mail.Folder // the zero value for a level that is not listed
}

// find returns what has this full name.
func (b *Backend) find(full string) (at spot, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.list {
		delim := string(f.Delim)
		if f.Delim == 0 {
			delim = ""
		}
		name, onWire := f.FullName(), cmp.Or(b.wires[f.Name], f.Name)
		switch {
		case strings.TrimSuffix(name, delim) == full && (!at.listed.Selectable || !ok):
			at, ok = spot{full, strings.TrimSuffix(onWire, delim), f.Delim, f}, true
		case !ok && delim != "" && strings.HasPrefix(name, full+delim):
			// As many levels of the name on the wire.
			levels := strings.Split(onWire, delim)
			n := min(strings.Count(full, delim)+1, len(levels))
			at, ok = spot{full, strings.Join(levels[:n], delim), f.Delim, mail.Folder{}}, true
		}
	}
	return at, ok
}

// named returns the Name of the mailbox with this full name.
func (b *Backend) named(full string) string {
	if at, ok := b.find(full); ok {
		return cmp.Or(at.listed.Name, full)
	}
	return full
}

// within returns what is listed at a spot and below it.
func (b *Backend) within(at spot) (list []mail.Folder) {
	for _, f := range b.Folders() {
		if name := f.FullName(); name == at.name || at.delim != 0 && strings.HasPrefix(name, at.name+string(at.delim)) {
			list = append(list, f)
		}
	}
	return list
}

// target returns the spot of a folder that is to be made below another one.
func (b *Backend) target(parent, component string) (at spot, err error) {
	if parent == "" {
		at = spot{name: component, wire: encodeName(component)}
	} else {
		above, ok := b.find(parent)
		switch {
		case !ok:
			return at, mail.ErrNotFound
		case above.listed.NoInferiors || above.delim == 0:
			return at, fmt.Errorf("the server has no folders below %s: %w", parent, mail.ErrForbidden)
		case strings.ContainsRune(component, above.delim):
			return at, fmt.Errorf("%q is what the server has between names: %w", above.delim, mail.ErrForbidden)
		}
		delim := string(above.delim)
		at = spot{name: parent + delim + component, wire: above.wire + delim + encodeName(component), delim: above.delim}
	}
	if _, there := b.find(at.name); there || strings.EqualFold(at.name, inbox) {
		return at, mail.ErrExists
	}
	return at, nil
}

// sendSurely sends commands, and LIST with these patterns behind them, in one flight;
// and once more if the connection broke and the list does not show that it was done.
// unsure tells that it broke: what is done is done from here then. err is how the first
// command has ended, nil if the list has shown that after a break.
func (b *Backend) sendSurely(what string, send func(*lease) []*imapclient.Command, isDone func([]wire.Mailbox) bool, patterns ...string) (listed []wire.Mailbox, unsure bool, err error) {
	once := func() error {
		return b.pool.once(need{}, func(l *lease) (err error) {
			listed, err = l.sendAndList(what, send, patterns...)
			return err
		})
	}
	for range 2 {
		if err = once(); !isBroken(err) || errors.Is(err, errAway) {
			break
		}
		unsure = true
		b.log.Info("looking whether it was done", "what", what, "error", err)
		var lerr error
		if listed, lerr = b.listOf(what, patterns...); lerr != nil || isDone(listed) {
			return listed, true, lerr
		}
	}
	return listed, unsure, err
}

// subscribe subscribes and unsubscribes mailboxes, by their names on the wire, after
// what had gone out along was refused.
func (b *Backend) subscribe(on, off []string) {
	if len(on)+len(off) == 0 {
		return
	}
	err := b.pool.once(need{}, func(l *lease) error {
		_, err := l.sendAndList("restore subscriptions", func(l *lease) (sent []*imapclient.Command) {
			for _, name := range off {
				sent = append(sent, l.client.Unsubscribe(wire.Verbatim(name)))
			}
			for _, name := range on {
				sent = append(sent, l.client.Subscribe(wire.Verbatim(name)))
			}
			return sent
		})
		return err
	})
	if err != nil {
		b.log.Info("cannot restore subscriptions", "error", err)
	}
}

// sendAndList sends commands and LIST behind them in one flight. The first command is
// the one that counts; if another one is refused, that is only logged. listed is nil if
// the list could not be had.
func (l *lease) sendAndList(what string, send func(*lease) []*imapclient.Command, patterns ...string) (listed []wire.Mailbox, err error) {
	heard, end := l.ear.gather()
	var looked error
	err = l.command(what, func() error {
		commands := send(l)
		lists := l.sendLists(patterns)
		sent := commands[0].Wait()
		for _, c := range commands[1:] {
			if err := c.Wait(); isStatus(err) {
				l.b.log.Info("not all was done", "what", what, "error", plain(l.b.secrets.hide(err.Error())))
			} else {
				sent = cmp.Or(sent, err)
			}
		}
		looked = closeAll(lists)
		return cmp.Or(sent, looked)
	})
	if end(); looked != nil {
		return nil, err
	}
	return heard.complete(), err
}

// listOf returns what the server lists for each pattern, names on the wire in which "*"
// and "%" stand for anything.
func (b *Backend) listOf(what string, patterns ...string) (listed []wire.Mailbox, err error) {
	err = b.pool.with(need{}, func(l *lease) (err error) {
		listed, err = l.listExactly(what, patterns...)
		return err
	})
	return listed, err
}

func (l *lease) listExactly(what string, patterns ...string) ([]wire.Mailbox, error) {
	heard, end := l.ear.gather()
	err := l.command(what, func() error { return closeAll(l.sendLists(patterns)) })
	end()
	return heard.complete(), err
}

func (l *lease) sendLists(patterns []string) (lists []*imapclient.ListCommand) {
	for _, p := range patterns {
		lists = append(lists, l.client.List("", wire.Verbatim(p), nil))
	}
	return lists
}

func closeAll(lists []*imapclient.ListCommand) (err error) {
	for _, list := range lists {
		err = cmp.Or(err, list.Close())
	}
	return err
}

// complete returns the mailboxes that were listed: not nil, also if there was none.
func (g *gathered) complete() []wire.Mailbox { return append([]wire.Mailbox{}, g.mailboxes...) }

// find returns the mailbox of this name on the wire, nil if it is not listed.
func find(listed []wire.Mailbox, name string) *wire.Mailbox {
	for _, m := range listed {
		if exists(m) && (m.Name == name || m.Delim != 0 && m.Name == name+string(m.Delim)) {
			return &m
		}
	}
	return nil
}

// exists tells whether what is listed is there, and not only a name that is subscribed.
func exists(m wire.Mailbox) bool { return !slices.Contains(m.Attrs, `\nonexistent`) }

// vacate has all connections leave folders, when those who are in them have what they
// want, and lets nobody in until reopen is called: to a folder that is being renamed or
// deleted servers answer in many ways, or end the connection.
func (p *pool) vacate(names map[string]bool) (reopen func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.shut, names)
	reopen = func() {
		p.locked(func() {
			for name := range names {
				delete(p.shut, name)
			}
			p.wake.Broadcast()
		})
	}
	within := func(s *session) bool { return names[s.place.folder()] && !s.ended() }
	for slices.ContainsFunc(p.sessions, func(s *session) bool { return within(s) && (s.place.users > 0 || s.place.isBusy()) }) {
		if p.closed {
			return reopen, errClosed
		}
		p.wake.Wait()
	}
	var leaving []*lease
	for _, s := range p.sessions {
		if within(s) {
			s.place.sel.failed = true
			leaving = append(leaving, s.lease(need{}))
		}
	}
	p.mu.Unlock()
	for _, l := range leaving {
		l.leave()
	}
	p.mu.Lock()
	return reopen, nil
}

// leave sends UNSELECT (RFC 3691), or goes elsewhere where that cannot be done: CLOSE
// would expunge what others have marked.
func (l *lease) leave() {
	defer l.b.pool.release(l.session, need{})
	err := l.command("leave a folder", func() error {
		if l.caps.Has(imap.CapUnselect) {
			return l.client.Unselect().Wait()
		}
		_, err := l.client.Select(inbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		return err
	})
	if err != nil {
		l.b.log.Info("cannot leave a folder", "error", err)
	}
}
