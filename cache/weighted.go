package cache

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Weighted keeps the values that were used last, as many as weigh no more than
// a budget together. It is safe for concurrent use.
type Weighted[K comparable, V any] struct {
	budget int64
	weight func(K, V) int64

	mu   sync.Mutex // guards what follows; nothing else is locked under it
	used int64      // sum of the weights
	lru  *simplelru.LRU[K, V]
}

// NewWeighted returns an empty one. weight has to tell the same of a value for
// as long as it is kept.
func NewWeighted[K comparable, V any](budget int64, weight func(K, V) int64) *Weighted[K, V] {
	w := &Weighted[K, V]{budget: budget, weight: weight}
	lru, err := simplelru.NewLRU(math.MaxInt, func(key K, value V) { w.used -= weight(key, value) })
	if err != nil {
		panic(err) // only for a size below one
	}
	w.lru = lru
	return w
}

// Add keeps value, in the place of an older one of key, and drops what was not
// used for the longest time. The newest stays, whatever its weight: somebody
// waits for it.
func (w *Weighted[K, V]) Add(key K, value V) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lru.Remove(key) // Add alone would not tell of the older one
	w.lru.Add(key, value)
	w.used += w.weight(key, value)
	for w.used > w.budget && w.lru.Len() > 1 {
		w.lru.RemoveOldest()
	}
}

// Get returns the value of key.
func (w *Weighted[K, V]) Get(key K) (V, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lru.Get(key)
}

// Contains is Get that does not count as a use.
func (w *Weighted[K, V]) Contains(key K) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lru.Contains(key)
}

// Remove forgets the value of key.
func (w *Weighted[K, V]) Remove(key K) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lru.Remove(key)
}

// Keys returns the keys, that of the value which was not used for the longest time
// first.
func (w *Weighted[K, V]) Keys() []K {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lru.Keys()
}

// Len returns how many values are kept.
func (w *Weighted[K, V]) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lru.Len()
}

// Used returns what the values that are kept weigh.
func (w *Weighted[K, V]) Used() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.used
}
