package content

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapfs/mail"
)

// Progress tells how far the mirror is since the mount began.
type Progress struct {
	Folders      int        `json:"folders"`             // that the mirror is to have
	Folder       string     `json:"folder"`              // being fetched now
	Messages     int        `json:"messages"`            // found to be missing so far
	Here         int        `json:"messages_here"`       // of these fetched
	Bytes        int64      `json:"bytes"`               // of the missing ones, as the server tells
	BytesHere    int64      `json:"bytes_here"`          // fetched
	NotAvailable int        `json:"not_available"`       // messages that the server does not give
	NotGiven     []NotGiven `json:"not_given,omitempty"` // some of these
	Complete     bool       `json:"complete"`            // nothing is missing
	Spared       bool       `json:"open_spared"`         // so that the kernel is told to spare OPEN
	Error        string     `json:"error"`               // why it rests; "" for no reason
}

// NotGiven is a message that the server does not give.
type NotGiven struct {
	Folder string `json:"folder"`
	UID    uint32 `json:"uid"`
	Why    string `json:"why"`
}

// mostNotGiven is how many of them are named.
const mostNotGiven = 20

// The pauses before what the server did not give is asked for again.
const (
	firstRefused = 15 * time.Second
	mostRefused  = 15 * time.Minute
)

// MirrorProgress tells how far the mirror is; false if there is none.
func (s *Store) MirrorProgress() (Progress, bool) {
	m := s.mirror.Load()
	if m == nil {
		return Progress{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress, true
}

func (m *mirror) update(f func(p *Progress)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.progress)
}

// came notes that a message is here.
func (m *mirror) came(bytes int64) {
	m.update(func(p *Progress) {
		p.Here++
		p.BytesHere += bytes
	})
}

// recount leaves only what is settled in the progress, when nothing is under
// way: what was not fetched will be found to be missing again.
func (m *mirror) recount() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress.Messages, m.progress.Bytes = m.progress.Here, m.progress.BytesHere
	for _, uids := range m.refused {
		m.progress.Messages += len(uids)
	}
}

// rest notes why nothing is fetched at the moment.
func (m *mirror) rest(err error) {
	complete := false
	m.update(func(p *Progress) {
		p.Folder, p.Error = "", ""
		if err != nil {
			p.Error = err.Error()
		}
		p.NotAvailable, p.NotGiven = 0, nil
		for folder, uids := range m.refused {
			p.NotAvailable += len(uids)
			for uid, why := range uids {
				p.NotGiven = append(p.NotGiven, NotGiven{folder, uid, why})
			}
		}
		slices.SortFunc(p.NotGiven, func(a, b NotGiven) int {
			return cmp.Or(strings.Compare(a.Folder, b.Folder), cmp.Compare(a.UID, b.UID))
		})
		p.NotGiven = p.NotGiven[:min(len(p.NotGiven), mostNotGiven)]
		p.Complete = err == nil && p.NotAvailable == 0 && len(m.dirty) == 0 // else a change has come just now
		complete = p.Complete
	})
	if complete {
		m.whenComplete()
	}
}

// hasRefused tells whether there is something that the server did not give. The
// next run asks for it again.
func (m *mirror) hasRefused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.refused) > 0
}

// errNotDescribed says that there is no answer about a message.
var errNotDescribed = fmt.Errorf("the server does not describe it: %w", mail.ErrRefused)

// refuse notes that the server does not give a message.
func (m *mirror) refuse(id mail.ID, why error) {
	m.log.Info("the server does not give a message", "folder", id.Folder, "uid", id.UID, "error", why)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused[id.Folder] == nil {
		m.refused[id.Folder] = make(map[uint32]string)
	}
	m.refused[id.Folder][id.UID] = why.Error()
}
