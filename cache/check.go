package cache

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// checkPages looks whether the pages of a bbolt database are a tree, and none of
// those is in its list of free pages. A page that is its own ancestor, or comes
// to be that by a wrong list, makes bbolt call itself until the program dies,
// and no recover helps. Leaves are not read: a store of 2 GiB takes some
// thousand small reads. What else may be wrong costs values at the most. The
// format is that of bbolt's internal/common: page.go, meta.go.
func checkPages(file io.ReaderAt, size int64) error {
	c := &checker{file: file}
	root, free, found := c.meta()
	if !found {
		return nil // bbolt says so itself
	}
	if size/c.pageSize < c.pages {
		return fmt.Errorf("%w: it was cut off", errDamaged)
	}
	c.seen = make([]uint64, c.pages/64+1)
	if err := c.walk(root, 0, true); err != nil {
		return err
	}
	return c.claimFree(free)
}

type checker struct {
	file     io.ReaderAt
	pageSize int64
	pages    int64
	seen     []uint64 // a bit for each page
}

// native is what bbolt uses.
var native = binary.NativeEndian

const (
	pageHeader   = 16
	element      = 16 // of a branch or a leaf
	branchPage   = 1
	leafPage     = 2
	freelistPage = 16
	deepest      = 20
)

// meta finds the newer meta page that is whole.
func (c *checker) meta() (root, free uint64, found bool) {
	var newest uint64
	for _, off := range []int64{0, databasePage} {
		b := make([]byte, pageHeader+64)
		if _, err := c.file.ReadAt(b, off); err != nil {
			continue
		}
		b = b[pageHeader:]
		sum := fnv.New64a()
		sum.Write(b[:56])
		pageSize := int64(native.Uint32(b[8:]))
		if native.Uint32(b) != 0xED0CDAED || native.Uint64(b[56:]) != sum.Sum64() || pageSize < 512 {
			continue
		}
		if txid := native.Uint64(b[48:]); !found || txid > newest {
			newest, found = txid, true
			root, free = native.Uint64(b[16:]), native.Uint64(b[32:])
			c.pageSize, c.pages = pageSize, int64(min(native.Uint64(b[40:]), 1<<40))
		}
	}
	return root, free, found
}

// claim notes that a page is used.
func (c *checker) claim(id uint64) error {
	if id < 2 || id >= uint64(c.pages) || c.seen[id/64]&(1<<(id%64)) != 0 {
		return fmt.Errorf("%w: page %d is used twice, or is not there", errDamaged, id)
	}
	c.seen[id/64] |= 1 << (id % 64)
	return nil
}

// header returns the header of a page.
func (c *checker) header(id uint64) (flags, count int, overflow int64, err error) {
	var b [pageHeader]byte
	if _, err := c.file.ReadAt(b[:], int64(id)*c.pageSize); err != nil {
		return 0, 0, 0, err
	}
	overflow = int64(native.Uint32(b[12:]))
	if native.Uint64(b[:]) != id || int64(id)+overflow >= c.pages {
		return 0, 0, 0, fmt.Errorf("%w: page %d", errDamaged, id)
	}
	return int(native.Uint16(b[8:])), int(native.Uint16(b[10:])), overflow, nil
}

// page reads a page: what it is, how many elements it has, and what is behind
// its header.
func (c *checker) page(id uint64) (flags, count int, b []byte, err error) {
	flags, count, overflow, err := c.header(id)
	if err == nil {
		b = make([]byte, (1+overflow)*c.pageSize-pageHeader)
		_, err = c.file.ReadAt(b, int64(id)*c.pageSize+pageHeader)
	}
	return flags, count, b, err
}

// walk claims a page and what is below it.
func (c *checker) walk(id uint64, depth int, buckets bool) error {
	if err := c.claim(id); err != nil {
		return err
	}
	flags, count, b, err := c.page(id)
	if err != nil || flags == leafPage && !buckets {
		return err
	}
	wrong := fmt.Errorf("%w: page %d", errDamaged, id)
	switch {
	case count*element > len(b) || depth > deepest:
		return wrong
	case flags == leafPage: // with buckets
		for i := range count {
			e := b[i*element:]
			if isBucket := native.Uint32(e)&1 != 0; !isBucket {
				continue
			}
			at := int64(native.Uint32(e[4:])) + int64(native.Uint32(e[8:]))
			if at+16 > int64(len(e)) {
				return wrong
			}
			if root := native.Uint64(e[at:]); root != 0 { // 0: the bucket is in this page
				if err := c.walk(root, depth+1, false); err != nil {
					return err
				}
			}
		}
		return nil
	case flags == branchPage && count > 0:
		return c.walkBranch(b, count, depth, buckets)
	}
	return wrong
}

// walkBranch claims what is below a branch.
func (c *checker) walkBranch(b []byte, count, depth int, buckets bool) error {
	first, _, _, err := c.header(native.Uint64(b[8:])) // all leaves are at the same depth
	for i := 0; i < count && err == nil; i++ {
		id := native.Uint64(b[i*element+8:])
		if first == leafPage && !buckets {
			err = c.claim(id)
		} else {
			err = c.walk(id, depth+1, buckets)
		}
	}
	return err
}

// claimFree claims the list of free pages, and what is in it.
func (c *checker) claimFree(list uint64) error {
	err := c.claim(list)
	if err != nil {
		return err
	}
	free, err := c.freeList(list)
	for i := 0; i < len(free) && err == nil; i++ {
		err = c.claim(free[i])
	}
	return err
}

// freeList returns the pages in the list of free ones, which is a page itself.
func (c *checker) freeList(id uint64) ([]uint64, error) {
	flags, count, b, err := c.page(id)
	if err != nil {
		return nil, err
	}
	n := uint64(count)
	if count == 0xFFFF { // too many for the header
		n, b = native.Uint64(b), b[8:]
	}
	if flags != freelistPage || n > uint64(len(b))/8 {
		return nil, fmt.Errorf("%w: the list of free pages", errDamaged)
	}
	free := make([]uint64, n)
	for i := range free {
		free[i] = native.Uint64(b[i*8:])
	}
	return free, nil
}
