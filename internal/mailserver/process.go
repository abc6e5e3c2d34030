package mailserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"time"
)

// FreeAddr returns a host:port on loopback on which nobody listens. It is not
// one that the system gives to connections by itself, Linux from 32768 on: such
// a one could be gone before the server has it, or has it again after a restart.
func FreeAddr() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("no free port on loopback")
}

// startAndGreet starts cmd, and waits up to 10 seconds until it greets on addr:
// some servers accept connections before they can serve them.
func startAndGreet(cmd *exec.Cmd, addr string) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-ticker.C {
		// A connection that came too early may stay silent for ever.
		if greets(addr, time.Now().Add(2*time.Second)) {
			return nil
		}
	}
	return fmt.Errorf("no greeting on %s", addr)
}

func greets(addr string, deadline time.Time) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(deadline)
	n, _ := c.Read(make([]byte, 4))
	return n > 0
}
