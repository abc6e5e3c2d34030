package mounttests

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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
