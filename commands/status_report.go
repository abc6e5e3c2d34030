package commands

import (
	"encoding/json"
	"time"

	"imapfs/cache"
	"imapfs/content"
	"imapfs/fs"
	"imapfs/imapbackend"
)

// status is what MNT/.imapfs/status tells, as JSON.
type status struct {
	source     string
	begun      time.Time
	backend    *imapbackend.Backend
	cache      *cache.Cache
	fsys       *fs.FS
	lastErrors *lastErrors
}

// report is the text of it.
type report struct {
	Source  string    `json:"source"`
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	imapbackend.Status
	Memory     cache.Stats       `json:"memory_cache"`
	Disk       *cache.Stats      `json:"disk_cache"` // null for none
	Mirror     *content.Progress `json:"mirror"`     // null for none
	LastErrors []event           `json:"last_errors"`
}

func (s *status) json() []byte {
	disk := s.cache.Disk()
	text := report{Source: s.source, Version: version(), Since: s.begun, Status: s.backend.Status(), Memory: s.cache.Stats(), LastErrors: s.lastErrors.list()}
	if disk != nil {
		stats := disk.Stats()
		text.Disk = &stats
	}
	if p, ok := s.fsys.MirrorProgress(); ok {
		text.Mirror = &p
	}
	b, err := json.MarshalIndent(text, "", "  ")
	if err != nil {
		return []byte("{}\n") // never: all of it can be written
	}
	return append(b, '\n')
}
