package mounttests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// TestCorpus shows 6,046 real messages through Dovecot, byte for byte, to every
// tool, within the memory that was promised.
func TestCorpus(t *testing.T) {
	all := corpus(t)
	s := dovecot.Start(t, dovecot.Options{Extra: dovecot.Compress})
	s.Deliver(t, all...)
	a := harness.DovecotAccount(s)

	mnt, p := harness.MountProcess(t, a, "--cache-size", "64M")
	list := harness.Names(t, filepath.Join(mnt, "INBOX"))
	if len(list) != len(all) {
		t.Fatalf("%d messages are listed, want %d", len(list), len(all))
	}
	for _, m := range harness.Messages(t, a.Client(t), "INBOX") {
		harness.SameFiles(t, filepath.Join(mnt, "INBOX", fmt.Sprint(m.UID)), m.Raw)
	}
	harness.Hashes(t, mnt)
	peak := peakMemory(t, p.Cmd.Process.Pid)
	t.Logf("peak memory %d MB", peak>>20)
	if peak > (64+100)<<20 && !raceDetector() {
		t.Errorf("peak memory %d MB, want at most 64 + 100", peak>>20)
	}
	harness.ToolsAgree(t, a, len(all))
}

// raceSample is the step through the corpus under the race detector, which makes
// everything several times slower: every tenth message in the order of their
// paths, so as many of each of its five groups as fits its size. Races are
// between goroutines that serve many messages, not within the bytes of one.
const raceSample = 10

// corpus returns real mail: the SpamAssassin public corpus, which
// testdata/fetch-corpus puts into testdata/corpus, or a sample of it under the
// race detector.
func corpus(t *testing.T) [][]byte {
	t.Helper()
	dir := os.Getenv("IMAPFS_CORPUS")
	if dir == "" {
		dir = harness.Testdata("corpus")
	}
	var files []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txt") {
			files = append(files, path)
		}
		return nil
	})
	if len(files) == 0 {
		t.Skip("no corpus; get it with testdata/fetch-corpus")
	}
	sort.Strings(files)
	step := 1
	if raceDetector() {
		step = raceSample
	}
	var all [][]byte
	for i := 0; i < len(files); i += step {
		all = append(all, harness.Read(t, files[i]))
	}
	return all
}

// raceDetector tells whether it is on: it multiplies memory.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// peakMemory returns the largest resident size of a process so far, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	for line := range strings.Lines(string(harness.Read(t, fmt.Sprintf("/proc/%d/status", pid)))) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			harness.Must(t, err)
			return kb << 10
		}
	}
	t.Fatal("the kernel does not tell the peak memory")
	return 0
}
