package harness

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Names lists a directory.
func Names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	Must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// Read reads a file.
func Read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	Must(t, err)
	return b
}

// FirstUID is the name of a message in a folder.
func FirstUID(t *testing.T, folder string) string {
	t.Helper()
	for _, name := range Names(t, folder) {
		if _, err := strconv.Atoi(name); err == nil {
			return name
		}
	}
	t.Fatalf("no message in %s", folder)
	return ""
}

// Hashes returns the SHA-256 of each file below dir, by its path there.
func Hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	eachFile(t, dir, func(path string, b []byte) { sums[path] = fmt.Sprintf("%x", sha256.Sum256(b)) })
	return sums
}

// Contents reads each file below dir, by its path there.
func Contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	eachFile(t, dir, func(path string, b []byte) { all[path] = b })
	return all
}

// TryContents is Contents where reading can fail for a while.
func TryContents(dir string) (map[string][]byte, error) {
	all := make(map[string][]byte)
	err := walkFiles(dir, func(path string, b []byte) { all[path] = b })
	return all, err
}

func eachFile(t *testing.T, dir string, f func(path string, b []byte)) {
	t.Helper()
	Must(t, walkFiles(dir, f))
}

func walkFiles(dir string, f func(path string, b []byte)) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path, err = filepath.Rel(dir, path)
		f(path, b)
		return err
	})
}

// Tree returns names, sizes and contents of all files, read with a fresh look.
func Tree(t *testing.T, dir string) string {
	t.Helper()
	return Run(t, "sh", "-c", `cd "$1" && find . -type f -printf '%p %s\n' | sort && find . -type f | sort | xargs -d '\n' sha256sum`, "sh", dir)
}

// SameTree compares what tree has returned.
func SameTree(t *testing.T, what, got, want string) {
	t.Helper()
	have := make(map[string]bool)
	for line := range strings.Lines(want) {
		have[line] = true
	}
	for line := range strings.Lines(got) {
		if !have[line] {
			t.Errorf("%s: %s is new", what, strings.TrimSpace(line))
		}
		delete(have, line)
	}
	for line := range have {
		t.Errorf("%s: %s is gone", what, strings.TrimSpace(line))
	}
}

// gap is what ls leaves between two names on a line.
var gap = regexp.MustCompile(`\n|  +`)

// Shown are the lines of a text, or what stands in the columns of them, in order.
func Shown(text string) []string {
	var list []string
	for _, s := range gap.Split(text, -1) {
		if s = strings.Trim(strings.TrimSpace(s), "'"); s != "" {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	return list
}
