package commands

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"log/syslog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// logger returns where the log goes: to the file of --log-file, or to standard
// error. A daemon leaves that when it has mounted, and has the system's log
// besides, if there is one.
func (s *settings) logger(d *daemon) (*slog.Logger, *lastErrors, error) {
	options := &slog.HandlerOptions{Level: slog.LevelWarn}
	if s.verbose {
		options.Level = slog.LevelDebug
	}
	var handler slog.Handler = slog.NewTextHandler(os.Stderr, options)
	if s.logFile != "" {
		// For the user alone: it holds names of folders. It is never closed:
		// what is logged last is how the mount has ended.
		file, err := privateFile(s.logFile, "the log")
		if err != nil {
			return nil, nil, err
		}
		handler = slog.NewTextHandler(file, options)
	} else if d.isChild() {
		if system, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "imapfs"); err == nil {
			handler = slog.NewMultiHandler(handler, newSystemLog(system, options))
		}
	}
	last := &lastErrors{Handler: handler, kept: new(keptErrors)}
	return slog.New(last), last, nil
}

// systemLog is a slog.Handler that writes to syslog(3), and so to the journal
// where systemd has that. Time and priority are the system's.
type systemLog struct {
	slog.Handler // writes to text
	out          *syslog.Writer

	mu   *sync.Mutex // guards text
	text *bytes.Buffer
}

func newSystemLog(out *syslog.Writer, options *slog.HandlerOptions) *systemLog {
	text := new(bytes.Buffer)
	bare := &slog.HandlerOptions{Level: options.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}}
	return &systemLog{slog.NewTextHandler(text, bare), out, new(sync.Mutex), text}
}

func (h *systemLog) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Reset()
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	write := h.out.Debug
	switch {
	case r.Level >= slog.LevelError:
		write = h.out.Err
	case r.Level >= slog.LevelWarn:
		write = h.out.Warning
	case r.Level >= slog.LevelInfo:
		write = h.out.Info
	}
	return write(strings.TrimSpace(h.text.String()))
}

func (h *systemLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &systemLog{h.Handler.WithAttrs(attrs), h.out, h.mu, h.text}
}

func (h *systemLog) WithGroup(name string) slog.Handler {
	return &systemLog{h.Handler.WithGroup(name), h.out, h.mu, h.text}
}

// privateFile opens a file to add to, which only the user may read. what is to
// go there is for the errors, which are plain lines.
func privateFile(name, what string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %v", what, err)
	}
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		file.Close()
		return nil, fmt.Errorf("others may read %s, where %s is to go; remove it or name another file", name, what)
	}
	return file, nil
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
