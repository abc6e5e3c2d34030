package fs

import (
	"log/slog"
	"testing"
	"time"

	"imapfs/cache"
	"imapfs/content"
)

// newFS returns a file system of fake mail that is not mounted.
func newFS(t testing.TB, f server, budget int64) *FS {
	t.Helper()
	fsys, err := newFSOf(f, budget, Options{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// server is fake mail, or what a test has made of it.
type server interface {
	Mail
	content.Server
}

func newFSOf(f server, budget int64, opt Options) (*FS, error) {
	return New(f, content.New(f, cache.New(budget, nil), opt.Log), opt)
}
