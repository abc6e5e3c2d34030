package imapbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// mostMarked is how many messages are named in one STORE: servers bound the length of a
// line.
const mostMarked = 500

// SetFlags changes the flags of messages of one folder. It returns nil only when the server
// tells that all have them. \Deleted cannot be set. That a folder keeps a flag no longer
// than a session (PERMANENTFLAGS, RFC 9051 §7.1) is mail.ErrForbidden.
func (b *Backend) SetFlags(ctx context.Context, folder string, validity uint32, uids []uint32, c mail.FlagChange) error {
	if c.Add.Has("Deleted") && !c.Whole {
		return fmt.Errorf(`\Deleted is set by deleting the message, as rm -r does: %w`, mail.ErrForbidden)
	}
	for some := range slices.Chunk(slices.Compact(slices.Sorted(slices.Values(uids))), mostMarked) {
		m := &marking{b.folder(folder), validity, some, c, fmt.Sprintf("change flags in %s", folder)}
		_, err := await(ctx, func() (struct{}, error) {
			return struct{}{}, b.change(exchange{messagesOf(folder, validity), m.on, m.done})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// marking changes the flags of messages.
type marking struct {
	f        *folder
	validity uint32
	uids     []uint32 // ascending
	change   mail.FlagChange
	what     string // for errors
}

// on carries it out on one session. What is sent can be sent again: it adds what is to be
// there and removes what is not.
func (m *marking) on(l *lease) error {
	if m.validity == 0 {
		return errNoValidity(m.what)
	}
	if err := l.confirm(); err != nil {
		return err
	}
	if err := l.stillTheSame(mail.ID{Folder: m.f.name, UIDValidity: m.validity, UID: m.uids[0]}); err != nil {
		return err
	}
	var add, remove map[string][]uint32
	if m.change.Whole {
		now, err := m.ask(l)
		if err != nil {
			return err
		}
		if add, remove, err = m.differences(now); err != nil {
			return err
		}
	} else {
		add, remove = map[string][]uint32{m.change.Add.String(): m.uids}, map[string][]uint32{m.change.Remove.String(): m.uids}
	}
	if err := l.mayMark(m.what, add, remove); err != nil {
		return err
	}
	now, err := m.send(l, add, remove)
	if err != nil {
		return l.whyRefused(err)
	}
	return m.check(now)
}

// differences returns which messages have to get, and which to lose, which flags, by the
// words of these.
func (m *marking) differences(now map[uint32]mail.Flags) (add, remove map[string][]uint32, err error) {
	add, remove = make(map[string][]uint32), make(map[string][]uint32)
	for _, uid := range m.uids {
		more, less := m.change.Of(now[uid])
		if more.Has("Deleted") {
			return nil, nil, fmt.Errorf(`\Deleted is set by deleting the message, as rm -r does: %w`, mail.ErrForbidden)
		}
		add[more.String()] = append(add[more.String()], uid)
		remove[less.String()] = append(remove[less.String()], uid)
	}
	return add, remove, nil
}

// mayMark finds out whether the folder keeps all flags that are to be changed.
func (l *lease) mayMark(what string, changes ...map[string][]uint32) error {
	if l.sel.data.readOnly {
		return fmt.Errorf("%s: %w", what, mail.ErrReadOnly)
	}
	permanent := l.sel.data.permanent
	if len(permanent) == 0 {
		return nil // it does not tell
	}
	for _, change := range changes {
		for words := range change {
			for _, word := range strings.Fields(words) {
				flag := strings.ToLower(mail.Flags{}.OnWire(word))
				if !slices.Contains(permanent, flag) && (flag[0] == '\\' || !slices.Contains(permanent, `\*`)) {
					return fmt.Errorf("%s: the server does not keep the flag %s in this folder, only %s: %w", what, word, strings.Join(permanent, " "), mail.ErrForbidden)
				}
			}
		}
	}
	return nil
}

// send changes the flags, and asks for them in the same flight. It returns them as they
// are then.
func (m *marking) send(l *lease, add, remove map[string][]uint32) (now map[uint32]mail.Flags, err error) {
	var stores []*imapclient.FetchCommand
	var stored error
	store := func(op imap.StoreFlagsOp, change map[string][]uint32) {
		for words, uids := range change {
			if words == "" || len(uids) == 0 {
				continue
			}
			flags := &imap.StoreFlags{Op: op, Silent: true}
			for _, word := range strings.Fields(words) {
				flags.Flags = append(flags.Flags, imap.Flag(mail.Flags{}.OnWire(word)))
			}
			stores = append(stores, l.client.Store(setOf(uids), flags, nil))
		}
	}
	err = l.command(m.what, func() error {
		store(imap.StoreFlagsAdd, add)
		store(imap.StoreFlagsDel, remove)
		var asked error
		now, asked = m.ask(l)
		for _, cmd := range stores {
			if err := cmd.Close(); err != nil && stored == nil {
				stored = err
			}
		}
		if stored != nil {
			return stored
		}
		return asked
	})
	return now, err
}

// ask asks for the flags as they are now.
func (m *marking) ask(l *lease) (map[uint32]mail.Flags, error) {
	now := make(map[uint32]mail.Flags)
	var changed []uint32
	_, err := l.fetch("ask for flags of "+m.f.name, newAsking(m.f.name, m.uids, flagsOnly, "", 0), nil, func(got *wire.Message) {
		if got.HasFlags {
			now[got.UID] = mail.FlagsOf(got.Flags)
			if m.f.setFlags(m.validity, got) {
				changed = append(changed, got.UID)
			}
		}
	})
	if len(changed) > 0 {
		m.f.b.notify(mail.Change{Folder: m.f.name, UIDValidity: m.validity, Flags: changed})
	}
	return now, err
}

// check finds out whether all messages have the flags.
func (m *marking) check(now map[uint32]mail.Flags) error {
	for _, uid := range m.uids {
		flags, there := now[uid]
		if !there {
			return fmt.Errorf("%s: message %d: %w", m.what, uid, mail.ErrNotFound)
		}
		if add, remove := m.change.Of(flags); len(add)+len(remove) > 0 {
			return fmt.Errorf("%s: the server says OK, and message %d has %q: %w", m.what, uid, flags, mail.ErrReadOnly)
		}
	}
	return nil
}

// done looks whether all messages have the flags.
func (m *marking) done() (bool, error) {
	var now map[uint32]mail.Flags
	err := m.f.b.pool.with(messagesOf(m.f.name, m.validity), func(l *lease) (err error) {
		now, err = m.ask(l)
		return err
	})
	return err == nil && m.check(now) == nil, err
}

func setOf(uids []uint32) imap.UIDSet {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	return set
}
