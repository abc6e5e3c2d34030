//go:build !linux

package wire

import (
	"net"
	"time"
)

func noticeLoss(net.Conn, time.Duration) {}

// unsent is not known here.
func (c *Line) unsent() int { return 0 }
