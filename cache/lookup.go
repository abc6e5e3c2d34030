package cache

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// pendingOf returns the change of key that waits to be written, nil if there is
// none, and the store to look in then.
func (d *Disk) pendingOf(key string) (c *change, s *store) {
	d.locked(func() {
		if c, s = d.waiting[key], d.store; c == nil && hasPrefixOf(d.prefix, key) {
			c = &change{kind: drop}
		}
	})
	return c, s
}

// Get returns the value of key. It is shared: nobody may change it.
func (d *Disk) Get(key string) (value []byte, found bool) {
	c, s := d.pendingOf(key)
	switch {
	case d == nil:
		return nil, false
	case c != nil:
		value, found = c.value, c.kind == put
	case s != nil:
		value, found = d.read(s, key)
	}
	if found {
		d.hits.Add(1)
	} else {
		d.misses.Add(1)
	}
	return value, found
}

// read is Get of what is in the store.
func (d *Disk) read(s *store, key string) (value []byte, found bool) {
	e, value, err := s.get(key)
	switch {
	case err != nil:
		d.fail(s, err)
	case e.number != 0 && value == nil:
		// It is no damage if its file was removed before it was opened.
		if now, err := s.find(key); err != nil || now.number == e.number {
			d.bad(key, e.number)
		}
	case e.number != 0:
		d.touch(key, e.stamp)
		return value, true
	}
	return nil, false
}

// Names returns what stands between prefix and the next NUL in the keys that
// begin with prefix, each once. It looks at few of the keys on the disk.
func (d *Disk) Names(prefix string) []string {
	names := make(map[string]bool)
	var s *store
	d.locked(func() {
		s = d.store
		for key := range d.waiting {
			if rest, ok := strings.CutPrefix(key, prefix); ok {
				name, _, _ := strings.Cut(rest, "\x00")
				names[name] = true
			}
		}
	})
	if s != nil {
		if err := s.names(prefix, names); err != nil {
			d.fail(s, err)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// keys returns the keys that begin with prefix.
func (d *Disk) keys(prefix string) []string {
	keys := make(map[string]bool)
	var s *store
	d.locked(func() {
		s = d.store
		for key := range d.waiting {
			if strings.HasPrefix(key, prefix) {
				keys[key] = true
			}
		}
	})
	if s != nil {
		if err := s.keys(prefix, keys); err != nil {
			d.fail(s, err)
		}
	}
	return slices.Collect(maps.Keys(keys))
}

// Has tells whether a value of key is kept, without reading it.
func (d *Disk) Has(key string) bool { return d.Sizes([]string{key})[0] >= 0 }

// Sizes returns how long the values of keys are, without reading them: -1 where
// none is kept. Many together take a fraction of the time.
func (d *Disk) Sizes(keys []string) []int64 {
	sizes := slices.Repeat([]int64{-1}, len(keys))
	var unsettled []int // in keys
	var s *store
	for i, key := range keys {
		var c *change
		switch c, s = d.pendingOf(key); {
		case c == nil:
			unsettled = append(unsettled, i)
		case c.kind == put:
			sizes[i] = int64(len(c.value))
		}
	}
	if len(unsettled) == 0 || s == nil {
		return sizes
	}
	if err := s.sizes(keys, unsettled, sizes); err != nil {
		d.fail(s, err)
		for _, i := range unsettled {
			sizes[i] = -1
		}
	}
	return sizes
}

// bad removes the value with the number, which is not what was written.
func (d *Disk) bad(key string, number uint64) {
	d.log.Warn("dropping a damaged value of the disk cache")
	d.locked(func() {
		if d.waiting[key] == nil {
			d.add(&change{kind: drop, key: key, number: number})
		}
	})
}

// touch notes that key was used, unless its stamp is of late.
func (d *Disk) touch(key string, stamp int64) {
	now := d.now()
	if now.Sub(time.Unix(0, stamp)) < d.tune.touch {
		return
	}
	d.locked(func() {
		if d.touched[key] = now; len(d.touched) == d.tune.touches {
			poke(d.wake)
		}
	})
}
