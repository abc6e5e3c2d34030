package content

import (
	"log/slog"
	"testing"

	"imapfs/cache"
)

// newStore returns the content of fake mail.
func newStore(t testing.TB, server Server, budget int64) *Store {
	t.Helper()
	return New(server, cache.New(budget, nil), slog.New(slog.DiscardHandler))
}
