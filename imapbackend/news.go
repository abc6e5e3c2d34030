package imapbackend

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// poll asks for news now and then. It ends with the backend.
func (b *Backend) poll() {
	ticker := time.NewTicker(b.cfg.Poll)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
		err := b.askForNews()
		if err != nil && !failing && b.ctx.Err() == nil {
			b.log.Warn("no news from the server", "error", err)
		}
		failing = err != nil
	}
}

// statusesAtOnce is how many STATUS go out in one flight.
const statusesAtOnce = 50

// askForNews asks what no IDLE tells: NOOP on the connections without IDLE,
// which reports what happened in the folder that they have selected and keeps
// them from being closed (RFC 9051 §5.4); the list of folders; and the state of
// those that no connection has selected.
func (b *Backend) askForNews() error {
	b.polling.Lock()
	defer b.polling.Unlock()

	b.pool.mu.Lock()
	b.pool.most = max(b.cfg.Connections, 1) // the server may have room again
	b.pool.mu.Unlock()
	b.pool.noop()

	statuses := make(map[string]*imap.StatusData)
	if n := len(b.unselected()); n == 0 || n <= statusesAtOnce && n*10 < len(b.Folders()) {
		statuses = nil // nobody wants to know, or of few: a server opens each for its STATUS
	}
	err := b.listFolders(b.ctx, statuses)
	if _, refused := errors.AsType[*refusal](err); refused && statuses != nil {
		// One folder can be enough for a NO.
		clear(statuses)
		err = b.listFolders(b.ctx, nil)
	}
	if err != nil {
		return err
	}
	there := make(map[string]bool)
	for _, f := range b.Folders() {
		there[f.Name] = f.Selectable
	}
	var others []*folder // that have to be asked for one by one
	for _, f := range b.unselected() {
		if status := statuses[f.name]; status != nil {
			f.news(status)
		} else if there[f.name] {
			others = append(others, f)
		}
	}
	// Not too many at once: others may wait for the connection.
	for some := range slices.Chunk(others, statusesAtOnce) {
		if err := b.status(some); err != nil {
			return err
		}
	}
	return nil
}

// noop sends NOOP on the connections without IDLE, and waits for the answers.
func (p *pool) noop() {
	p.mu.Lock()
	var silent []*session
	for _, s := range p.sessions {
		if s.idling == nil && !s.moving {
			s.users++ // so that IDLE does not begin
			silent = append(silent, s)
		}
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range silent {
		wg.Go(func() {
			defer p.release(s, need{})
			err := s.command("NOOP", func() error { return s.client.Noop().Wait() })
			if err != nil {
				p.b.log.Info("a connection is gone", "error", err)
			}
		})
	}
	wg.Wait()
}

// unselected returns the folders of which something is known, but which no
// connection has selected.
func (b *Backend) unselected() []*folder {
	selected := b.pool.selectedBy()
	var list []*folder
	for _, f := range b.used() {
		f.mu.Lock()
		if f.source != fromNowhere && selected[f.name] == nil {
			list = append(list, f)
		}
		f.mu.Unlock()
	}
	return list
}

// statusItems is what news needs.
var statusItems = &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true}

// news takes in the state of a folder (RFC 9051 §6.3.11).
func (f *folder) news(status *imap.StatusData) {
	// Of a folder that is being deleted a server may tell a part, or zeros.
	if status.NumMessages != nil && status.UIDValidity != 0 {
		f.selected(status.UIDValidity, uint32(status.UIDNext), *status.NumMessages)
	}
}

// status asks for the state of folders, all in one flight.
func (b *Backend) status(folders []*folder) error {
	return b.pool.with(need{}, func(l *lease) error {
		return l.command("ask for the state of folders", func() error {
			var commands []*imapclient.StatusCommand
			for _, f := range folders {
				commands = append(commands, l.client.Status(f.name, statusItems))
			}
			var failed error
			for i, cmd := range commands {
				data, err := cmd.Wait()
				var refused *imap.Error
				switch {
				case err == nil:
					folders[i].news(data)
				case errors.As(err, &refused):
					b.log.Info("cannot ask for news", "folder", folders[i].name, "error", plain(b.secrets.hide(refused.Text)))
				default:
					failed = err
				}
			}
			return failed
		})
	})
}
