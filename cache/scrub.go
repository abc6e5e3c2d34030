package cache

import (
	"fmt"
	"os"
	"slices"
)

// A database page that is not used any more keeps what was in it until it is
// used again: mail that was deleted could be read in the file for years. So the
// pages are followed as they become free, and emptied when something was
// deleted.

// freePages are the pages of a database that are free, in order, and those of
// them that may hold something.
type freePages struct {
	all, dirty []uint64
}

// follow takes in which pages are free after a commit.
func (f *freePages) follow(file *os.File) error {
	c := &checker{file: file}
	_, list, found := c.meta()
	if !found {
		return fmt.Errorf("%w: no meta page", errDamaged)
	}
	all, err := c.freeList(list)
	if err != nil {
		return err
	}
	slices.Sort(all)
	dirty := make([]uint64, 0, len(f.dirty))
	for _, id := range all {
		_, wasFree := slices.BinarySearch(f.all, id)
		_, wasDirty := slices.BinarySearch(f.dirty, id)
		if wasDirty || !wasFree {
			dirty = append(dirty, id)
		}
	}
	f.all, f.dirty = all, dirty
	return nil
}

// scrub empties the dirty pages. Nobody may read the database meanwhile who
// has begun before the last commit.
func (f *freePages) scrub(file *os.File) error {
	for i := 0; i < len(f.dirty); {
		n := 1
		for i+n < len(f.dirty) && f.dirty[i+n] == f.dirty[i]+uint64(n) {
			n++
		}
		if err := empty(file, int64(f.dirty[i])*databasePage, int64(n)*databasePage); err != nil {
			return err
		}
		i += n
	}
	f.dirty = nil
	return nil
}

// zero writes zeros.
func zero(file *os.File, off, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for size > 0 {
		n, err := file.WriteAt(zeros[:min(size, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, size = off+int64(n), size-int64(n)
	}
	return nil
}
