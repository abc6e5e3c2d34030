package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// changes is a transaction that writes to a store.
type changes struct {
	totals
	store                        *store
	entries, uses, values, files *bbolt.Bucket
	made, gone                   []uint64 // files
	deleted                      bool     // something that nobody is to read any more
}

// update makes changes, all or none.
func (s *store) update(fn func(*changes) error) (totals, error) {
	c := &changes{store: s}
	err := guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) (err error) {
			meta := tx.Bucket(metaBucket)
			if c.totals, err = parseTotals(meta.Get(totalsKey)); err != nil {
				return err
			}
			c.entries, c.uses = tx.Bucket(entriesBucket), tx.Bucket(usedBucket)
			c.values, c.files = tx.Bucket(valuesBucket), tx.Bucket(filesBucket)
			for _, b := range []*bbolt.Bucket{c.uses, c.values, c.files} {
				b.FillPercent = 1 // they grow at the end
			}
			if err := fn(c); err != nil {
				return err
			}
			s.unmap(tx)
			return meta.Put(totalsKey, c.totals.bytes())
		})
	})
	if err != nil {
		c.gone = c.made
	}
	for _, number := range c.gone {
		s.root.Remove(fileName(number))
	}
	if err == nil {
		err = s.scrub(c.deleted)
	}
	return c.totals, err
}

// scrub follows which pages have become free, and empties them if something was
// deleted.
func (s *store) scrub(deleted bool) error {
	if err := s.free.follow(s.file); err != nil || !deleted {
		return err
	}
	s.scrubbing.Lock()
	defer s.scrubbing.Unlock()
	return s.free.scrub(s.file)
}

// put sets the value of key.
func (c *changes) put(key string, value []byte, stamp int64) error {
	if _, err := c.remove(key); err != nil {
		return err
	}
	e := entry{number: c.next, size: int64(len(value)), stamp: stamp, sum: checksum(key, value)}
	c.next++
	if e.large() {
		c.made = append(c.made, e.number)
		if err := c.store.writeFile(e.number, value); err != nil {
			return err
		}
		if err := c.files.Put(numberKey(e.number), []byte{1}); err != nil {
			return err
		}
	} else if err := c.values.Put(numberKey(e.number), value); err != nil {
		return err
	}
	c.used += e.cost(key)
	c.count++
	if err := c.uses.Put(e.used(), []byte(key)); err != nil {
		return err
	}
	return c.entries.Put([]byte(key), e.bytes())
}

// remove removes the entry of key, if it is there, and returns its size.
func (c *changes) remove(key string) (int64, error) {
	e, found, err := parseEntry(c.entries.Get([]byte(key)))
	if err != nil || !found {
		return 0, err
	}
	c.used = max(0, c.used-e.cost(key))
	c.count = max(0, c.count-1)
	if e.large() {
		c.gone = append(c.gone, e.number)
		err = c.files.Delete(numberKey(e.number))
	} else {
		err = c.values.Delete(numberKey(e.number))
	}
	if err != nil {
		return 0, err
	}
	if err := c.uses.Delete(e.used()); err != nil {
		return 0, err
	}
	return e.size, c.entries.Delete([]byte(key))
}

// removeBad removes the entry of key if its value is still the one with the
// number, which was found to be damaged.
func (c *changes) removeBad(key string, number uint64) error {
	e, found, err := parseEntry(c.entries.Get([]byte(key)))
	if err != nil || !found || e.number != number {
		return err
	}
	_, err = c.remove(key)
	return err
}

// removeAll removes entries whose key begins with prefix, at most a number of
// them, and returns how many.
func (c *changes) removeAll(prefix string, most int) (int, error) {
	var keys []string
	cursor := c.entries.Cursor()
	for k, _ := cursor.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)) && len(keys) < most; k, _ = cursor.Next() {
		keys = append(keys, string(k))
	}
	before := c.count
	c.deleted = true // also if they went before, to make room
	for _, key := range keys {
		if _, err := c.remove(key); err != nil {
			return 0, err
		}
	}
	if before-c.count < int64(len(keys)) {
		return 0, fmt.Errorf("%w: keys in disorder", errDamaged)
	}
	return len(keys), nil
}

// touch notes that key was used.
func (c *changes) touch(key string, stamp int64) error {
	e, found, err := parseEntry(c.entries.Get([]byte(key)))
	if err != nil || !found || stamp <= e.stamp {
		return err
	}
	if err := c.uses.Delete(e.used()); err != nil {
		return err
	}
	e.stamp = stamp
	if err := c.uses.Put(e.used(), []byte(key)); err != nil {
		return err
	}
	return c.entries.Put([]byte(key), e.bytes())
}

// evict removes what was not used for the longest time, until the rest is
// within the budget, at most a number of entries.
func (c *changes) evict(budget int64, most int) error {
	for range most {
		if c.used <= budget {
			return nil
		}
		k, v := c.uses.Cursor().First()
		if k == nil || len(k) != 16 {
			return fmt.Errorf("%w: %d bytes of nothing", errDamaged, c.used)
		}
		row, key := bytes.Clone(k), string(v)
		e, found, err := parseEntry(c.entries.Get(v))
		if err != nil {
			return err
		}
		if !found || e.number != binary.BigEndian.Uint64(row[8:]) || !bytes.Equal(e.used(), row) {
			err = c.uses.Delete(row) // damaged
		} else {
			_, err = c.remove(key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
