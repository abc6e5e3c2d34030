package cache

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

const (
	// mostDamages is after how many damaged stores a Disk goes on without.
	mostDamages = 3
	// mostWaiting is how many changes may wait while writing fails. Then the
	// store is thrown away, which always works.
	mostWaiting = 50_000
)

// errDamaged says that the store is not what was written.
var errDamaged = errors.New("the cache is damaged")

// guard runs fn, and makes an error of a panic: bbolt believes what it finds in
// its file, which is mapped into memory, and a damaged one leads it anywhere.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return fn()
}

// isDamage tells whether the error comes from what is in the store, not from
// the disk that it is on.
func isDamage(err error) bool {
	return isOneOf(err, errDamaged, berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch,
		berrors.ErrIncompatibleValue, berrors.ErrBucketNotFound, berrors.ErrKeyRequired, berrors.ErrKeyTooLarge,
		berrors.ErrFreePagesNotLoaded)
}

// passing tells whether the error has nothing to do with what is in the store,
// so that it is not to be thrown away.
func passing(err error) bool {
	return isOneOf(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, berrors.ErrTimeout)
}

func isOneOf(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// fail gives a store up that is damaged. The writer begins a new one.
func (d *Disk) fail(s *store, err error) {
	d.locked(func() {
		if d.store == s {
			d.giveUp(err)
		}
	})
}

// giveUp is fail, called with d.mu held.
func (d *Disk) giveUp(err error) {
	d.log.Warn("giving up what is in the disk cache", "error", err)
	d.damages++
	d.leaveStore()
	poke(d.wake)
}

// leaveStore takes the store away from those who read. It is called with d.mu
// held.
func (d *Disk) leaveStore() {
	d.store, d.broken, d.totals = nil, d.store, totals{}
	d.lost++
}

// endBroken ends the store that was left. It is called with d.mu held.
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

// throwAway removes the store, which also works on a full disk. It is called
// with d.mu held.
func (d *Disk) throwAway() {
	d.log.Warn("emptying the disk cache: what is to be deleted from it cannot be written")
	d.leaveStore()
	d.endBroken()
	d.emptyQueue()
}

// renew begins a store anew after one was left, some times. It is called with
// d.mu held.
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
		d.warnOnce("going on without a disk cache", err)
	}
	d.failing = true // nothing is taken
	d.lost++
	d.emptyQueue()
	return false
}

// writeFailed drops the values that could not be written. That old ones are gone
// is written later, if there is room then. It is called with d.mu held.
func (d *Disk) writeFailed(err error) {
	d.warnOnce("the disk cache cannot be written; going on without what is new", err)
	d.failing = true
	d.lost++
	queue, last := d.queue, d.waiting
	d.emptyQueue()
	for _, c := range queue {
		if c.kind == dropAll {
			d.enqueue(c)
		} else if last[c.key] == c && d.old(c.key) {
			d.enqueue(&change{kind: drop, key: c.key, number: c.number})
		}
	}
	if len(d.queue) > mostWaiting {
		d.throwAway()
	}
}

// warnOnce logs the first error of each kind. It is called with d.mu held.
func (d *Disk) warnOnce(what string, err error) {
	kind := "other"
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		kind = errno.Error()
	}
	if !d.said[kind] {
		d.said[kind] = true
		d.log.Warn(what, "error", err)
	}
}
