package imapbackend

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDeadConnection has a connection that takes in nothing any more, as behind
// a router that was started anew: no end of it comes, and new connections work.
// A read finds out and gets what it wants long before its time is over.
func TestDeadConnection(t *testing.T) {
	s := &script{}
	cfg := s.start(t)
	cfg.Timeout = 21 * time.Second // longer than soon waits
	b := listed(t, cfg)
	s.mu.Lock()
	dead := s.conns[0]
	s.mu.Unlock()
	t.Cleanup(func() { dead.Close() }) // it hears of no end
	deafen(t, dead)
	soon(t, "reading", func() {
		if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
			t.Errorf("got %q, %v", got, err)
		}
	})
	if s.n != 2 {
		t.Errorf("%d connections, want 2", s.n)
	}
}

// deafen has the kernel throw away what comes for a connection, without an
// answer.
func deafen(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var serr error
	err = raw.Control(func(fd uintptr) {
		serr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
	if err != nil || serr != nil {
		t.Fatal(err, serr)
	}
}
