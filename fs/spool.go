package fs

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

const (
	spoolInMemory  = 1 << 20   // bytes of one spool, before it goes into a file
	spoolsInMemory = 32 << 20  // of all
	spoolMost      = 1 << 30   // that one may have at all
	spoolLeaves    = 256 << 20 // free where the files are, for others
)

// spools is what all that is being written takes of memory.
type spools struct {
	mu     sync.Mutex // guards memory
	memory int64      // bytes
}

// grow changes the share of one spool, unless there is no room.
func (s *spools) grow(by int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by > 0 && s.memory+by > spoolsInMemory {
		return false
	}
	s.memory += by
	return true
}

// spool is the content of a file while it is written: in memory, and once it is large
// in a file that has no name, so that nothing is left of it whatever ends the program.
// What was never written in between is zeros. Its errors are syscall.Errno.
type spool struct {
	all *spools

	// mu guards what follows. It is held while the file is read or written, and
	// nothing is locked or asked for under it but the share of memory.
	mu     sync.RWMutex
	memory []byte   // all there is, until there is a file
	file   *os.File // nil at first
	length int64    // bytes
	freed  bool
}

func (s *spool) size() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.length
}

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.freed:
		return 0, syscall.EIO
	case off >= s.length:
		return 0, io.EOF
	case s.file != nil:
		n, err := s.file.ReadAt(p, off)
		if err != nil && err != io.EOF {
			err = syscall.EIO
		}
		return n, err
	}
	n := copy(p, s.memory[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt: EFBIG where that makes too large a file, ENOSPC
// where there is no room for it.
func (s *spool) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := off + int64(len(p))
	if err := s.reach(max(end, s.length)); err != nil {
		return 0, err
	}
	if s.file == nil {
		return copy(s.memory[off:], p), nil
	}
	if !s.room(int64(len(p))) {
		return 0, syscall.ENOSPC
	}
	n, err := s.file.WriteAt(p, off)
	s.length = max(s.length, off+int64(n))
	return n, spoolError(err)
}

// Truncate makes the content size bytes long; its errors are those of WriteAt.
func (s *spool) Truncate(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reach(size); err != nil {
		return err
	}
	if s.file != nil {
		if err := s.file.Truncate(size); err != nil {
			return spoolError(err)
		}
	} else if size < s.length {
		s.all.grow(size - s.length)
		s.memory = s.memory[:size]
	}
	s.length = size
	return nil
}

// reach sees to it that the content can be size bytes long: in memory it is so long
// then, if it was not longer. The caller holds mu.
func (s *spool) reach(size int64) error {
	more := size - int64(len(s.memory))
	switch {
	case s.freed:
		return syscall.EIO
	case size > spoolMost:
		return syscall.EFBIG
	case s.file != nil || more <= 0:
		return nil
	case size > spoolInMemory || !s.all.grow(more):
		return s.toFile()
	}
	s.memory = append(s.memory, make([]byte, more)...)
	s.length = size
	return nil
}

// toFile takes the content from memory into a file. The caller holds mu.
func (s *spool) toFile() error {
	f, err := os.CreateTemp("", "imapfs-")
	if err != nil {
		return spoolError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return spoolError(err)
	}
	if _, err := f.WriteAt(s.memory, 0); err != nil {
		f.Close()
		return spoolError(err)
	}
	s.all.grow(-int64(len(s.memory)))
	s.file, s.memory = f, nil
	return nil
}

// room tells whether there is room for n bytes more where the file is.
func (s *spool) room(n int64) bool {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(s.file.Fd()), &st); err != nil {
		return true // the write will tell
	}
	free := uint64(st.Bavail) * uint64(st.Bsize)
	return free >= uint64(n)+spoolLeaves
}

func spoolError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return syscall.ENOSPC
	}
	return syscall.EIO
}

// free gives back what the content takes. Nobody can read it afterwards.
func (s *spool) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed {
		return
	}
	s.freed = true
	s.all.grow(-int64(len(s.memory)))
	s.memory = nil
	if s.file != nil {
		s.file.Close()
	}
}
