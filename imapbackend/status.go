package imapbackend

import (
	"cmp"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Status is what the backend is doing at one moment.
type Status struct {
	Server       string        `json:"server"`
	User         string        `json:"user"`
	Away         string        `json:"away,omitempty"`      // why there is no connection; "" if there is one
	Capabilities []string      `json:"capabilities"`        // of the server, after login
	InUse        []string      `json:"capabilities_in_use"` // of these, what was made use of so far
	RoundTrip    float64       `json:"round_trip_ms"`       // of the TCP handshake of the newest connection, in milliseconds
	Connections  []Connection  `json:"connections"`
	Folders      []KnownFolder `json:"folders"` // that were looked into
}

// Connection is what one connection is doing.
type Connection struct {
	Folder string   `json:"folder,omitempty"` // selected
	Doing  []string `json:"doing"`            // commands that wait for their answers; empty: it is idle
	Quiet  float64  `json:"quiet_s"`          // for how long nothing has come, in seconds
}

// KnownFolder is what is known of one folder.
type KnownFolder struct {
	Folder      string `json:"folder"`
	UIDValidity uint32 `json:"uidvalidity"`
	Messages    int    `json:"messages"`
	FromServer  bool   `json:"from_server"` // false: as remembered, not compared yet
}

// Usage returns how much mail there is, without waiting for the server. The first one to
// ask does not hear of the quota yet.
func (b *Backend) Usage() (u mail.Usage) {
	if !b.usageAsked.Swap(true) && !b.quotaAsked.Swap(true) {
		b.start(b.askForQuota)
	}
	for _, f := range b.used() {
		f.mu.Lock()
		u.Messages += len(f.uids)
		for _, a := range f.attrs {
			if a.isKnown() {
				u.Bytes = min(u.Bytes+a.size(), 1<<61) // or a server lies
			}
		}
		f.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u.Quota = b.quota
	return u
}

// Status returns what the backend is doing now, without waiting for the server.
func (b *Backend) Status() Status {
	s := Status{
		Server: b.cfg.URL.Addr(), User: b.cfg.URL.User,
		Capabilities: []string{}, InUse: []string{}, Connections: []Connection{}, Folders: []KnownFolder{},
	}
	p := b.pool
	p.mu.Lock()
	if p.away.err != nil && !p.away.since.IsZero() {
		s.Away = p.away.err.Error()
	}
	for _, session := range p.sessions {
		session.doingMu.Lock()
		doing := append([]string{}, session.doing...)
		session.doingMu.Unlock()
		s.Connections = append(s.Connections, Connection{b.fullName(session.place.folder()), doing, session.conn.Line.SilentFor().Seconds()})
		s.RoundTrip = float64(session.conn.RoundTrip) / float64(time.Millisecond)
		s.Capabilities = []string{}
		for c := range session.caps {
			s.Capabilities = append(s.Capabilities, string(c))
		}
	}
	p.mu.Unlock()
	slices.Sort(s.Capabilities)
	b.inUse.Range(func(c, _ any) bool {
		s.InUse = append(s.InUse, string(c.(imap.Cap)))
		return true
	})
	slices.Sort(s.InUse)

	for _, f := range b.used() {
		f.mu.Lock()
		if f.source != fromNowhere {
			s.Folders = append(s.Folders, KnownFolder{b.fullName(f.name), f.validity, len(f.uids), f.source == fromServer})
		}
		f.mu.Unlock()
	}
	slices.SortFunc(s.Folders, func(a, b KnownFolder) int { return cmp.Compare(a.Folder, b.Folder) })
	return s
}
