package cache

import (
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// mostGone is how many prefixes are remembered that were forgotten. What was on
// its way has come by then.
const mostGone = 10_000

// change is something to be written.
type change struct {
	kind   kind
	key    string // or prefix
	value  []byte // of put
	number uint64 // of drop, see store; 0: whatever it is
}

type kind int

const (
	put kind = iota
	drop
	dropAll
)

// Put keeps value under key. It returns before it is written, and waits only
// while much else is. Nobody may change value any more.
func (d *Disk) Put(key string, value []byte) {
	d.locked(func() {
		for d.full() {
			d.room.Wait()
		}
		d.put(key, value)
	})
}

// Offer is Put for who cannot wait: where too much else is to be written the
// value is not kept.
func (d *Disk) Offer(key string, value []byte) {
	d.locked(func() {
		if !d.full() {
			d.put(key, value)
		}
	})
}

// full tells whether so much waits to be written that more has to wait. It is
// called with d.mu held.
func (d *Disk) full() bool { return d.pending > d.tune.pending && !d.closed && !d.failing }

// put is called with d.mu held.
func (d *Disk) put(key string, value []byte) {
	if hasPrefixOf(d.gone, key) {
		return
	}
	if d.failing || d.closed {
		d.lost++
	}
	tooLarge := entry{size: int64(len(value))}.cost(key) > d.budget || len(key) > bbolt.MaxKeySize
	if !d.failing && !tooLarge && key != "" {
		d.add(&change{kind: put, key: key, value: value})
	} else if d.old(key) {
		d.add(&change{kind: drop, key: key})
	}
}

// Delete forgets the values of all keys that begin with prefix.
func (d *Disk) Delete(prefix string) {
	d.locked(func() { d.delete(prefix) })
}

// Forget is Delete for what is gone for good: what is put later under such a
// key, because it was on its way, is not kept. That is remembered of the last
// ones.
func (d *Disk) Forget(prefix string) {
	d.locked(func() {
		if !d.gone[prefix] {
			d.gone[prefix] = true
			if d.latest = append(d.latest, prefix); len(d.latest) > mostGone {
				delete(d.gone, d.latest[0])
				d.latest = d.latest[1:]
			}
		}
		d.delete(prefix)
	})
}

// Move has the values of all keys that begin with from go over to the keys that begin
// with to, and Forget is called for from.
func (d *Disk) Move(from, to string) {
	for _, key := range d.keys(from) {
		if value, ok := d.Get(key); ok {
			d.Put(to+key[len(from):], value)
		}
	}
	d.Forget(from)
}

// delete is Delete, called with d.mu held.
func (d *Disk) delete(prefix string) {
	for key := range d.waiting {
		if strings.HasPrefix(key, prefix) {
			delete(d.waiting, key)
		}
	}
	d.add(&change{kind: dropAll, key: prefix})
}

// hasPrefixOf tells whether key begins with one of prefixes. There may be one for
// each of 100,000 messages, and a key has few bytes.
func hasPrefixOf[T any](prefixes map[string]T, key string) bool {
	for n := 0; n <= len(key) && len(prefixes) > 0; n++ {
		if _, found := prefixes[key[:n]]; found {
			return true
		}
	}
	return false
}

// old tells whether there is a value of key that has to go because the new one
// is not kept. It is called with d.mu held.
func (d *Disk) old(key string) bool {
	if d.waiting[key] != nil {
		return true
	}
	if d.store == nil {
		return false
	}
	e, err := d.store.find(key)
	return e.number != 0 || err != nil
}

// add queues a change, and wakes the writer up. It is called with d.mu held.
func (d *Disk) add(c *change) {
	if d.closed || d.store == nil && d.failing {
		return
	}
	d.enqueue(c)
	poke(d.wake)
}

// enqueue is called with d.mu held, as are all below.
func (d *Disk) enqueue(c *change) {
	d.queue = append(d.queue, c)
	d.pending += c.weight()
	if c.kind == dropAll {
		d.prefix[c.key]++
	} else {
		d.waiting[c.key] = c
	}
}

// batch returns the first changes of the queue, up to the size of a
// transaction; nil for one that a later one has made vain.
func (d *Disk) batch() (batch []*change) {
	var bytes int64
	for _, c := range d.queue {
		if bytes += c.weight(); bytes > d.tune.batch && len(batch) > 0 {
			break
		}
		if c.kind != dropAll && d.waiting[c.key] != c {
			c = nil
		}
		batch = append(batch, c)
	}
	return batch
}

// took takes the first n changes out of the queue.
func (d *Disk) took(n int) {
	for _, c := range d.queue[:n] {
		d.pending -= c.weight()
		if c.kind == dropAll {
			if d.prefix[c.key]--; d.prefix[c.key] == 0 {
				delete(d.prefix, c.key)
			}
		} else if d.waiting[c.key] == c {
			delete(d.waiting, c.key)
		}
	}
	d.queue = slices.Clone(d.queue[n:])
	d.room.Broadcast()
}

// emptyQueue forgets what waits to be written.
func (d *Disk) emptyQueue() {
	d.queue, d.pending = nil, 0
	d.waiting, d.prefix = make(map[string]*change), make(map[string]int)
	d.room.Broadcast()
}

func (c *change) weight() int64 { return int64(len(c.key) + len(c.value) + overhead) }

// poke wakes up who waits for c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
