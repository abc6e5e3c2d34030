package imapbackend

import (
	"context"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// FolderFlags returns the flags of all messages of a folder, in the order of their UIDs,
// but of those of which the server does not tell them. While the server is away they are
// those that are known.
func (b *Backend) FolderFlags(ctx context.Context, folder string) ([]mail.MessageFlags, error) {
	if _, err := b.Messages(ctx, folder); err != nil {
		return nil, err
	}
	f := b.folder(folder)
	f.flagsRecalled.Do(f.recallFlags)
	f.mu.Lock()
	f.flags.asked = time.Now()
	f.mu.Unlock()
	if err := b.do(ctx, "all flags "+folder, f.loadAllFlags); err != nil && !isUnreached(err) {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []mail.MessageFlags
	for i, number := range f.flags.of {
		if number != 0 {
			all = append(all, mail.MessageFlags{UID: f.uids[i], Flags: f.flags.sets[number-1]})
		}
	}
	return all, nil
}

// loadAllFlags asks for all flags that are not known or may have changed.
func (f *folder) loadAllFlags() error {
	for {
		validity, uids, isStale := f.unknownFlags()
		var err error
		switch {
		case isStale:
			err = f.askForChangedFlags()
		case len(uids) == 0:
			return nil
		default:
			err = f.fetchFlagRange(validity, uids[0], uids[len(uids)-1])
			if isTheirs(err) {
				// One by one if need be, in a line that servers take.
				_, _, err = f.fetchFlags(validity, uids[:min(len(uids), mostRanges)])
			}
		}
		if err != nil {
			return err
		}
		if _, still, _ := f.unknownFlags(); !isStale && slices.Equal(still, uids) {
			return nil // the server does not tell them
		}
	}
}

// fetchFlagRange asks for the flags of all messages from one to another: no line is shorter,
// and what is known already among them costs little.
func (f *folder) fetchFlagRange(validity, first, last uint32) error {
	ask := newAsking(f.name, nil, flagsOnly, "", 0)
	ask.uids = imap.UIDSet{{Start: imap.UID(first), Stop: imap.UID(last)}}
	return f.learnFlags(validity, func(take func(*wire.Message) bool) error {
		return f.b.pool.with(messagesOf(f.name, validity), func(l *lease) error {
			_, err := l.fetch("ask for flags of "+f.name, ask, nil, func(m *wire.Message) { take(m) })
			return err
		})
	})
}

// unknownFlags returns messages of which nobody knows the flags, as many as can be asked
// for at once, and whether those that are known may have changed.
func (f *folder) unknownFlags() (validity uint32, uids []uint32, isStale bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, uid := range f.uids {
		if f.flags.of != nil && f.flags.of[i] != 0 {
			continue
		}
		if t := f.troubles[troubleOf{uid, flagging}]; t != nil && time.Now().Before(t.until) {
			continue
		}
		if uids = append(uids, uid); len(uids) == mostFlags {
			break
		}
	}
	return f.validity, uids, f.flags.stale && f.flags.of != nil
}
