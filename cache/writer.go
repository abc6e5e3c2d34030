package cache

import "time"

// write writes what waits to be written. It runs in a goroutine of its own
// until Close. s is the first store.
func (d *Disk) write(s *store) {
	defer close(d.done)
	if err := s.removeStrays(); err != nil {
		d.log.Info("cleaning the disk cache", "error", err)
	}
	for open := true; open; {
		select {
		case <-d.wake: // more may come, unless somebody waits for what there is
			d.pause(d.tune.linger, d.hurry)
		case <-d.closing:
			open = false
		}
		for d.commit() {
		}
		if open && d.triesAgain() {
			d.pause(d.tune.retry, nil)
			poke(d.wake)
		}
	}
	// Nothing stays behind that should be gone.
	d.locked(func() {
		if len(d.queue) > 0 && d.store != nil {
			d.throwAway()
		}
		d.endBroken()
	})
}

// pause waits for a time, or until hurry or Close.
func (d *Disk) pause(t time.Duration, hurry <-chan struct{}) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hurry:
	case <-d.closing:
	}
}

// triesAgain tells whether writing has failed, and may work later.
func (d *Disk) triesAgain() (again bool) {
	d.locked(func() { again = d.failing && d.damages <= mostDamages })
	return again
}

// commit writes one batch, and tells whether there is more to do.
func (d *Disk) commit() bool {
	var s *store // nil: there is nothing to do
	var batch []*change
	var touched map[string]time.Time
	d.locked(func() {
		if d.store == nil && !d.renew() {
			return
		}
		batch, touched = d.batch(), d.touched
		uses := len(touched) >= d.tune.touches || len(touched) > 0 && d.closed
		if len(batch) > 0 || uses || d.totals.used > d.budget || d.failing {
			s, d.touched = d.store, make(map[string]time.Time)
		}
	})
	if s == nil {
		return false
	}
	done := 0
	t, err := s.update(func(c *changes) (err error) {
		if err = c.touchAll(touched); err == nil {
			done, err = c.applyAll(batch, d.now().UnixNano(), d.tune.steps)
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
	switch {
	case d.store != s: // a reader has found it damaged
		return true
	case isDamage(err):
		d.giveUp(err)
		return true
	case err != nil:
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
