package commands

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"imapfs/cache"
	"imapfs/content"
)

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
		doing, folder := "idle", "no folder"
		if len(c.Doing) > 0 {
			doing = strings.Join(c.Doing, ", ")
		}
		if c.Folder != "" {
			folder = c.Folder
		}
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
	for i, e := range r.LastErrors {
		name := ""
		if i == 0 {
			name = "last errors"
		}
		text := e.What
		if e.Error != "" {
			text += ": " + e.Error
		}
		line(name, "%s %s", e.Time.Local().Format(time.DateTime), text)
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
