package fs

import (
	"context"
	"errors"
	"sync"
	"time"

	"imapfs/mail"
)

// call is the context of one system call: it ends when the caller is
// interrupted, or with mail.ErrTimeout. Most calls are answered from memory, so
// timer and goroutine exist only from the first Done on, which is called when
// somebody begins to wait. The time counts from there, and Err is nil before.
type call struct {
	context.Context // the library's: it ends with an interrupt
	timeout         time.Duration

	mu       sync.Mutex // guards what follows
	ended    chan struct{}
	finished chan struct{} // closed by finish
	err      error
}

// call bounds how long a system call can take. The caller calls finish at the
// end.
func (fsys *FS) call(ctx context.Context) (c *call, finish func()) {
	c = &call{Context: ctx, timeout: fsys.opt.Timeout}
	return c, c.finish
}

// Done implements context.Context.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.ended, c.finished = make(chan struct{}), make(chan struct{})
		go c.watch()
	}
	return c.ended
}

// watch ends the call. It runs until then, or until finish.
func (c *call) watch() {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	var err error
	select {
	case <-c.finished:
		return
	case <-c.Context.Done():
		err = c.Context.Err()
	case <-timer.C:
		err = mail.ErrTimeout
	}
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	close(c.ended)
}

// Err implements context.Context.
func (c *call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// mostInterrupted is how long a change may still take after an interrupt.
const mostInterrupted = 2 * time.Second

// change runs f, which changes something on the server. When ctx ends first it goes on,
// and the kernel is told when it is done. An interrupt alone does not end it at once: the
// kernel sends one for any signal, also for those after which a program goes on, and a
// change of which nobody knows whether it was made is worse than a moment's patience.
func change(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		select {
		case err := <-done:
			return err
		case <-time.After(mostInterrupted):
		}
	}
	return context.Cause(ctx)
}

func (c *call) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished != nil {
		close(c.finished)
	}
}
