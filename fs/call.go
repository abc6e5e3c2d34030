package fs

import (
	"context"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// call is the context of one system call: it ends when the caller is killed, some time
// after a signal that it handles, or with mail.ErrTimeout. Most calls are answered from
// memory, so timer and goroutine exist only from the first Done on, which is called when
// somebody begins to wait. The time counts from there, and Err is nil before.
type call struct {
	context.Context // the library's: it ends with a signal of any kind
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
	interrupted := c.Context.Done()
	var handled <-chan time.Time
	var err error
	for err == nil {
		select {
		case <-c.finished:
			return
		case <-timer.C:
			err = mail.ErrTimeout
		case <-interrupted:
			if dies(c.Context) {
				err = context.Canceled
			}
			interrupted, handled = nil, time.After(mostInterrupted)
		case <-handled:
			err = context.Canceled
		}
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

// mostInterrupted is how long a call goes on after a signal that does not end its caller.
// The kernel tells of each signal, also of a timer's or of a child's end, and few programs
// expect EINTR of a file. But the handler may want to end what lasts, as in Python, and it
// does not run before the call is answered.
const mostInterrupted = 2 * time.Second

// dies tells whether the caller of a request is ended by a signal: then the kernel has
// SIGKILL pending for each of its threads, whichever signal it was (complete_signal in
// kernel/signal.c). It is not known of callers from another PID namespace, nor where there
// is no proc(5).
func dies(ctx context.Context) bool {
	caller, ok := fuse.FromContext(ctx)
	if !ok || caller.Pid == 0 {
		return false
	}
	pending, _ := strconv.ParseUint(procStatus(uint64(caller.Pid), "SigPnd"), 16, 64)
	return pending&(1<<(syscall.SIGKILL-1)) != 0
}

// change runs f, which changes something on the server, or asks for what others may want too.
// When ctx ends first it goes on, and the kernel is told when it is done.
func change(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *call) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finished != nil {
		close(c.finished)
	}
}
