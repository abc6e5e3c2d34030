//go:build !linux

package wire

import (
	"net"
	"time"
)

func noticeLoss(net.Conn, time.Duration) {}
