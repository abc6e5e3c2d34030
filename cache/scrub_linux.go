package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// empty makes zeros of a part of a file, and gives its place on the disk back
// where the file system can do that.
func empty(file *os.File, off, size int64) error {
	if unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, size) == nil {
		return nil
	}
	return zero(file, off, size)
}
