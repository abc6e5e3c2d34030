package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Within is how long anything here may take; a failure then, never a hang.
const Within = 2 * time.Minute

// Must ends a test that cannot go on after err.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until ok holds.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(Within)
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("still not: %s", what)
		}
	}
}

// Run runs a program on the mount and returns what it prints. Anything on
// standard error fails the test: tar and rsync tell of changed files there.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*Within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

// Rmdir has rmdir(1) remove a directory: what it says of a message that still shows files,
// and means. The error is an errno where it tells one.
func Rmdir(dir string) error {
	cmd := exec.Command("rmdir", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	why := strings.TrimSpace(string(out[bytes.LastIndex(out, []byte(": "))+1:]))
	for errno := syscall.Errno(1); errno < 134; errno++ {
		if strings.EqualFold(errno.Error(), why) {
			return errno
		}
	}
	return fmt.Errorf("%w: %s", err, out)
}

// Need skips a test where a program is not installed.
func Need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}
