package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Disk keeps byte strings in a directory, within a budget, across restarts.
// It may forget any of them at any time, and never returns a wrong one: each has
// a checksum. When the budget is used up, what was not used for the longest time
// goes. What is put or deleted is written soon, in order, by a goroutine that
// ends with Close; until then it is lost when the process dies. A Disk is safe
// for concurrent use. A nil *Disk is a cache that keeps nothing.
type Disk struct {
	budget int64
	log    *slog.Logger
	root   *os.Root
	lock   *os.File
	tune   tuning

	opened time.Time // by the clock
	epoch  time.Time // what stamps say of that moment, see now

	wake    chan struct{} // something is to be written
	hurry   chan struct{} // and somebody waits for it
	closing chan struct{} // closed by Close
	done    chan struct{} // closed when write has ended

	hits, misses atomic.Int64 // of Get

	// mu guards what follows. A lookup may begin with mu held, so store.scrubbing
	// comes behind mu. Cache.mu is never held here.
	mu      sync.Mutex
	room    *sync.Cond // pending has shrunk
	store   *store     // nil if it was given up
	broken  *store     // the one that was, until the writer has ended it
	totals  totals
	queue   []*change            // what is to be written, in order
	waiting map[string]*change   // the last change of each key in it
	prefix  map[string]int       // the prefixes in it, and how often each
	gone    map[string]bool      // prefixes that were forgotten
	latest  []string             // of them, in order
	pending int64                // bytes of it
	touched map[string]time.Time // what was read lately
	failing bool                 // writing does not work: nothing is taken
	said    map[string]bool      // errors that were logged
	closed  bool
	damages int // stores given up since OpenDisk
	lost    int // see Lost
}

// tuning is how a Disk works; tests have other values.
type tuning struct {
	linger  time.Duration // how long to wait for more to write
	touch   time.Duration // how old a stamp may be
	touches int           // how many uses to collect
	pending int64         // bytes that may wait
	batch   int64         // bytes of one transaction
	steps   int           // entries deleted in one transaction
	retry   time.Duration // when to write again after an error
	noSync  bool          // a power failure may take everything
	clock   func() time.Time
}

var usual = tuning{
	linger:  50 * time.Millisecond,
	touch:   time.Hour,
	touches: 1000,
	pending: 8 << 20,
	batch:   4 << 20,
	steps:   2000,
	retry:   10 * time.Second,
	clock:   time.Now,
}

// OpenDisk opens the cache in dir, and makes dir, for the user alone, if it is
// not there. budget is how many bytes it may take. A damaged cache is begun
// anew. The error is ErrInUse if another process has it.
func OpenDisk(dir string, budget int64, log *slog.Logger) (*Disk, error) {
	return openDisk(dir, budget, log, usual)
}

func openDisk(dir string, budget int64, log *slog.Logger, tune tuning) (*Disk, error) {
	root, err := openDir(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the cache: %w", err)
	}
	d := &Disk{
		budget:  budget,
		log:     log,
		root:    root,
		tune:    tune,
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		gone:    make(map[string]bool),
		touched: make(map[string]time.Time),
		said:    make(map[string]bool),
		opened:  tune.clock(),
	}
	d.room = sync.NewCond(&d.mu)
	d.emptyQueue()
	if d.lock, err = lock(root); err == nil {
		err = d.begin()
	}
	if err != nil {
		d.lock.Close() // nothing, if it is nil
		root.Close()
		return nil, err
	}
	go d.write(d.store)
	return d, nil
}

// openDir opens the directory. What happens to its name later does not matter.
func openDir(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	// Root could make use of it too, and its owner would read the mail.
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to another user", dir)
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(dir)
}

// begin opens the store; one that cannot be opened, or that has grown far
// beyond the budget of today, is thrown away.
func (d *Disk) begin() error {
	if info, err := d.root.Stat(indexName); err == nil && info.Size() > 2*d.budget+(64<<20) {
		d.log.Info("beginning the disk cache anew: it is larger than it may be", "bytes", info.Size())
		removeStore(d.root)
	}
	s, err := openStore(d.root, d.tune.noSync)
	if err != nil && !passing(err) {
		d.log.Warn("beginning the disk cache anew", "error", err)
		if err := removeStore(d.root); err != nil {
			return fmt.Errorf("removing a damaged cache: %w", err)
		}
		s, err = openStore(d.root, d.tune.noSync)
	}
	if err != nil {
		return fmt.Errorf("opening the cache: %w", err)
	}
	d.store, d.totals = s, s.begun
	if d.epoch = d.opened; s.newest.After(d.epoch) {
		d.epoch = s.newest
	}
	return nil
}

// now is the time that stamps bear. It goes on from the newest of them where the
// clock was set back: what is put now must not be taken for the oldest.
func (d *Disk) now() time.Time { return d.epoch.Add(d.tune.clock().Sub(d.opened)) }

// Close writes what waits to be written, and gives the directory back.
func (d *Disk) Close() error {
	wasOpen := false // a nil Disk was not either
	d.locked(func() {
		wasOpen, d.closed = !d.closed, true
		d.room.Broadcast()
	})
	if !wasOpen {
		return nil
	}
	close(d.closing)
	<-d.done

	var s *store
	d.locked(func() { s, d.store = d.store, nil })
	var err error
	if s != nil {
		err = s.close()
	}
	return errors.Join(err, d.lock.Close(), d.root.Close())
}

// locked runs fn with mu held, but not for a nil Disk, which has nothing.
func (d *Disk) locked(fn func()) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fn()
}

// Flush waits until what was put is written, or lost.
func (d *Disk) Flush() {
	d.locked(func() {
		for len(d.queue) > 0 && !d.closed && !d.failing {
			poke(d.hurry)
			d.room.Wait()
		}
	})
}

// Failing tells whether the disk cannot be written, so that nothing is kept.
func (d *Disk) Failing() bool {
	failing := true
	d.locked(func() { failing = d.failing || d.closed })
	return failing
}

// Lost counts how often something was not kept because of an error. What was
// put while it did not grow, up to a Flush, was written.
func (d *Disk) Lost() (lost int) {
	d.locked(func() { lost = d.lost })
	return lost
}

// Budget returns how many bytes may be kept.
func (d *Disk) Budget() int64 { return d.Stats().Budget }

// Used returns about how many bytes are taken on the disk, or will be when what
// waits is written.
func (d *Disk) Used() int64 { return d.Stats().Bytes }

// Len returns how many values are on the disk.
func (d *Disk) Len() int { return d.Stats().Entries }

// Stats tells of the disk.
func (d *Disk) Stats() (s Stats) {
	d.locked(func() {
		s = Stats{Hits: d.hits.Load(), Misses: d.misses.Load(), Entries: int(d.totals.count), Bytes: d.totals.used + d.pending, Budget: d.budget}
	})
	return s
}
