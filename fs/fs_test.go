package fs

import (
	"log/slog"
	"testing"
	"time"

	"imapfs/cache"
)

// newFS returns a file system of fake mail that is not mounted.
func newFS(t testing.TB, f Mail, budget int64) *FS {
	t.Helper()
	fsys, err := New(f, cache.New(budget, nil), Options{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}
