package wire

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// noticeLoss has the kernel end the connection when a third of timeout has passed since
// something was sent that the other side has not taken in (tcp(7), TCP_USER_TIMEOUT).
func noticeLoss(conn net.Conn, timeout time.Duration) {
	if raw, err := conn.(*net.TCPConn).SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, max(int(timeout.Milliseconds()/3), 1))
		})
	}
}

// unsent returns how many bytes were written that the other side has not taken in
// (tcp(7), SIOCOUTQ).
func (c *Line) unsent() (n int) {
	conn, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return 0
	}
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	}
	return n
}
