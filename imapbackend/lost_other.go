//go:build !linux

package imapbackend

import (
	"net"
	"time"
)

func setUserTimeout(net.Conn, time.Duration) error { return nil }
