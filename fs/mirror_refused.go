package fs

import (
	"fmt"
	"time"

	"imapfs/mail"
)

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

// refusedDirty has the next run look at the folders with messages that the server
// did not give, and tells whether there are some.
func (m *mirror) refusedDirty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.again = make(map[string]bool)
	for folder, uids := range m.refused {
		if len(uids) > 0 {
			m.again[folder] = true
		}
	}
	return len(m.again) > 0
}

// errNotDescribed says that there is no answer about a message.
var errNotDescribed = fmt.Errorf("the server does not describe it: %w", mail.ErrRefused)

// refuse notes that the server does not give a message.
func (m *mirror) refuse(id mail.ID, why error) {
	m.fsys.log.Info("the server does not give a message", "folder", id.Folder, "uid", id.UID, "error", why)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused[id.Folder] == nil {
		m.refused[id.Folder] = make(map[uint32]string)
	}
	m.refused[id.Folder][id.UID] = why.Error()
}
