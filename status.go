package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"imapfs/cache"
	"imapfs/content"
	"imapfs/fs"
	"imapfs/imapbackend"
)

// status is what MNT/.imapfs/status tells, as JSON.
type status struct {
	source  string
	begun   time.Time
	backend *imapbackend.Backend
	cache   *cache.Cache
	fsys    *fs.FS
	errors  *lastErrors
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
	text := report{Source: s.source, Version: version(), Since: s.begun, Status: s.backend.Status(), Memory: s.cache.Stats(), LastErrors: s.errors.list()}
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

// event is one line of the log.
type event struct {
	Time  time.Time `json:"time"`
	What  string    `json:"what"`
	Error string    `json:"error,omitempty"`
}

// lastErrors is a log handler that keeps the latest errors, each once, whatever
// its level lets through.
type lastErrors struct {
	slog.Handler
	kept *keptErrors
}

type keptErrors struct {
	mu     sync.Mutex // guards events
	events []event    // the latest last
}

const mostErrors = 10

func (h *lastErrors) list() []event {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	return append([]event{}, h.kept.events...)
}

// Enabled implements slog.Handler.
func (h *lastErrors) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *lastErrors) Handle(ctx context.Context, r slog.Record) error {
	e := event{Time: r.Time, What: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			e.Error = a.Value.String()
		}
		return true
	})
	if e.Error != "" || r.Level >= slog.LevelWarn {
		h.kept.mu.Lock()
		// What fails again and again must not push out all else.
		h.kept.events = slices.DeleteFunc(h.kept.events, func(old event) bool { return old.What == e.What && old.Error == e.Error })
		h.kept.events = append(h.kept.events, e)
		h.kept.events = h.kept.events[max(0, len(h.kept.events)-mostErrors):]
		h.kept.mu.Unlock()
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *lastErrors) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lastErrors{h.Handler.WithAttrs(attrs), h.kept}
}

// WithGroup implements slog.Handler.
func (h *lastErrors) WithGroup(name string) slog.Handler {
	return &lastErrors{h.Handler.WithGroup(name), h.kept}
}
