package commands

import (
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
func (s *settings) logger(d daemon) (*slog.Logger, *lastErrors, error) {
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
	} else if d.isChild {
		if system, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "imapfs"); err == nil {
			handler = slog.NewMultiHandler(handler, newSystemLog(system, options))
		}
	}
	last := new(lastErrors)
	return slog.New(slog.NewMultiHandler(handler, last)), last, nil
}

// systemLog takes lines of the log to syslog(3), and so to the journal where
// systemd has that. Time and priority are the system's.
type systemLog struct{ *syslog.Writer }

func newSystemLog(out *syslog.Writer, options *slog.HandlerOptions) slog.Handler {
	return slog.NewTextHandler(systemLog{out}, &slog.HandlerOptions{Level: options.Level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

// Write takes one line, which begins with its level.
func (s systemLog) Write(line []byte) (int, error) {
	first, text, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.TrimPrefix(first, "level="))); err != nil {
		return 0, err
	}
	write := s.Debug
	switch {
	case level >= slog.LevelError:
		write = s.Err
	case level >= slog.LevelWarn:
		write = s.Warning
	case level >= slog.LevelInfo:
		write = s.Info
	}
	return len(line), write(text)
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

// lastErrors is a log handler that keeps the latest errors, each once.
type lastErrors struct {
	mu     sync.Mutex // guards events
	events []event    // the latest last
}

const mostErrors = 10

func (h *lastErrors) list() []event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]event{}, h.events...)
}

// Enabled implements slog.Handler.
func (h *lastErrors) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle implements slog.Handler.
func (h *lastErrors) Handle(_ context.Context, r slog.Record) error {
	e := event{Time: r.Time, What: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			e.Error = a.Value.String()
		}
		return true
	})
	if e.Error == "" && r.Level < slog.LevelWarn {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// What fails again and again must not push out all else.
	h.events = slices.DeleteFunc(h.events, func(old event) bool { return old.What == e.What && old.Error == e.Error })
	h.events = append(h.events, e)
	h.events = h.events[max(0, len(h.events)-mostErrors):]
	return nil
}

// WithAttrs implements slog.Handler.
func (h *lastErrors) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h *lastErrors) WithGroup(string) slog.Handler { return h }
