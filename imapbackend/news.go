package imapbackend

import (
	"errors"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
)

// mostPolls is how many polls are left out at most between two, where they fail.
const mostPolls = 16

// poll asks for news now and then, less often while that fails. It ends with the
// backend.
func (b *Backend) poll() {
	for pause := b.cfg.Poll; ; {
		if !b.sleep(pause) {
			return
		}
		err := b.askForNews()
		switch {
		case err == nil || errors.Is(err, errAway):
			pause = b.cfg.Poll
		default:
			if pause == b.cfg.Poll && b.ctx.Err() == nil {
				b.log.Warn("no news from the server", "error", err)
			}
			pause = min(2*pause, mostPolls*b.cfg.Poll)
		}
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

	b.pool.locked(func() { b.pool.most = max(b.cfg.Connections, 1) }) // the server may have room again
	b.pool.noop()
	if b.usageAsked.Swap(false) {
		b.askForQuota()
	}

	statuses := make(map[string]wire.State)
	if n := len(b.unselected()); n == 0 || n <= statusesAtOnce && n*10 < len(b.Folders()) {
		statuses = nil // nobody wants to know, or of few: a server opens each for its STATUS
	}
	err := b.listFolders(b.ctx, statuses)
	if err != nil {
		return err
	}
	there := make(map[string]bool)
	for _, f := range b.Folders() {
		there[f.Name] = f.Selectable
	}
	var others []*folder // that have to be asked for one by one
	for _, f := range b.unselected() {
		if status, ok := statuses[f.name]; ok {
			f.news(status)
		} else if there[f.name] {
			others = append(others, f)
		}
	}
	// Not too many at once: others may wait for the connection.
	for some := range slices.Chunk(others, statusesAtOnce) {
		if err := b.askEach(some); err != nil {
			return err
		}
	}
	return nil
}

// askEach asks for the state of folders by STATUS, or looks into each.
func (b *Backend) askEach(folders []*folder) error {
	if !b.quirks.noStatus.Load() {
		err := b.status(folders)
		if (!isUnreached(err) || errors.Is(err, errAway)) && !errors.Is(err, errCutOff) {
			return err
		}
		b.quirks.noStatus.Store(true) // it has been asked more than once
	}
	for _, f := range folders {
		b.refreshSoon(f.name) // by SELECT and SEARCH, which tell it too
	}
	return nil
}

// noop sends NOOP on the connections without IDLE, and waits for the answers.
func (p *pool) noop() {
	p.each(func(s *session) bool {
		silent := s.place.listening == nil && !s.place.moving && time.Since(s.opened) > p.b.cfg.Poll/2
		if silent {
			s.place.take(need{}) // so that IDLE does not begin
		}
		return silent
	}, func(s *session) {
		defer p.release(s, need{})
		if err := s.noop(); err != nil {
			p.b.log.Info("a connection is gone", "error", err)
		}
	})
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
func (l *lease) statusItems() *imap.StatusOptions {
	o := &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true}
	for _, f := range l.b.used() {
		f.mu.Lock()
		o.HighestModSeq = o.HighestModSeq || f.flags.of != nil && f.flags.modSeq != 0
		f.mu.Unlock()
	}
	return o
}

// news takes in the state of a folder (RFC 9051 §6.3.11), and tells whether it is
// one: of a folder that is being deleted a server may tell a part, or zeros.
func (f *folder) news(status wire.State) bool {
	if !status.HasMessages || status.UIDValidity == 0 {
		return false
	}
	f.selected(status.UIDValidity, status.UIDNext, status.Messages)
	f.countedFlags(status.ModSeq)
	return true
}

// status asks for the state of folders, all in one flight.
func (b *Backend) status(folders []*folder) error {
	return b.pool.with(need{}, func(l *lease) error {
		heard, end := l.ear.gather()
		err := l.command("ask for the state of folders", func() error {
			var commands []*imapclient.StatusCommand
			items := l.statusItems()
			for _, f := range folders {
				commands = append(commands, l.client.Status(b.onWire(f.name), items))
			}
			var failed error
			for i, cmd := range commands {
				_, err := cmd.Wait()
				var refused *imap.Error
				switch {
				case err == nil:
				case errors.As(err, &refused):
					b.log.Info("cannot ask for news", "folder", b.fullName(folders[i].name), "error", plain(b.secrets.hide(refused.Text)))
				default:
					failed = err
				}
			}
			return failed
		})
		end()
		for _, f := range folders {
			state, _ := b.stateOf(f.name, heard)
			if !f.news(state) && err == nil {
				b.refreshSoon(f.name)
			}
		}
		return err
	})
}
