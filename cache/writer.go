package cache

import (
	"errors"
	"maps"
	"slices"
	"syscall"
	"time"
)

// write writes what waits to be written. It runs in a goroutine of its own
// until Close.
func (d *Disk) write() {
	defer close(d.done)
	d.mu.Lock()
	s := d.store
	d.mu.Unlock()
	if s != nil {
		if err := s.removeStrays(); err != nil {
			d.log.Info("cleaning the disk cache", "error", err)
		}
	}
	for {
		select {
		case <-d.wake:
			d.linger()
		case <-d.closing:
		}
		for d.commit() {
		}
		select {
		case <-d.closing:
			for d.commit() { // what came meanwhile
			}
			d.end()
			return
		default:
		}
		if d.failed() {
			d.pause(d.tune.retry)
			poke(d.wake)
		}
	}
}

// linger waits for more to write, unless somebody waits for what there is.
func (d *Disk) linger() {
	timer := time.NewTimer(d.tune.linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.hurry:
	case <-d.closing:
	}
}

func (d *Disk) pause(t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.closing:
	}
}

func (d *Disk) failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failing && d.damages <= mostDamages
}

// end leaves nothing behind that should be gone.
func (d *Disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) > 0 && d.store != nil {
		d.throwAway()
	}
	d.endBroken()
}

// throwAway removes the store, which also works on a full disk. It is called
// with d.mu held.
func (d *Disk) throwAway() {
	d.log.Warn("emptying the disk cache: what is to be deleted from it cannot be written")
	d.store, d.broken, d.totals = nil, d.store, totals{}
	d.lost++
	d.endBroken()
	d.forget()
}

// endBroken ends the store that was given up. It is called with d.mu held.
func (d *Disk) endBroken() {
	if d.broken == nil {
		return
	}
	d.broken.abandon()
	d.broken = nil
	if err := removeStore(d.root); err != nil {
		d.log.Warn("removing the disk cache", "error", err)
	}
}

// forget empties the queue. It is called with d.mu held.
func (d *Disk) forget() {
	d.queue, d.pending = nil, 0
	clear(d.waiting)
	clear(d.prefix)
	clear(d.touched)
	d.room.Broadcast()
}

// commit writes one batch, and tells whether there is more to do.
func (d *Disk) commit() bool {
	d.mu.Lock()
	if d.store == nil && !d.renew() {
		d.mu.Unlock()
		return false
	}
	s := d.store
	batch := d.batch()
	touched := d.touched
	uses := len(touched) >= d.tune.touches || len(touched) > 0 && d.closed
	if len(batch) == 0 && !uses && d.totals.used <= d.budget && !d.failing {
		d.mu.Unlock()
		return false
	}
	d.touched = make(map[string]time.Time)
	// A change that another one has made vain is not written.
	vain := make([]bool, len(batch))
	for i, c := range batch {
		vain[i] = c.kind != dropAll && d.waiting[c.key] != c
	}
	d.mu.Unlock()

	done := 0
	t, err := s.update(func(c *changes) (err error) {
		if err = c.touchAll(touched); err == nil {
			done, err = c.applyAll(batch, vain, d.now().UnixNano(), d.tune.steps)
		}
		if err == nil {
			err = c.evict(d.budget, d.tune.steps)
		}
		return err
	})
	return d.settle(s, t, done, err)
}

// settle takes in how the transaction has ended that has made the first changes
// of the queue, and tells whether there is more to do.
func (d *Disk) settle(s *store, t totals, done int, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store != s { // a reader has found it damaged
		return true
	}
	if err != nil && isDamage(err) {
		d.giveUp(err)
		return true
	}
	if err != nil {
		d.writeFailed(err)
		return false
	}
	if d.failing {
		d.log.Info("the disk cache can be written again")
		d.failing = false
	}
	d.totals = t
	d.took(done)
	return true
}

// batch returns the first changes of the queue, up to the size of a
// transaction. It is called with d.mu held.
func (d *Disk) batch() []*change {
	var bytes int64
	for i, c := range d.queue {
		if bytes += c.weight(); bytes > d.tune.batch && i > 0 {
			return d.queue[:i:i]
		}
	}
	return d.queue[:len(d.queue):len(d.queue)]
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

// applyAll makes the changes that are not vain, with steps entries removed at
// most, and returns how many of the changes are done.
func (c *changes) applyAll(batch []*change, vain []bool, stamp int64, steps int) (done int, err error) {
	for i, ch := range batch {
		if !vain[i] {
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
	switch {
	case ch.kind == put:
		return 0, c.put(ch.key, ch.value, stamp)
	case ch.kind == dropAll:
		return c.removeAll(ch.key, steps)
	case ch.number != 0:
		return 1, c.removeBad(ch.key, ch.number)
	}
	_, err := c.remove(ch.key)
	return 1, err
}

// took takes the first n changes out of the queue. It is called with d.mu held.
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

// writeFailed drops the values that could not be written. That old ones are gone
// is written later, if there is room then. It is called with d.mu held.
func (d *Disk) writeFailed(err error) {
	if kind := errorKind(err); !d.said[kind] {
		d.said[kind] = true
		d.log.Warn("the disk cache cannot be written; going on without what is new", "error", err)
	}
	d.failing = true
	d.lost++
	queue := d.queue
	d.queue = nil
	d.pending = 0
	for _, c := range queue {
		last := d.waiting[c.key] == c
		if c.kind != dropAll && last {
			delete(d.waiting, c.key)
		}
		switch {
		case c.kind == dropAll:
		case !last || !d.old(c.key):
			continue
		default:
			c = &change{kind: drop, key: c.key, number: c.number}
			d.waiting[c.key] = c
		}
		d.queue = append(d.queue, c)
		d.pending += c.weight()
	}
	d.room.Broadcast()
	if len(d.queue) > mostWaiting {
		d.throwAway()
	}
}

// errorKind is what kind of error it is.
func errorKind(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return "other"
}

// renew begins a store anew after one was given up, some times. It is called
// with d.mu held.
func (d *Disk) renew() bool {
	d.endBroken()
	if d.damages <= mostDamages {
		s, err := openStore(d.root, d.tune.noSync)
		if err == nil {
			d.store, d.totals, d.failing = s, s.begun, false
			return true
		}
		if !passing(err) {
			d.damages++
		}
		if kind := errorKind(err); !d.said[kind] {
			d.said[kind] = true
			d.log.Warn("going on without a disk cache", "error", err)
		}
	}
	d.failing = true // nothing is taken
	d.lost++
	d.forget()
	return false
}
