package imapbackend

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// A connection dies without a word when a laptop has slept, or the network has
// changed. The server cannot be told from a slow one by what it says, but by
// TCP: a slow one takes in what is sent. So the kernel is asked to give the
// connection up long before Config.Timeout, and there is time left to ask the
// same on another one.

// errLost says that the network has not taken in what was sent.
var errLost = fmt.Errorf("the connection is dead: %w", errTimeout)

// noticeLoss has a connection end when a third of timeout has passed since
// something was sent that the other side has not taken in.
func noticeLoss(conn net.Conn, timeout time.Duration) error {
	return setUserTimeout(conn, max(timeout/3, time.Millisecond))
}

// lost tells whether the connection was given up because of that.
func (c *watchedConn) lost() bool {
	return errors.Is(c.readError(), syscall.ETIMEDOUT)
}
