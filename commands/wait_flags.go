package commands

import (
	"bufio"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imapfs/fs"
)

// watchedFlags is the flags of the messages of a mounted folder, as they were.
type watchedFlags struct {
	path    string    // of the file that tells them
	changed time.Time // its date
	names   []string  // of messages, in the order of the file
	words   map[string]string
}

func newWatchedFlags(dir string) (watchedFlags, error) {
	f := watchedFlags{path: filepath.Join(dir, fs.FolderFlagsName)}
	if err := f.read(); err != nil {
		return f, fmt.Errorf("cannot read the flags of %s: %v", dir, err)
	}
	return f, nil
}

// look returns the messages whose flags have changed since the last look, by the names of
// their directories, with the flags that they have now. If the server is away, there are
// none.
func (f *watchedFlags) look() iter.Seq2[string, string] {
	return func(yield func(name, words string) bool) {
		info, err := os.Stat(f.path)
		if err != nil || info.ModTime().Equal(f.changed) {
			return
		}
		before := f.words
		if f.read() != nil {
			return
		}
		for _, name := range f.names {
			if was, known := before[name]; known && was != f.words[name] && !yield(name, f.words[name]) {
				return
			}
		}
	}
}

// read takes in what the file says.
func (f *watchedFlags) read() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	now := watchedFlags{path: f.path, changed: info.ModTime(), words: make(map[string]string)}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20) // a server may tell any number of flags
	for lines.Scan() {
		name, words, _ := strings.Cut(lines.Text(), " ")
		now.names, now.words[name] = append(now.names, name), words
	}
	if err := lines.Err(); err != nil {
		return err
	}
	*f = now
	return nil
}
