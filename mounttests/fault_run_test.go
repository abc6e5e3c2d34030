package mounttests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapfs/internal/harness"
)

// faultRun is one job with one fault.
type faultRun struct {
	truth map[string][]byte
	mnt   string // where the folders are
	out   string
	job   string

	walk      *walker
	struck    bool
	jobFailed bool
	lost      int
	recovery  time.Duration // from the end of the fault until all works again
}

func (r *faultRun) run(t *testing.T, s server, f fault, job faultJob, at int64) {
	l := newLine(t, s.Account)
	connections := "4"
	switch f.name {
	case "reset":
		l.resettable(t)
	case cutAfter:
		connections = "1" // so that the bytes of the job are those of the connection
	}
	r.mnt = l.Top(harness.Mount(t, l.Account, "--timeout", faultTimeout.String(), "--connections", connections))
	r.out, r.job = filepath.Join(t.TempDir(), "out"), job.name
	r.walk = newWalker(r)

	tripped, placed := l.wire.arm(at)
	if f.name == cutAfter {
		harness.Must(t, l.disturb("limit_data", "downstream", fmt.Sprintf(`"bytes": %d`, at)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Within)
	defer cancel()
	args := job.command(r.mnt, r.out)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	harness.Must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.jobFailed = cmd.Wait() != nil
	}()
	select {
	case <-tripped:
		r.struck = true
	case <-ended:
		l.wire.disarm()
	}
	walked := r.walk.start()
	harness.Must(t, f.strike(s, l))
	close(placed)
	<-time.After(f.lasts)
	l.heal(t)
	if f.end != nil {
		harness.Must(t, f.end(s, l))
	}
	healed := time.Now()
	<-ended
	if ctx.Err() != nil {
		t.Errorf("%s does not end", job.name)
	}
	r.walk.stop()
	select {
	case <-walked:
	case <-time.After(harness.Within):
		t.Fatal("a system call hangs")
	}

	// This was never read before, so it needs the server.
	after := filepath.Join(r.mnt, "After", "1", "body.txt")
	harness.Eventually(t, "a read after healing works", func() bool { _, err := os.ReadFile(after); return err == nil })
	r.recovery = time.Since(healed)

	r.walk.wrong = append(r.walk.wrong, job.check(r, stdout.Bytes(), stderr.String())...)
	failed := r.checkServer(t, s, stderr.String())
	// Now all that is left can be read, without any error.
	for rel, want := range r.truth {
		if r.deletes(rel) {
			continue
		}
		got, err := os.ReadFile(filepath.Join(r.mnt, rel))
		if err != nil {
			t.Errorf("after healing: %v", err)
		} else if !bytes.Equal(got, want) {
			r.walk.wrong = append(r.walk.wrong, rel+" after healing")
		}
	}
	for _, w := range r.walk.wrong {
		t.Errorf("wrong: %s", w)
	}
	if r.walk.late > 0 {
		t.Errorf("%d calls took too long, up to %v", r.walk.late, r.walk.slowest)
	}
	if t.Failed() || r.jobFailed {
		t.Logf("%d messages that rm could not delete; the job said:\n%s", failed, stderr.String())
	}
}

// deletes tells whether rel is in a message that the job deletes.
func (r *faultRun) deletes(rel string) bool {
	parts := strings.Split(rel, "/")
	if r.job != "rm -r" || parts[0] != faultFolder {
		return false
	}
	uid, err := strconv.Atoi(parts[1])
	return err == nil && slices.Contains(removed, uid)
}

// checkServer compares what the server has with what rm said. It returns how
// many deletions rm reported as failed.
func (r *faultRun) checkServer(t *testing.T, s server, said string) (failed int) {
	t.Helper()
	c := s.Client(t)
	there := map[int]bool{}
	for _, m := range harness.Messages(t, c, s.Mailbox(faultFolder)) {
		there[int(m.UID)] = true
	}
	for uid := 1; uid <= faultMessages; uid++ {
		rel := faultFolder + "/" + strconv.Itoa(uid)
		reported := strings.Contains(said, filepath.Join(r.mnt, rel)+"'") || strings.Contains(said, filepath.Join(r.mnt, rel)+"/")
		switch {
		case !r.deletes(rel):
			if !there[uid] {
				r.lost++
				t.Errorf("message %d is lost", uid)
			}
		case reported:
			failed++
		case there[uid]:
			t.Errorf("rm says that it has deleted message %d, but the server still has it", uid)
		}
	}
	for _, folder := range []string{"Large", "After"} {
		if len(harness.Messages(t, c, s.Mailbox(folder))) != 1 {
			r.lost++
			t.Errorf("the message of %s is lost", folder)
		}
	}
	return failed
}

// excused tells whether a program has reported path, or a directory above it.
func excused(said, path string) bool {
	for p := path; len(p) > 1; p = filepath.Dir(p) {
		if strings.Contains(said, "'"+p+"'") || strings.Contains(said, "grep: "+p+": ") || strings.Contains(said, "cat: "+p+": ") {
			return true
		}
	}
	return false
}

// compare says what is wrong with got. What was reported to have failed may be
// cut or missing, but not different.
func (r *faultRun) compare(rel string, got []byte, failed bool) []string {
	want := r.truth[rel]
	switch {
	case failed && !bytes.HasPrefix(want, got):
		return []string{fmt.Sprintf("%s: %d bytes are not the first of its %d (an error was reported)", rel, len(got), len(want))}
	case !failed && !bytes.Equal(got, want):
		return []string{fmt.Sprintf("%s: %d bytes instead of its %d, without an error", rel, len(got), len(want))}
	}
	return nil
}

// checkGrep takes the lines of each file together again.
func checkGrep(r *faultRun, stdout []byte, stderr string) (wrong []string) {
	found := map[string][]byte{}
	for line := range bytes.Lines(stdout) {
		path, text, _ := bytes.Cut(line, []byte(":"))
		rel, err := filepath.Rel(r.mnt, string(path))
		if err != nil || r.truth[rel] == nil {
			wrong = append(wrong, fmt.Sprintf("grep printed %.60q", line))
			continue
		}
		found[rel] = append(found[rel], text...)
	}
	for rel, want := range r.truth {
		if !strings.HasPrefix(rel, faultFolder+"/") {
			continue
		}
		got, failed := found[rel], excused(stderr, filepath.Join(r.mnt, rel))
		// grep ends the last line even where the file does not.
		if n := len(got); n > 0 && n != len(want) && !bytes.HasPrefix(want, got) || n == len(want)+1 {
			got = got[:n-1]
		}
		wrong = append(wrong, r.compare(rel, got, failed)...)
	}
	return wrong
}

func checkCopy(r *faultRun, _ []byte, stderr string) (wrong []string) {
	for rel := range r.truth {
		below, ok := strings.CutPrefix(rel, faultFolder+"/")
		if !ok {
			continue
		}
		got, err := os.ReadFile(filepath.Join(r.out, below))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, err.Error())
		}
		failed := excused(stderr, filepath.Join(r.mnt, rel))
		if err != nil && !failed {
			wrong = append(wrong, rel+": not copied, without an error")
			continue
		}
		wrong = append(wrong, r.compare(rel, got, failed)...)
	}
	return wrong
}

func checkCat(r *faultRun, stdout []byte, _ string) []string {
	return r.compare(largeFile, stdout, r.jobFailed)
}
