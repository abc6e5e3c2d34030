package cache

import (
	"errors"
	"fmt"
	"io/fs"
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
	for try := 0; ; try++ {
		file, err := tryLock(root)
		if !errors.Is(err, ErrInUse) || try == 4 {
			return file, err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tryLock(root *os.Root) (*os.File, error) {
	file, err := root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.EWOULDBLOCK {
		err = ErrInUse
	}
	if err == nil {
		// Clear may have removed the file before it was locked.
		var named, opened fs.FileInfo
		if opened, err = file.Stat(); err == nil {
			if named, err = root.Lstat(lockName); err != nil || !os.SameFile(named, opened) {
				err = ErrInUse
			}
		}
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	return file, nil
}
