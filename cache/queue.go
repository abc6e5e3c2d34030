package cache

import (
	"strings"

	"go.etcd.io/bbolt"
)

const (
	// mostDamages is after how many damaged stores a Disk goes on without.
	mostDamages = 3
	// mostWaiting is how many changes may wait while writing fails. Then the
	// store is thrown away, which always works.
	mostWaiting = 50_000
	// mostGone is how many prefixes are remembered that were forgotten. What was
	// on its way has come by then.
	mostGone = 10_000
)

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
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.full() {
		d.room.Wait()
	}
	d.put(key, value)
}

// Offer is Put for who cannot wait: where too much else is to be written the
// value is not kept.
func (d *Disk) Offer(key string, value []byte) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.full() {
		d.put(key, value)
	}
}

// full tells whether so much waits to be written that more has to wait. It is
// called with d.mu held.
func (d *Disk) full() bool { return d.pending > d.tune.pending && !d.closed && !d.failing }

// put is called with d.mu held.
func (d *Disk) put(key string, value []byte) {
	if d.isGone(key) {
		return
	}
	c := &change{kind: put, key: key, value: value}
	e := entry{size: int64(len(value))}
	if d.failing || d.closed {
		d.lost++
	}
	if d.failing || e.cost(key) > d.budget || len(key) > bbolt.MaxKeySize || key == "" {
		if !d.old(key) {
			return
		}
		c = &change{kind: drop, key: key}
	}
	d.add(c)
}

// Delete forgets the values of all keys that begin with prefix.
func (d *Disk) Delete(prefix string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delete(prefix)
}

// Forget is Delete for what is gone for good: what is put later under such a
// key, because it was on its way, is not kept. That is remembered of the last
// ones.
func (d *Disk) Forget(prefix string) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.gone[prefix] {
		d.gone[prefix] = true
		if d.latest = append(d.latest, prefix); len(d.latest) > mostGone {
			delete(d.gone, d.latest[0])
			d.latest = d.latest[1:]
		}
	}
	d.delete(prefix)
}

// isGone tells whether key was forgotten. It is called with d.mu held.
func (d *Disk) isGone(key string) bool {
	for n := 0; n <= len(key) && len(d.gone) > 0; n++ {
		if d.gone[key[:n]] {
			return true
		}
	}
	return false
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

// old tells whether there is a value of key that has to go because the new one
// is not kept. It is called with d.mu held.
func (d *Disk) old(key string) bool {
	if d.waiting[key] != nil {
		return true
	}
	if d.store == nil {
		return false
	}
	_, found, err := d.store.find(key)
	return found || err != nil
}

// add queues a change. It is called with d.mu held.
func (d *Disk) add(c *change) {
	if d.closed || d.store == nil && d.failing {
		return
	}
	if c.kind == dropAll {
		d.prefix[c.key]++
	}
	d.queue = append(d.queue, c)
	d.pending += c.weight()
	if c.kind != dropAll {
		d.waiting[c.key] = c
	}
	poke(d.wake)
}

func (c *change) weight() int64 { return int64(len(c.key) + len(c.value) + overhead) }

// poke wakes up who waits for c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
