package cache

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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

// put sets the value of key.
func (c *changes) put(key string, value []byte, stamp int64) error {
	if _, err := c.remove(key); err != nil {
		return err
	}
	e := entry{number: c.next, size: int64(len(value)), stamp: stamp, sum: checksum(key, value)}
	c.next++
	bucket, kept := c.values, value
	if e.large() {
		// Nothing names the file until the database does, and if it is torn its
		// checksum tells: so it is not synced.
		c.made = append(c.made, e.number)
		if err := c.store.root.WriteFile(fileName(e.number), value, 0o600); err != nil {
			return err
		}
		bucket, kept = c.files, []byte{1}
	}
	c.used += e.cost(key)
	c.count++
	return errors.Join(bucket.Put(bigEndian(e.number), kept), c.enter(key, e))
}

// enter writes the entry of key, and when it was used.
func (c *changes) enter(key string, e entry) error {
	return errors.Join(c.uses.Put(e.used(), []byte(key)), c.entries.Put([]byte(key), e.bytes()))
}

// remove removes the entry of key, if it is there, and returns how many that
// were.
func (c *changes) remove(key string) (int, error) {
	e, err := entryOf(c.entries, key)
	if err != nil || e.number == 0 {
		return 0, err
	}
	c.used = max(0, c.used-e.cost(key))
	c.count = max(0, c.count-1)
	bucket := c.values
	if e.large() {
		c.gone = append(c.gone, e.number)
		bucket = c.files
	}
	return 1, errors.Join(bucket.Delete(bigEndian(e.number)), c.uses.Delete(e.used()), c.entries.Delete([]byte(key)))
}

// removeAll removes entries whose key begins with prefix, at most a number of
// them, and returns how many.
func (c *changes) removeAll(prefix string, most int) (int, error) {
	var keys []string
	cursor := c.entries.Cursor()
	for k, _ := cursor.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)) && len(keys) < most; k, _ = cursor.Next() {
		keys = append(keys, string(k))
	}
	c.deleted = true // also if they went before, to make room
	for _, key := range keys {
		n, err := c.remove(key)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, fmt.Errorf("%w: keys in disorder", errDamaged)
		}
	}
	return len(keys), nil
}

// touch notes that key was used.
func (c *changes) touch(key string, stamp int64) error {
	e, err := entryOf(c.entries, key)
	if err != nil || e.number == 0 || stamp <= e.stamp {
		return err
	}
	if err := c.uses.Delete(e.used()); err != nil {
		return err
	}
	e.stamp = stamp
	return c.enter(key, e)
}

// touchAll notes what was used, in the order in which it was.
func (c *changes) touchAll(touched map[string]time.Time) error {
	for _, key := range slices.SortedFunc(maps.Keys(touched), func(a, b string) int { return touched[a].Compare(touched[b]) }) {
		if err := c.touch(key, touched[key].UnixNano()); err != nil {
			return err
		}
	}
	return nil
}

// applyAll makes the changes of a batch, with steps entries removed at most, and
// returns how many of them are done.
func (c *changes) applyAll(batch []*change, stamp int64, steps int) (done int, err error) {
	for _, ch := range batch {
		if ch != nil {
			n, err := c.apply(ch, stamp, steps)
			if err != nil {
				return done, err
			}
			if steps -= n; steps <= 0 && ch.kind == dropAll {
				break // there may be more of it
			}
		}
		done++
	}
	return done, nil
}

// apply makes one change, and returns how many entries that has removed.
func (c *changes) apply(ch *change, stamp int64, steps int) (int, error) {
	switch ch.kind {
	case put:
		return 0, c.put(ch.key, ch.value, stamp)
	case dropAll:
		return c.removeAll(ch.key, steps)
	}
	if ch.number != 0 { // another value may be there now
		if e, err := entryOf(c.entries, ch.key); err != nil || e.number != ch.number {
			return 0, err
		}
	}
	return c.remove(ch.key)
}

// evict removes what was not used for the longest time, until the rest is
// within the budget, at most a number of entries.
func (c *changes) evict(budget int64, most int) error {
	for n := 0; n < most && c.used > budget; n++ {
		use, key := c.uses.Cursor().First()
		if len(use) != 16 {
			return fmt.Errorf("%w: %d bytes of nothing", errDamaged, c.used)
		}
		e, err := entryOf(c.entries, string(key))
		if err != nil {
			return err
		}
		if e.number != 0 && bytes.Equal(e.used(), use) {
			_, err = c.remove(string(key))
		} else {
			err = c.uses.Delete(use) // damaged
		}
		if err != nil {
			return err
		}
	}
	return nil
}
