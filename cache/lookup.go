package cache

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// pendingOf returns the change of key that waits to be written, or the store to
// look in.
func (d *Disk) pendingOf(key string) (*change, *store) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.waiting[key]; c != nil {
		return c, nil
	}
	// There may be one for each of 100,000 messages, and a key has few bytes.
	for n := 0; n <= len(key) && len(d.prefix) > 0; n++ {
		if d.prefix[key[:n]] > 0 {
			return &change{kind: drop}, nil
		}
	}
	return nil, d.store
}

// Get returns the value of key. It is shared: nobody may change it.
func (d *Disk) Get(key string) (value []byte, found bool) {
	if d == nil {
		return nil, false
	}
	defer func() {
		if found {
			d.hits.Add(1)
		} else {
			d.misses.Add(1)
		}
	}()
	c, s := d.pendingOf(key)
	if c != nil {
		return c.value, c.kind == put
	}
	if s == nil {
		return nil, false
	}
	e, value, found, err := s.get(key)
	if err != nil {
		d.fail(s, err)
		return nil, false
	}
	if found && value == nil {
		// It is no damage if its file was removed before it was opened.
		if now, there, err := s.find(key); err != nil || there && now.number == e.number {
			d.bad(key, e.number)
		}
		return nil, false
	}
	if found {
		d.touch(key, e.stamp)
	}
	return value, found
}

// Names returns what stands between prefix and the next NUL in the keys that
// begin with prefix, each once. It looks at few of the keys on the disk.
func (d *Disk) Names(prefix string) []string {
	if d == nil {
		return nil
	}
	names := make(map[string]bool)
	d.mu.Lock()
	s := d.store
	for key := range d.waiting {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			name, _, _ := strings.Cut(rest, "\x00")
			names[name] = true
		}
	}
	d.mu.Unlock()
	if s != nil {
		if err := s.names(prefix, names); err != nil {
			d.fail(s, err)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Has tells whether a value of key is kept, without reading it.
func (d *Disk) Has(key string) bool { return d.Sizes([]string{key})[0] >= 0 }

// Sizes returns how long the values of keys are, without reading them: -1 where
// none is kept. Many together take a fraction of the time.
func (d *Disk) Sizes(keys []string) []int64 {
	sizes := make([]int64, len(keys))
	for i := range sizes {
		sizes[i] = -1
	}
	if d == nil {
		return sizes
	}
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
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting[key] == nil {
		d.add(&change{kind: drop, key: key, number: number})
	}
}

// touch notes that key was used, unless its stamp is of late.
func (d *Disk) touch(key string, stamp int64) {
	now := d.now()
	if now.Sub(time.Unix(0, stamp)) < d.tune.touch {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touched[key] = now
	if len(d.touched) == d.tune.touches {
		poke(d.wake)
	}
}
