package wire

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// A connection dies without a word when a laptop has slept, or the network has
// changed. The server cannot be told from a slow one by what it says, but by
// TCP: a slow one takes in what is sent. So the kernel is asked to give the
// connection up long before the timeout, and there is time left to ask the
// same on another one.

// noticeLoss has a connection end when a third of timeout has passed since
// something was sent that the other side has not taken in.
func noticeLoss(conn net.Conn, timeout time.Duration) {
	setUserTimeout(conn, max(timeout/3, time.Millisecond))
}

// Lost tells whether the connection was given up because of that.
func (c *Line) Lost() bool { return errors.Is(c.Failure(), syscall.ETIMEDOUT) }
