package imapbackend

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Newest returns the date of the newest message of a folder among those of which it is known,
// without waiting: the zero Time if it is known of none. isKnown tells that this is the one of
// now: that the server has listed the folder, and has told the date of the message with the
// highest UID.
func (b *Backend) Newest(folder string) (date time.Time, isKnown bool) {
	f := b.folder(folder)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.attrs {
		if d := a.mail().Date; a.isKnown() && d.After(date) {
			date = d
		}
	}
	n := len(f.attrs)
	return date, f.source == fromServer && (n == 0 || f.attrs[n-1].isKnown())
}

// Dates returns the dates of the newest messages of folders, of those that have one and let
// somebody in: for who looks at many, of which nobody has listed the messages. They are looked
// into in one flight, for the message with the highest UID.
func (b *Backend) Dates(ctx context.Context, folders []string) (map[string]time.Time, error) {
	done := b.group.DoChan("dates "+strings.Join(folders, "\x00"), func() (any, error) {
		var mu sync.Mutex // guards dates
		dates := make(map[string]time.Time)
		err := b.glances(b.ctx, folders, glancedAtOnce, func(l *lease, some []string) error {
			return l.datesOf(some, func(folder string, date time.Time) {
				mu.Lock()
				defer mu.Unlock()
				dates[folder] = date
			})
		})
		return dates, err
	})
	select {
	case r := <-done:
		return r.Val.(map[string]time.Time), r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// datesOf tells the date of the newest message of each folder.
func (l *lease) datesOf(folders []string, tell func(folder string, date time.Time)) error {
	options := &imap.FetchOptions{InternalDate: true}
	return l.glance(fmt.Sprintf("look into %d folders", len(folders)), folders, func(folder string) func(error) error {
		ask := newAsking(folder, nil, options, "", 0)
		ask.uids = imap.UIDSet{{Start: 1, Stop: 1<<32 - 1}}
		l.ear.sending.Lock()
		l.ear.ask(ask)
		fetch := l.client.Fetch(imap.UIDSet{{}}, options) // UID FETCH *
		l.ear.sending.Unlock()
		return func(opened error) error {
			defer l.ear.unask(ask)
			err := fetch.Close()
			if opened == nil && err == nil && len(ask.came) > 0 { // else it is empty
				if m := <-ask.came; !m.Date.IsZero() {
					tell(folder, m.Date)
				}
			}
			return cmp.Or(opened, err)
		}
	})
}
