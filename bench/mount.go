package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"imapfs/internal/dovecot"
)

// mount is a mounted tree with the process that serves it.
type mount struct {
	dir    string
	cmd    *exec.Cmd
	began  time.Time
	ready  chan struct{} // closed when it serves
	exited chan struct{} // closed when the process has ended, and log and err are so
	log    string        // its standard error
	err    error
}

// mounted is the start of the line on standard error that says that imapfs
// serves the mount.
const mounted = "imapfs: mounted "

// mount mounts one folder, or all with "", through a network with imapfs. The
// cache on disk is below the directory cache; it belongs to the server's
// address, so a later mount finds it on the same network alone. What goes over
// the network counts from here.
func (b *bench) mount(ctx context.Context, n *network, folder, cache string, flags ...string) (*mount, error) {
	dir, err := os.MkdirTemp(b.dir, "mount")
	if err != nil {
		return nil, err
	}
	n.relay.reset()
	return startMount(ctx, b.mountCommand(n.relay.addr, folder, cache, dir, flags...), dir, mounted)
}

// mountCommand mounts on dir what is at addr.
func (b *bench) mountCommand(addr, folder, cache, dir string, flags ...string) *exec.Cmd {
	source := "imap://" + dovecot.User + "@" + addr + "/" + folder
	cmd := exec.Command(b.imapfs, slices.Concat([]string{"--insecure"}, flags, []string{source, dir})...)
	cmd.Env = append(os.Environ(), "IMAPFS_PASSWORD="+dovecot.Password, "XDG_CACHE_HOME="+cache)
	return cmd
}

// mountMemory mounts a tree that another process of this program serves from
// memory. source is as in memoryTree.
func (b *bench) mountMemory(ctx context.Context, source string) (*mount, error) {
	dir, err := os.MkdirTemp(b.dir, "mount")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startMount(ctx, exec.Command(self, serveTree, source, dir), dir, treeMounted)
}

// startMount starts the process that mounts on dir, and waits until it says
// that it has.
func startMount(ctx context.Context, cmd *exec.Cmd, dir, ready string) (*mount, error) {
	m, err := beginMount(cmd, dir, ready)
	if err != nil {
		return nil, err
	}
	select {
	case <-m.ready:
		return m, nil
	case <-m.exited:
		return nil, fmt.Errorf("%s does not mount: %v: %s", filepath.Base(cmd.Path), m.err, m.log)
	case <-ctx.Done():
		m.close()
		return nil, ctx.Err()
	}
}

// beginMount is startMount without waiting.
func beginMount(cmd *exec.Cmd, dir, ready string) (*mount, error) {
	m := &mount{dir: dir, cmd: cmd, began: time.Now(), ready: make(chan struct{}), exited: make(chan struct{})}
	says, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	// Ctrl-C in a terminal reaches all processes of its group; this one is to
	// unmount only when nobody uses the mount any more.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.follow(bufio.NewReader(says), ready)
		m.err = cmd.Wait()
		close(m.exited)
	}()
	return m, nil
}

// follow reads what the process says, up to its end.
func (m *mount) follow(says *bufio.Reader, ready string) {
	served := false
	for {
		line, err := says.ReadString('\n')
		if m.log += line; !served && strings.HasPrefix(line, ready) {
			served = true
			close(m.ready)
		}
		if err != nil {
			return
		}
	}
}

// close unmounts and waits for the process.
func (m *mount) close() error {
	m.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-m.exited:
		if m.err != nil {
			return fmt.Errorf("%s: %v: %s", filepath.Base(m.cmd.Path), m.err, m.log)
		}
		return os.Remove(m.dir)
	case <-time.After(20 * time.Second):
	}
	m.cmd.Process.Kill()
	<-m.exited
	unmount(m.dir)
	os.Remove(m.dir)
	return fmt.Errorf("%s did not unmount within 20 seconds, and was killed", filepath.Base(m.cmd.Path))
}

// unmount takes away what a killed process has left.
func unmount(dir string) { exec.Command("fusermount3", "-u", "-z", dir).Run() }

// peakMemory is the most memory that the process had, in bytes.
func (m *mount) peakMemory() (int64, error) {
	kB, err := statusField(m.cmd.Process.Pid, "VmHWM:")
	return kB << 10, err
}

// statusField is a number in /proc/PID/status.
func statusField(pid int, field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in the status of process %d", field, pid)
}
