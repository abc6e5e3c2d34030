package fs

import (
	"sync"
	"time"
)

// notifier tells the kernel what has changed. It does so in a goroutine of its
// own: a notification can wait for a lock that the kernel holds while it waits
// for an answer of ours, so no handler, and nothing that a handler waits for,
// may send one. The goroutine runs from Mount until close.
type notifier struct {
	done chan struct{}

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond
	pending []func()
	closed  bool

	beside sync.WaitGroup // goroutines of atOnce
}

func (n *notifier) init() {
	n.wake = sync.NewCond(&n.mu)
	n.done = make(chan struct{})
}

// onTheWay is how long an answer to the kernel can be on its way, generously.
const onTheWay = time.Second

// add has tell called by the notifier's goroutine.
func (n *notifier) add(tell func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.pending = append(n.pending, tell)
		n.wake.Signal()
	}
}

// later is add after a while.
func (n *notifier) later(after time.Duration, tell func()) {
	time.AfterFunc(after, func() { n.add(tell) })
}

// atOnce has tell called by a goroutine of its own, which ends with it, and returns when
// that has begun. What is pending may wait for a folder that the kernel holds for as long
// as a slow server takes.
func (n *notifier) atOnce(tell func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	begun := make(chan struct{})
	n.beside.Go(func() {
		close(begun)
		tell()
	})
	<-begun
}

func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	n.wake.Signal()
	n.mu.Unlock()
	<-n.done
	n.beside.Wait()
}

func (n *notifier) run() {
	defer close(n.done)
	for {
		n.mu.Lock()
		for len(n.pending) == 0 && !n.closed {
			n.wake.Wait()
		}
		if n.closed {
			n.mu.Unlock()
			return
		}
		tell := n.pending[0]
		n.pending = n.pending[1:]
		n.mu.Unlock()
		tell()
	}
}
