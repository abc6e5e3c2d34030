package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"imapfs/internal/dovecot"
)

// mount is a mounted tree with the process that serves it.
type mount struct {
	dir    string
	cache  string // directory of the cache on disk, which goes with the mount; "" for none
	cmd    *exec.Cmd
	log    *readyLog
	exited chan struct{}
	err    error // of the process, once it has exited
}

// mounted is the start of the line on standard error that says that imapfs
// serves the mount.
const mounted = "imapfs: mounted "

// mountMail mounts the account through a network with imapfs, freshly built
// and with nothing in its cache.
func (b *bench) mountMail(ctx context.Context, n *network, flags ...string) (*mount, error) {
	cache, err := os.MkdirTemp(b.dir, "cache")
	if err != nil {
		return nil, err
	}
	m, err := b.remount(ctx, n, "", cache, flags...)
	if err == nil {
		m.cache = cache
	}
	return m, err
}

// remount mounts one folder, or all with "", with a cache that an earlier mount
// has left and that stays. The network has to be the same: the cache belongs to
// the server's address.
func (b *bench) remount(ctx context.Context, n *network, folder, cache string, flags ...string) (*mount, error) {
	dir, err := os.MkdirTemp(b.dir, "mount")
	if err != nil {
		return nil, err
	}
	return startMount(ctx, b.mountCommand(n, folder, cache, dir, flags...), dir, mounted)
}

// mountCommand mounts one folder, or all with "", on dir, with the cache on disk
// below the directory cache.
func (b *bench) mountCommand(n *network, folder, cache, dir string, flags ...string) *exec.Cmd {
	source := "imap://" + dovecot.User + "@" + n.relay.addr + "/" + folder
	cmd := exec.Command(b.imapfs, append(append([]string{"--insecure"}, flags...), source, dir)...)
	cmd.Env = append(os.Environ(), "IMAPFS_PASSWORD="+dovecot.Password, "XDG_CACHE_HOME="+cache, "IMAPFS_SOAK="+socket(dir))
	return cmd
}

// socket is where the process that mounts on dir tells of itself, if it was built
// with the tag soak (watched.go).
func socket(dir string) string { return dir + ".socket" }

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
	case <-m.log.ready:
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
	m := &mount{dir: dir, cmd: cmd, log: &readyLog{word: ready, ready: make(chan struct{})}, exited: make(chan struct{})}
	cmd.Stderr = m.log
	// Ctrl-C in a terminal reaches all processes of its group; this one is to
	// unmount only when nobody uses the mount any more.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		m.err = cmd.Wait()
		close(m.exited)
	}()
	return m, nil
}

// close unmounts and waits for the process.
func (m *mount) close() error {
	if m.cache != "" {
		defer os.RemoveAll(m.cache)
	}
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
	exec.Command("fusermount3", "-u", "-z", m.dir).Run()
	os.Remove(m.dir)
	return fmt.Errorf("%s did not unmount within 20 seconds, and was killed", filepath.Base(m.cmd.Path))
}

// peakMemory is the most memory that the process had, in bytes.
func (m *mount) peakMemory() (int64, error) {
	kB, err := statusField(m.cmd.Process.Pid, "VmHWM:")
	return kB << 10, err
}

// readyLog keeps what a process writes to standard error, and closes ready
// when a line begins with word.
type readyLog struct {
	word  string
	ready chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	seen bool
}

func (l *readyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if !l.seen && strings.Contains("\n"+l.text.String(), "\n"+l.word) {
		l.seen = true
		close(l.ready)
	}
	return len(p), nil
}

func (l *readyLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.text.String())
}
