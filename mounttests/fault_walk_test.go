package mounttests

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// walker opens, stats and reads one file after the other, and looks how long
// each system call takes.
type walker struct {
	r    *faultRun
	quit chan struct{}

	wrong   []string
	late    int
	slowest time.Duration
}

func newWalker(r *faultRun) *walker { return &walker{r: r, quit: make(chan struct{})} }

func (w *walker) stop() { close(w.quit) }

// start walks until stop, over and over. The channel is closed at the end.
func (w *walker) start() <-chan struct{} {
	done := make(chan struct{})
	files := slices.Sorted(maps.Keys(w.r.truth))
	go func() {
		defer close(done)
		ticker := time.NewTicker(2 * time.Millisecond) // the job needs the processor too
		defer ticker.Stop()
		for i := 0; ; i = (i + 1) % len(files) {
			select {
			case <-w.quit:
				return
			case <-ticker.C:
			}
			if !strings.HasPrefix(files[i], "After/") {
				w.file(files[i])
			}
		}
	}()
	return done
}

// call runs one system call and looks how long it takes.
func (w *walker) call(f func() error) error {
	began := time.Now()
	err := f()
	took := time.Since(began)
	w.slowest = max(w.slowest, took)
	if took > faultTimeout+faultMargin {
		w.late++
	}
	return err
}

// file looks at one file. That it cannot be read is no wrong answer, but that
// it does not exist is one.
func (w *walker) file(rel string) {
	path := filepath.Join(w.r.mnt, rel)
	gone := func(err error) bool {
		if errors.Is(err, fs.ErrNotExist) && !w.r.deletes(rel) {
			w.wrong = append(w.wrong, rel+": No such file or directory")
		}
		return err != nil
	}
	if gone(w.call(func() error { _, err := os.Stat(path); return err })) {
		return
	}
	if rel == largeFile && w.r.job != "cat 5 MB" {
		return // not for each of the jobs
	}
	var fd int
	err := w.call(func() (err error) { fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); return err })
	if gone(err) {
		return
	}
	f := os.NewFile(uintptr(fd), path)
	defer w.call(f.Close)
	gone(w.call(func() error { _, err := f.Stat(); return err }))
	var got []byte
	buffer := make([]byte, 128<<10)
	for {
		var n int
		err := w.call(func() (err error) { n, err = f.Read(buffer); return err })
		got = append(got, buffer[:n]...)
		if err != nil {
			gone(err)
			w.wrong = append(w.wrong, w.r.compare(rel, got, err != io.EOF)...)
			return
		}
	}
}
