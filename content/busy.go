package content

import (
	"context"
	"sync"
)

// busy counts what programs that read the mount wait for, or soon will, so that
// the mirror can leave the line to them.
type busy struct {
	mu    sync.Mutex // guards what follows
	loads int
	idle  chan struct{} // closed when loads is 0 again; nil while it is
}

func (b *busy) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loads++; b.idle == nil {
		b.idle = make(chan struct{})
	}
}

func (b *busy) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loads--; b.loads == 0 {
		close(b.idle)
		b.idle = nil
	}
}

// wait returns when nobody waits for anything, or ctx ends.
func (b *busy) wait(ctx context.Context) {
	for {
		b.mu.Lock()
		idle := b.idle
		b.mu.Unlock()
		if idle == nil {
			return
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return
		}
	}
}
