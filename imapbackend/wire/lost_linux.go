package wire

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout has the kernel end the connection when the other side has not
// taken in for so long what was sent (tcp(7), TCP_USER_TIMEOUT).
func setUserTimeout(conn net.Conn, after time.Duration) {
	if raw, err := conn.(*net.TCPConn).SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(after.Milliseconds()))
		})
	}
}
