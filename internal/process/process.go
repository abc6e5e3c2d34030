// Package process runs the mail servers of the tests: each in a process group
// of its own, on a port of loopback that was free.
package process

import (
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"time"
)

// FreeAddr returns a host:port on loopback on which nobody listens.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Start starts cmd, and waits up to 10 seconds until it greets on addr: some
// servers accept connections before they can serve them. The caller has to Kill
// it, also after an error.
func Start(cmd *exec.Cmd, addr string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-ticker.C {
		if greets(addr, end) {
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

// Kill ends cmd and all that it has started, at once. It does nothing if cmd
// was not started or has ended.
func Kill(cmd *exec.Cmd) {
	if cmd != nil && cmd.Process != nil && cmd.ProcessState == nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}
}
