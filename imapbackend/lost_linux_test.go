package imapbackend

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDeadConnection has a connection that takes in nothing any more, as behind
// a router that was started anew: no end of it comes, and new connections work.
// A read finds out and gets what it wants long before its time is over.
func TestDeadConnection(t *testing.T) {
	for name, deafen := range map[string]func(t *testing.T, server *stopping, client net.Conn){
		"nothing is acknowledged": func(t *testing.T, server *stopping, _ net.Conn) { deafen(t, server.Conn) },
		"the window is closed":    func(t *testing.T, server *stopping, client net.Conn) { fill(t, server, client) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			s.wrap = func(c net.Conn) net.Conn {
				c.(*net.TCPConn).SetReadBuffer(4096)
				return &stopping{Conn: c, stopped: make(chan struct{})}
			}
			cfg := s.start(t)
			cfg.Timeout = 21 * time.Second // longer than soon waits
			b := listed(t, cfg)
			s.mu.Lock()
			dead := s.conns[0].(*stopping)
			s.mu.Unlock()
			t.Cleanup(func() { dead.Close() }) // it hears of no end
			b.pool.mu.Lock()
			client := b.pool.sessions[0].conn.Line.Conn
			b.pool.mu.Unlock()
			deafen(t, dead, client)
			soon(t, "reading", func() {
				if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
					t.Errorf("got %q, %v", got, err)
				}
			})
			if s.n != 2 {
				t.Errorf("%d connections, want 2", s.n)
			}
		})
	}
}

// stopping is a connection of which nothing more is read after stop, but for
// what is being read just then.
type stopping struct {
	net.Conn
	stop    atomic.Bool
	stopped chan struct{} // closed by Close
}

func (c *stopping) Read(p []byte) (int, error) {
	if c.stop.Load() {
		<-c.stopped
	}
	return c.Conn.Read(p)
}

func (c *stopping) Close() error {
	if c.stop.Swap(true) {
		close(c.stopped)
	}
	return c.Conn.Close()
}

// fill sends more than a server takes in that does not read. This needs no
// privilege.
func fill(t *testing.T, server *stopping, client net.Conn) {
	t.Helper()
	server.stop.Store(true)
	if err := client.(*net.TCPConn).SetWriteBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(make([]byte, 256<<10)); err != nil {
		t.Fatal(err)
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
	if errors.Is(serr, unix.EPERM) {
		t.Skip("this kernel has that for the privileged only")
	}
	if err != nil || serr != nil {
		t.Fatal(err, serr)
	}
}
