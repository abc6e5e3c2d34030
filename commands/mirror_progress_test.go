package commands

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"imapfs/content"
	"imapfs/mail"
)

func TestMirrorLine(t *testing.T) {
	for _, test := range []struct {
		p     content.Progress
		bytes int64
		in    time.Duration
		want  string
	}{
		{content.Progress{Messages: 6046, Here: 2000, Bytes: 33 << 20, BytesHere: 11 << 20}, 11 << 20, 10 * time.Second, "2000 of 6046 messages, 11.0 MiB of 33.0 MiB, 1.1 MiB/s, 20s left"},
		{content.Progress{Messages: 6046, Here: 2000, Bytes: 33 << 20, BytesHere: 11 << 20}, 0, 10 * time.Second, "2000 of 6046 messages, 11.0 MiB of 33.0 MiB"},
		{content.Progress{Messages: 1, Here: 1, Bytes: 100, BytesHere: 120}, 120, 10 * time.Second, "1 of 1 messages, 120 bytes of 100 bytes, 12 bytes/s, 0.0s left"},
	} {
		if got := mirrorLine(test.p, test.bytes, test.in); got != "imapfs: mirror: "+test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	p := content.Progress{Folders: 1, Messages: 3, Here: 2, BytesHere: 2048, NotAvailable: 1}
	if !isMirrored(p) || !strings.Contains(mirrorEnd(p, time.Second), "complete but for 1 messages that the server does not give: 2 messages, 2.0 KiB") {
		t.Errorf("got %q", mirrorEnd(p, time.Second))
	}
	p.Folder = "INBOX"
	if isMirrored(p) {
		t.Error("it is taken for complete while a folder is being looked at")
	}
}

func TestMirrorBarIsDrawnAndCleared(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		var b strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		looks := 0
		progress := func() (content.Progress, bool) {
			looks++
			p := content.Progress{Folders: 1, Folder: "INBOX", Messages: 50, Here: looks * 10, Bytes: 50 << 20, BytesHere: int64(looks) * (10 << 20)}
			if looks == 5 {
				p.Complete = true
				if interrupted {
					cancel()
					p.Complete = false
				}
			}
			return p, true
		}
		(&mirrorTeller{w: &b, begun: time.Now(), bar: newMirrorBar(&b)}).tell(ctx, progress)
		got := b.String()
		end := "imapfs: mirror complete: 50 messages, 50.0 MiB in "
		bar, rest, complete := strings.Cut(got, end)
		if complete == interrupted || strings.Contains(rest, "\r") || strings.Contains(bar, "\n") {
			t.Errorf("interrupted %v: %q", interrupted, got)
		}
		for _, want := range []string{"\rmirror: 10/50 messages [", "10.00 MiB / 50.00 MiB", "MiB/s"} {
			if !strings.Contains(bar, want) {
				t.Errorf("no %q in %q", want, bar)
			}
		}
		if last := strings.Split(strings.TrimSuffix(bar, "\r"), "\r"); strings.TrimSpace(regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(last[len(last)-1], "")) != "" {
			t.Errorf("the bar stays: %q", bar)
		}
	}
}

func TestMirrorPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"INBOX", "INBOX", true}, {"INBOX", "INBOX/x", false}, {"*", "a/b", true}, {"Archive/*", "Archive/2024/1", true},
		{"Archive/*", "Archive", false}, {"*x*", "axb", true}, {"*x*", "ab", false}, {"", "", true}, {"a*b*c", "a-b-b-c", true}, {"a*b", "ab-", false},
		{"Archive/%", "Archive/2024", true}, {"Archive/%", "Archive/2024/1", false},
		{"/shared/x", "/shared/x", true}, {"/shared/*", "/shared/x", true}, {"/INBOX", "INBOX", false},
	} {
		if got := matchesFolder(c.pattern, mail.Folder{Name: c.name, Delim: '/'}); got != c.want {
			t.Errorf("matchesFolder(%q, %q) is %v", c.pattern, c.name, got)
		}
	}
}
