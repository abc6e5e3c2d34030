package commands

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cheggaaa/pb/v3"
	"github.com/emersion/go-imap/v2/imapserver"
	"golang.org/x/term"

	"imapfs/content"
	"imapfs/fs"
	"imapfs/mail"
)

// startMirror begins to mirror, and to tell of it; stop ends both.
func (s *settings) startMirror(fsys *fs.FS) (stop func()) {
	var wants func(mail.Folder) bool // all
	if !slices.Contains(s.mirror, "*") {
		wants = func(f mail.Folder) bool {
			return slices.ContainsFunc(s.mirror, func(pattern string) bool { return matchesFolder(pattern, f) })
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { fsys.Mirror(ctx, wants) })
	running.Go(func() {
		t := mirrorTeller{w: os.Stderr, begun: time.Now()}
		if term.IsTerminal(int(os.Stderr.Fd())) {
			t.bar = newMirrorBar(os.Stderr)
		}
		t.tell(ctx, fsys.MirrorProgress)
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// matchesFolder tells whether a folder is what a pattern of --mirror means, as LIST
// has them (RFC 9051 §6.3.9): in it * stands for any text, and % for any within one
// level.
func matchesFolder(pattern string, f mail.Folder) bool {
	if f.Delim != 0 {
		pattern = string(f.Delim) + pattern // MatchList takes one off, and some names begin with one
	}
	return imapserver.MatchList(f.FullName(), f.Delim, "", pattern)
}

// checkMirror finds a name of --mirror that is that of no folder.
func (s *settings) checkMirror(folders []mail.Folder) error {
	for _, pattern := range s.mirror {
		if !slices.ContainsFunc(folders, func(f mail.Folder) bool { return f.Selectable && matchesFolder(pattern, f) }) {
			for _, f := range folders {
				if strings.EqualFold(f.FullName(), pattern) {
					return fmt.Errorf("--mirror=%s names no folder; did you mean --mirror=%s?", pattern, f.FullName())
				}
			}
			return fmt.Errorf("--mirror=%s names no folder; names are written as the server has them, with its own sign between a folder and one in it", pattern)
		}
	}
	return nil
}

// mirrorTeller tells how far the mirror is until it is complete for the first
// time: with a bar, or with a line now and then. What comes later is in the
// status.
type mirrorTeller struct {
	w     io.Writer
	begun time.Time
	bar   *pb.ProgressBar // nil for lines

	last   time.Time // of the last line
	before int64     // bytes that were here then
	rests  string    // why, as was told
}

const (
	mirrorLook  = 200 * time.Millisecond // time between two looks at the progress
	mirrorLines = 10 * time.Second       // time between two lines
)

// newMirrorBar returns a bar that is drawn by Write alone, so that nothing else
// writes to the terminal after tell.
func newMirrorBar(w io.Writer) *pb.ProgressBar {
	return pb.New64(0).
		SetTemplateString(`mirror: {{string . "messages"}} {{bar . }} {{counters . }} {{speed . "%s/s" "..."}} {{rtime . "%s left" "" " "}}`).
		SetWriter(w).Set(pb.Static, true).Set(pb.Bytes, true).Set(pb.Terminal, true).Set(pb.ReturnSymbol, "\r").Set(pb.CleanOnFinish, true).
		Start()
}

func (t *mirrorTeller) tell(ctx context.Context, progress func() (content.Progress, bool)) {
	ticker := time.NewTicker(mirrorLook)
	defer ticker.Stop()
	t.last = time.Now()
	if t.bar == nil {
		fmt.Fprintln(t.w, "imapfs: mirror: looking for what is missing")
	}
	for {
		select {
		case <-ctx.Done():
			t.clear()
			return
		case <-ticker.C:
		}
		p, ok := progress()
		switch {
		case !ok: // it has not begun
		case isMirrored(p):
			t.clear()
			fmt.Fprintln(t.w, mirrorEnd(p, time.Since(t.begun)))
			return
		case p.Error != "" && p.Error != t.rests:
			t.clear()
			fmt.Fprintf(t.w, "imapfs: mirror: pausing: %s\n", p.Error)
			t.rests = p.Error
		case p.Messages == 0 || p.Error != "":
		case t.bar != nil:
			t.bar.Set("messages", fmt.Sprintf("%d/%d messages", p.Here, p.Messages))
			t.bar.SetTotal(p.Bytes).SetCurrent(p.BytesHere).Write()
		case time.Since(t.last) >= mirrorLines:
			fmt.Fprintln(t.w, mirrorLine(p, p.BytesHere-t.before, time.Since(t.last)))
			t.last, t.before = time.Now(), p.BytesHere
		}
	}
}

// clear takes the bar off the terminal.
func (t *mirrorTeller) clear() {
	if t.bar != nil {
		t.bar.Finish().Write()
		t.bar = newMirrorBar(t.w)
	}
}

// isMirrored tells whether everything is here that the server gives.
func isMirrored(p content.Progress) bool {
	return p.Complete || p.NotAvailable > 0 && p.Folder == "" && p.Error == "" && p.Here+p.NotAvailable >= p.Messages
}

// mirrorLine tells how far the mirror is, which has fetched so many bytes in
// some time.
func mirrorLine(p content.Progress, bytes int64, in time.Duration) string {
	line := fmt.Sprintf("imapfs: mirror: %s", mirrorShare(p))
	if rate := float64(bytes) / in.Seconds(); rate >= 1 {
		left := time.Duration(float64(max(0, p.Bytes-p.BytesHere)) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s/s, %s left", sizeText(int64(rate)), durationText(left))
	}
	return line
}

func mirrorShare(p content.Progress) string {
	return fmt.Sprintf("%d of %d messages, %s of %s", p.Here, p.Messages, sizeText(p.BytesHere), sizeText(p.Bytes))
}

// mirrorEnd is the last line.
func mirrorEnd(p content.Progress, in time.Duration) string {
	switch {
	case p.NotAvailable > 0:
		return fmt.Sprintf("imapfs: mirror complete but for %d messages that the server does not give: %d messages, %s in %s", p.NotAvailable, p.Here, sizeText(p.BytesHere), durationText(in))
	case p.Here == 0:
		return "imapfs: mirror complete: nothing was missing"
	}
	return fmt.Sprintf("imapfs: mirror complete: %d messages, %s in %s", p.Here, sizeText(p.BytesHere), durationText(in))
}
