package imapbackend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"
)

// ListEach lists the messages of many folders, and asks for the attributes of the first and the last
// message of each, in two flights: for who looks into one after the other. Folders that the server
// refuses are left out.
func (b *Backend) ListEach(ctx context.Context, folders []string) error {
	return b.do(ctx, "list "+strings.Join(folders, "\x00"), func() error {
		ends := make(map[string][]uint32) // UIDs by folder
		validities := make(map[string]uint32)
		var mu sync.Mutex // guards these
		err := b.glances(b.ctx, folders, glancedAtOnce, func(l *lease, some []string) error {
			return l.listEach(some, func(folder string, validity uint32, uids []uint32) {
				mu.Lock()
				defer mu.Unlock()
				if n := len(uids); n > 0 {
					ends[folder], validities[folder] = slices.Compact([]uint32{uids[0], uids[n-1]}), validity
				}
			})
		})
		if err != nil {
			return err
		}
		folders = slices.DeleteFunc(slices.Clone(folders), func(folder string) bool { return ends[folder] == nil })
		return b.glances(b.ctx, folders, glancedAtOnce, func(l *lease, some []string) error { return l.describeEach(some, validities, ends) })
	})
}

// How many folders are looked into in one flight, on one connection, or only some of them where the
// server may have to read all that is in them: others wait meanwhile who make or rename a folder. glances
// is how many such flights there are at the same time.
const (
	glancedAtOnce = 500
	readAtOnce    = 20
	glances       = 2
)

// glances glances at many folders, so many at once.
func (b *Backend) glances(ctx context.Context, folders []string, atOnce int, look func(l *lease, some []string) error) error {
	flights, ctx := errgroup.WithContext(ctx)
	flights.SetLimit(glances)
	for some := range slices.Chunk(folders, atOnce) {
		flights.Go(func() error {
			b.arranging.RLock()
			defer b.arranging.RUnlock()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return b.pool.with(need{glance: true}, func(l *lease) error { return look(l, some) })
		})
	}
	return flights.Wait()
}

// listEach lists folders, and tells of each which messages it has.
func (l *lease) listEach(folders []string, tell func(folder string, validity uint32, uids []uint32)) error {
	looks := make([]look, len(folders))
	for i, name := range folders {
		f := l.b.folder(name)
		f.recalled.Do(f.recall)
		f.mu.Lock()
		looks[i] = f.look()
		f.mu.Unlock()
		defer f.looked()
	}
	return l.searchEach(fmt.Sprintf("list %d folders", len(folders)), folders, &imap.SearchCriteria{}, func(i int, data mailbox, uids []uint32) {
		f := l.b.folder(folders[i])
		if len(uids) != int(data.messages) {
			return // it does not tell all, or more have come: it is listed by itself
		}
		if _, ok := f.takeIn(uids, data, looks[i]); ok {
			tell(f.name, data.validity, uids)
		}
	})
}

// describeEach asks for the attributes of some messages of each folder.
func (l *lease) describeEach(folders []string, validities map[string]uint32, uids map[string][]uint32) error {
	options := &imap.FetchOptions{RFC822Size: true, InternalDate: true}
	l.ear.visit()
	defer l.ear.leave()
	n := 0
	return l.glance(fmt.Sprintf("describe messages of %d folders", len(folders)), folders, func(folder string) func(error) error {
		i := n
		n++
		var set imap.UIDSet
		for _, uid := range uids[folder] {
			set.AddNum(imap.UID(uid))
		}
		ask := newAsking(folder, uids[folder], options, "", 0)
		l.ear.sending.Lock()
		l.ear.ask(ask)
		fetch := l.client.Fetch(set, options)
		l.ear.sending.Unlock()
		return func(opened error) error {
			defer l.ear.unask(ask)
			err := fetch.Close()
			isSame := opened == nil && l.ear.visited(i).mailbox.validity == validities[folder]
			for isSame && len(ask.came) > 0 {
				m := <-ask.came
				l.b.folder(folder).setAttrs(validities[folder], &m)
			}
			return cmp.Or(opened, err)
		}
	})
}
