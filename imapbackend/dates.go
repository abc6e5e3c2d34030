package imapbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
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

// glancedAtOnce is into how many folders a flight looks.
const glancedAtOnce = 1000

// Dates returns the dates of the newest messages of folders, of those that have one and let
// somebody in: for who looks at many, of which nobody has listed the messages. They are looked
// into in one flight, by EXAMINE and the message with the highest UID, on a connection that has
// no folder for others meanwhile.
func (b *Backend) Dates(ctx context.Context, folders []string) (map[string]time.Time, error) {
	done := b.group.DoChan("dates "+strings.Join(folders, "\x00"), func() (any, error) {
		// While one is renamed or deleted nobody may be in it.
		b.arranging.Lock()
		defer b.arranging.Unlock()
		dates := make(map[string]time.Time)
		for some := range slices.Chunk(folders, glancedAtOnce) {
			err := b.pool.with(need{glance: true}, func(l *lease) error { return l.glance(some, dates) })
			if err != nil {
				return dates, err
			}
		}
		return dates, nil
	})
	select {
	case r := <-done:
		return r.Val.(map[string]time.Time), r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// glance adds the date of the newest message of each folder. That the server refuses one
// is no error.
func (l *lease) glance(folders []string, dates map[string]time.Time) error {
	type look struct {
		folder  string
		examine *imapclient.SelectCommand
		ask     *asking
		fetch   *imapclient.FetchCommand
	}
	return l.command(fmt.Sprintf("look into %d folders", len(folders)), func() error {
		options := &imap.FetchOptions{InternalDate: true}
		var looks []look
		for _, folder := range folders {
			k := look{folder: folder, ask: newAsking(folder, nil, options, "", 0)}
			k.ask.uids = imap.UIDSet{{Start: 1, Stop: 1<<32 - 1}}
			defer l.ear.unask(k.ask)
			k.examine = l.client.Select(l.b.onWire(folder), &imap.SelectOptions{ReadOnly: true})
			l.ear.sending.Lock()
			l.ear.ask(k.ask)
			k.fetch = l.client.Fetch(imap.UIDSet{{}}, options) // UID FETCH *
			l.ear.sending.Unlock()
			looks = append(looks, k)
		}
		// Who looks into a folder is in no one's way afterwards.
		leave := l.client.UnselectAndExpunge // CLOSE: nothing is expunged behind EXAMINE
		if l.caps.Has(imap.CapUnselect) {
			leave = l.client.Unselect
		}
		left := leave()
		var failed error
		for _, k := range looks {
			_, err := k.examine.Wait()
			if ferr := k.fetch.Close(); err == nil {
				err = ferr
			}
			switch {
			case isStatus(err):
				l.b.log.Debug("nobody can look into a folder", "folder", l.b.fullName(k.folder), "error", plain(l.b.secrets.hide(err.Error())))
			case err != nil:
				failed = err
			case len(k.ask.came) > 0: // else it is empty
				if m := <-k.ask.came; !m.Date.IsZero() {
					dates[k.folder] = m.Date
				}
			}
		}
		if err := left.Wait(); err != nil && !isStatus(err) { // there is none to leave if the last one was refused
			failed = err
		}
		return failed
	})
}
