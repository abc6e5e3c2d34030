package cache

import (
	"fmt"
	"os"
	"slices"
)

// scrub empties the database's pages that have become free, if something was
// deleted: such a page keeps what was in it until it is used again, so mail that
// was deleted could be read in the file for years. It is called after a commit.
func (s *store) scrub(deleted bool) error {
	if err := s.followFree(); err != nil || !deleted {
		return err
	}
	s.scrubbing.Lock() // nobody reads who has begun before the commit
	defer s.scrubbing.Unlock()
	for i, n := 0, 1; i < len(s.dirty); i, n = i+n, 1 {
		for i+n < len(s.dirty) && s.dirty[i+n] == s.dirty[i]+uint64(n) {
			n++
		}
		if err := empty(s.file, int64(s.dirty[i])*databasePage, int64(n)*databasePage); err != nil {
			return err
		}
	}
	s.dirty = nil
	return nil
}

// followFree notes which pages are free, in order, and those of them that may
// hold something.
func (s *store) followFree() error {
	c := &checker{file: s.file}
	_, list, found := c.meta()
	if !found {
		return fmt.Errorf("%w: no meta page", errDamaged)
	}
	free, err := c.freeList(list)
	if err != nil {
		return err
	}
	slices.Sort(free)
	dirty := slices.DeleteFunc(slices.Clone(free), func(id uint64) bool {
		_, wasFree := slices.BinarySearch(s.free, id)
		_, wasDirty := slices.BinarySearch(s.dirty, id)
		return wasFree && !wasDirty
	})
	s.free, s.dirty = free, dirty
	return nil
}

// zero writes zeros.
func zero(file *os.File, off, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for end := off + size; off < end; off += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(end-off, int64(len(zeros)))], off); err != nil {
			return err
		}
	}
	return nil
}
