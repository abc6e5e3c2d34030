package commands

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"imapfs/cache"
	"imapfs/content"
	"imapfs/fs"
	"imapfs/imapbackend"
)

// report is what MNT/.imapfs/status tells, as JSON.
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

// ask fills in what changes.
func (r report) ask(backend *imapbackend.Backend, memory *cache.Cache, fsys *fs.FS, last *lastErrors) report {
	r.Status, r.Memory, r.LastErrors = backend.Status(), memory.Stats(), last.list()
	if disk := memory.Disk(); disk != nil {
		stats := disk.Stats()
		r.Disk = &stats
	}
	if p, ok := fsys.MirrorProgress(); ok {
		r.Mirror = &p
	}
	return r
}

func (r report) json() []byte {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return []byte("{}\n") // never: all of it can be written
	}
	return append(b, '\n')
}

// print writes the report for people.
func (r *report) print(w io.Writer, now time.Time) error {
	var b bytes.Buffer
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("mounted", "%s, %s ago, imapfs %s", r.Source, durationText(now.Sub(r.Since)), r.Version)
	state := "connected"
	switch {
	case r.Away != "":
		state = "away: " + r.Away
	case len(r.Connections) == 0:
		state = "no connection at the moment"
	}
	line("server", "%s, user %s, %s", r.Server, r.User, state)
	if len(r.Connections) > 0 {
		line("round trip", "%.1f ms", r.RoundTrip)
	}
	if len(r.InUse) > 0 {
		line("makes use of", "%s", strings.Join(r.InUse, " "))
	}
	for i, c := range r.Connections {
		doing, folder := cmp.Or(strings.Join(c.Doing, ", "), "idle"), cmp.Or(c.Folder, "no folder")
		line(fmt.Sprintf("connection %d", i+1), "%s: %s; last heard of %s ago", folder, doing, durationText(time.Duration(c.Quiet*float64(time.Second))))
	}
	line("in memory", "%s", cacheText(&r.Memory))
	line("on disk", "%s", cacheText(r.Disk))
	line("mirror", "%s", mirrorText(r.Mirror))
	if r.Mirror != nil {
		for _, m := range r.Mirror.NotGiven {
			line("", "%s/%d: %s", m.Folder, m.UID, m.Why)
		}
	}
	if len(r.LastErrors) == 0 {
		line("last errors", "none")
	}
	name := "last errors"
	for _, e := range r.LastErrors {
		text := e.What
		if e.Error != "" {
			text += ": " + e.Error
		}
		line(name, "%s %s", e.Time.Local().Format(time.DateTime), text)
		name = ""
	}
	_, err := b.WriteTo(w)
	return err
}

func cacheText(s *cache.Stats) string {
	if s == nil {
		return "no cache"
	}
	return fmt.Sprintf("%s of %s, %d entries, %d hits, %d misses", sizeText(s.Bytes), sizeText(s.Budget), s.Entries, s.Hits, s.Misses)
}

func mirrorText(p *content.Progress) string {
	switch {
	case p == nil:
		return "none; --mirror keeps one"
	case p.Complete:
		return fmt.Sprintf("complete; %d messages, %s fetched since the mount began", p.Here, sizeText(p.BytesHere))
	case isMirrored(*p):
		return fmt.Sprintf("complete but for %d messages that the server does not give", p.NotAvailable)
	case p.Error != "":
		return mirrorShare(*p) + "; pausing: " + p.Error
	case p.Folder == "":
		return "looking for what is missing"
	}
	return mirrorShare(*p) + ", now in " + p.Folder
}
