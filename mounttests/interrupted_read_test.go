package mounttests

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imapfs/internal/harness"
)

// TestInterruptedRead interrupts a program that waits for the server. It ends
// at once, and the fetch that it began goes on for whoever asks next.
func TestInterruptedRead(t *testing.T) {
	harness.Need(t, "cat")
	l := newLine(t, harness.DovecotAccount(faultMail(t)))
	p := harness.NewProxy(t, l.Account) // keeps the commands
	mnt := harness.Mount(t, p.Account, "--timeout", "1h", "--poll", "1h")
	path := filepath.Join(mnt, faultFolder, "7", "body.txt")
	if _, err := os.Stat(path); err != nil { // all but the content is known then
		t.Fatal(err)
	}
	before := p.Sent("FETCH")

	tripped, placed := l.wire.arm(1) // holds the next answer back
	// What runs in the background of a shell ignores SIGINT, and so would cat;
	// what is caught here has its default there.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt)
	defer signal.Stop(caught)
	cat := exec.Command("cat", path)
	harness.Must(t, cat.Start())
	<-tripped
	harness.Must(t, cat.Process.Signal(os.Interrupt))
	ended := make(chan error, 1)
	go func() { ended <- cat.Wait() }()
	select {
	case err := <-ended:
		status := cat.ProcessState.Sys().(syscall.WaitStatus)
		if !status.Signaled() || status.Signal() != syscall.SIGINT {
			t.Errorf("cat ended with %v, want SIGINT", err)
		}
	case <-time.After(harness.Within):
		t.Error("cat does not end")
	}
	fetched := p.Sent("FETCH")
	if len(fetched) != len(before)+1 {
		t.Errorf("before cat: %q, with it: %q; want one FETCH more", before, fetched)
	}

	close(placed) // the answer comes
	if got := harness.Run(t, "cat", path); !strings.Contains(got, "Line 39 of message 7 says ") {
		t.Errorf("the next cat prints %q", got)
	}
	if again := p.Sent("FETCH"); !slices.Equal(again, fetched) {
		t.Errorf("the next cat asked again: %q, after %q", again, fetched)
	}
}

// TestReadWithSignals has a program handle a signal while it waits for the server: a timer's,
// or one of those with which Go's own scheduler stops threads. The read goes on.
func TestReadWithSignals(t *testing.T) {
	l := newLine(t, harness.DovecotAccount(faultMail(t)))
	mnt := harness.Mount(t, l.Account, "--timeout", "1h", "--poll", "1h")
	path := filepath.Join(mnt, faultFolder, "7", "body.txt")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	tripped, placed := l.wire.arm(1) // holds the next answer back
	type answer struct {
		text string
		err  error
	}
	reader := make(chan int, 1)
	read := make(chan answer, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		reader <- unix.Gettid()
		text, err := readOnce(path)
		read <- answer{text, err}
	}()
	thread := <-reader
	<-tripped
	harness.Must(t, unix.Tgkill(unix.Getpid(), thread, syscall.SIGURG))
	// When the kernel has told of the signal, the thread waits without being woken by another.
	harness.Eventually(t, "the signal is there", func() bool {
		status, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(thread) + "/status")
		harness.Must(t, err)
		return strings.Contains(string(status), "State:\tD") || len(read) > 0
	})
	harness.Must(t, unix.Statfs(mnt, new(unix.Statfs_t))) // and imapfs has heard of it before this
	close(placed)
	select {
	case got := <-read:
		if got.err != nil || !strings.Contains(got.text, "Line 39 of message 7 says ") {
			t.Errorf("got %q, %v", got.text, got.err)
		}
	case <-time.After(harness.Within):
		t.Error("the read does not end")
	}
}

// readOnce reads a file with as few system calls as there are, and none again after EINTR.
func readOnce(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 1<<20)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}
