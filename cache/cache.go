// Package cache keeps byte strings in memory within a budget.
//
// Mail never changes: what was fetched once under a key stays true. So the
// only questions are how much to keep and what to drop first. Cache counts
// bytes, not entries, because one attachment can weigh as much as ten thousand
// short notes, and drops what was not used for the longest time. A value that
// several callers want at once is loaded once.
package cache

import (
	"context"
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"
)

// overhead is charged for each entry beside its bytes: key, list element and
// map slot, so that many tiny values cannot outgrow the budget.
const overhead = 200

// Cache is a least-recently-used cache of byte strings, bounded by bytes. It
// is safe for concurrent use. The values are shared: nobody may change them.
type Cache struct {
	budget int64
	loads  singleflight.Group

	mu   sync.Mutex // guards what follows
	used int64
	lru  *simplelru.LRU[string, []byte]
}

// New returns a cache that keeps at most budget bytes.
func New(budget int64) *Cache {
	c := &Cache{budget: budget}
	lru, err := simplelru.NewLRU(math.MaxInt, func(key string, value []byte) {
		c.used -= cost(key, value)
	})
	if err != nil {
		panic(err) // only for a size below one
	}
	c.lru = lru
	return c
}

func cost(key string, value []byte) int64 {
	return int64(len(key)+cap(value)) + overhead
}

// Get returns the value of key. If it is not here, load fetches it, once for
// all callers that wait for it. When ctx ends first, Get returns its error and
// the load goes on for whoever asks next. An error of load is returned to all
// who waited for it, and not kept.
func (c *Cache) Get(ctx context.Context, key string, load func() ([]byte, error)) ([]byte, error) {
	if value, ok := c.Peek(key); ok {
		return value, nil
	}
	result := c.loads.DoChan(key, func() (any, error) {
		// Another load of this key may have ended since the look above.
		if value, ok := c.Peek(key); ok {
			return value, nil
		}
		value, err := load()
		if err != nil {
			return nil, err
		}
		c.add(key, value)
		return value, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.([]byte), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Peek returns the value of key if it is here, and never loads it.
func (c *Cache) Peek(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(key)
}

// Used returns the bytes that the entries cost now.
func (c *Cache) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

func (c *Cache) add(key string, value []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cost(key, value) > c.budget {
		return // it would push out everything and still not fit
	}
	c.lru.Remove(key)
	c.lru.Add(key, value)
	c.used += cost(key, value)
	for c.used > c.budget {
		c.lru.RemoveOldest()
	}
}
