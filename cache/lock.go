package cache

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another process has the directory.
var ErrInUse = errors.New("the cache is in use by another imapfs")

// lockName is the file whose lock (flock) says who has the directory. The lock
// ends with the process, however it ends.
const lockName = "lock"

// lock takes the directory for this process. Closing the file gives it back.
func lock(root *os.Root) (*os.File, error) {
	// Accounts holds the lock for a moment; so one try is not enough.
	file, err := tryLock(root)
	for try := 1; errors.Is(err, ErrInUse) && try < 5; try++ {
		time.Sleep(20 * time.Millisecond)
		file, err = tryLock(root)
	}
	return file, err
}

func tryLock(root *os.Root) (*os.File, error) {
	file, err := root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == unix.EWOULDBLOCK || err == nil && removed(root, file) {
		err = ErrInUse
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	return file, nil
}

// removed tells whether Clear has removed the file before it was locked.
func removed(root *os.Root, file *os.File) bool {
	opened, _ := file.Stat()
	named, _ := root.Lstat(lockName)
	return !os.SameFile(opened, named)
}
