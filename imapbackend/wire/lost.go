package wire

import (
	"errors"
	"syscall"
)

// A connection dies without a word when a laptop has slept, or the network has
// changed. The server cannot be told from a slow one by what it says, but by
// TCP: a slow one takes in what is sent. So the kernel is asked to give the
// connection up long before the timeout (noticeLoss), and there is time left to ask
// the same on another one.

// Lost tells whether the connection was given up because of that.
func (c *Line) Lost() bool { return errors.Is(c.Failure(), syscall.ETIMEDOUT) }
