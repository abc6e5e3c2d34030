// Package cache keeps byte strings in memory, and on disk, within a budget for
// each.
//
// Mail never changes: what was fetched once under a key stays true. So the
// only questions are how much to keep and what to drop first. Cache counts
// bytes, not entries, because one attachment can weigh as much as ten thousand
// short notes, and drops what was not used for the longest time. A value that
// several callers want at once is loaded once. Disk is the second level: what
// has fallen out of memory, or was fetched before a restart.
package cache

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// overhead is charged for each entry beside its bytes: key, list element and
// map slot, so that many tiny values cannot outgrow the budget.
const overhead = 200

// Cache is a least-recently-used cache of byte strings, bounded by bytes. It
// is safe for concurrent use. The values are shared: nobody may change them.
type Cache struct {
	lru  *Weighted[string, []byte]
	disk *Disk

	mu           sync.Mutex       // guards what follows; lru is used under it, disk is not
	loads        map[string]*Load // a key goes over from here to lru in one step
	hits, misses int64            // of Get
}

// Load is a value on its way.
type Load struct {
	cache *Cache
	key   string
	done  chan struct{} // closed when the value is here

	// Set before done is closed:
	value []byte
	err   error
}

// errReleased says that whoever waits for a value has to fetch it himself.
var errReleased = errors.New("the load was released")

// New returns a cache that keeps at most budget bytes in memory, and what disk
// takes on that; disk may be nil.
func New(budget int64, disk *Disk) *Cache {
	return &Cache{lru: NewWeighted(budget, cost), disk: disk, loads: make(map[string]*Load)}
}

func cost(key string, value []byte) int64 {
	return int64(len(key)+cap(value)) + overhead
}

// Budget returns the bytes that the cache may keep in memory.
func (c *Cache) Budget() int64 { return c.lru.budget }

// Disk returns the second level, nil if there is none.
func (c *Cache) Disk() *Disk { return c.disk }

// Get returns the value of key. If it is not here, load fetches it, once for
// all callers that wait for it. When ctx ends first, Get returns its error and
// the load goes on for whoever asks next. An error of load is returned to all
// who waited for it, and not kept.
func (c *Cache) Get(ctx context.Context, key string, load func() ([]byte, error)) ([]byte, error) {
	for {
		c.mu.Lock()
		if value, ok := c.lru.Get(key); ok {
			c.hits++
			c.mu.Unlock()
			return value, nil
		}
		l := c.loads[key]
		if l == nil {
			c.misses++
			l = c.begin(key)
			go l.load(load)
		}
		c.mu.Unlock()
		select {
		case <-l.done:
			if l.err != errReleased {
				return l.value, l.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// load looks on the disk, and fetches the value if it is not there.
func (l *Load) load(load func() ([]byte, error)) {
	if value, ok := l.cache.disk.Get(l.key); ok {
		l.finish(value, nil, true)
	} else if value, err := load(); err != nil {
		l.finish(nil, err, false)
	} else {
		l.Keep(value)
	}
}

// begin notes that key is being loaded. It is called with c.mu held.
func (c *Cache) begin(key string) *Load {
	l := &Load{cache: c, key: key, done: make(chan struct{})}
	c.loads[key] = l
	return l
}

// Claim announces that the caller fetches key, with many others at once, so
// that whoever asks for it meanwhile waits for that. It returns nil if the
// value is here or on its way. A Load that was claimed has to be ended, by Keep
// or Release.
func (c *Cache) Claim(key string) *Load {
	c.mu.Lock()
	if _, ok := c.lru.Get(key); ok || c.loads[key] != nil {
		c.mu.Unlock()
		return nil
	}
	l := c.begin(key)
	c.mu.Unlock()
	// Only now: a load that has ended meanwhile has left its value there.
	if c.disk.Has(key) {
		l.Release()
		return nil
	}
	return l
}

// Keep ends the load with the value that it has fetched. The disk has it first:
// memory may drop it at once, and nobody is to fetch it a second time.
func (l *Load) Keep(value []byte) {
	l.cache.disk.Offer(l.key, value)
	l.finish(value, nil, true)
}

// KeepOnDisk is Keep for a value that nobody is known to want soon: whoever
// waits for it gets it, and memory is left to others.
func (l *Load) KeepOnDisk(value []byte) {
	l.cache.disk.Put(l.key, value)
	l.finish(value, nil, false)
}

// Release ends the load without a value. Whoever waits for it loads it himself.
func (l *Load) Release() { l.finish(nil, errReleased, false) }

// finish ends the load for all who wait for it, and may keep the value in memory.
func (l *Load) finish(value []byte, err error, inMemory bool) {
	c := l.cache
	l.value, l.err = value, err
	c.mu.Lock()
	delete(c.loads, l.key)
	if inMemory {
		c.add(l.key, value)
	}
	c.mu.Unlock()
	close(l.done)
}

// Comes tells whether the value of key is on its way.
func (c *Cache) Comes(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loads[key] != nil
}

// Peek returns the value of key if it is here, and never loads it.
func (c *Cache) Peek(key string) ([]byte, bool) {
	if value, ok := c.lru.Get(key); ok {
		return value, true
	}
	value, ok := c.disk.Get(key)
	if ok {
		c.add(key, value)
	}
	return value, ok
}

// PeekOnce is Peek for who looks at many values once: what is only on the disk stays there.
func (c *Cache) PeekOnce(key string) ([]byte, bool) {
	if value, ok := c.lru.Get(key); ok {
		return value, true
	}
	return c.disk.Get(key)
}

// Move has the values of all keys that begin with from go over to the keys that begin
// with to instead. What is on its way comes under its old key. Of what is in memory the
// bytes stay where they are; on the disk they are written anew.
func (c *Cache) Move(from, to string) {
	c.mu.Lock()
	for _, key := range c.lru.Keys() {
		rest, ok := strings.CutPrefix(key, from)
		if !ok {
			continue
		}
		if value, ok := c.lru.Get(key); ok {
			c.lru.Remove(key)
			c.lru.Add(to+rest, value)
		}
	}
	c.mu.Unlock()
	c.disk.Move(from, to)
}

// Stats counts what a cache has done and what it has.
type Stats struct {
	Hits    int64 `json:"hits"`
	Misses  int64 `json:"misses"`
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	Budget  int64 `json:"budget_bytes"`
}

// Stats tells of the first level, in memory.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Hits: c.hits, Misses: c.misses, Entries: c.lru.Len(), Bytes: c.lru.Used(), Budget: c.lru.budget}
}

// Used returns the bytes that the entries in memory cost now.
func (c *Cache) Used() int64 { return c.lru.Used() }

// add keeps value in memory, unless it would push out everything and still not
// fit.
func (c *Cache) add(key string, value []byte) {
	if cost(key, value) <= c.lru.budget {
		c.lru.Add(key, value)
	}
}
