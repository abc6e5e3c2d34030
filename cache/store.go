package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// store is what a Disk has on the disk: a database and, for large values, a
// file each. The database has these buckets:
//
//	entries  key → entry: number, size, stamp and checksum of the value
//	used     stamp, number → key: who was used when
//	values   number → value
//	files    number → nothing: the values that are files
//	meta     one record, see totals
//
// A value has a number of its own, counted up, and never changes. So the large
// bucket only grows at its end, and a use is noted without writing the value
// again. Only Disk.write changes a store.
type store struct {
	root *os.Root
	file *os.File // of the database
	db   *bbolt.DB

	scrubbing   sync.RWMutex // held by those who read, and to scrub
	free, dirty []uint64     // pages, see scrub; of the writer alone

	begun  totals       // when it was opened
	newest time.Time    // the newest stamp then; zero for none
	views  atomic.Int64 // see view
}

var (
	entriesBucket = []byte("entries")
	usedBucket    = []byte("used")
	valuesBucket  = []byte("values")
	filesBucket   = []byte("files")
	metaBucket    = []byte("meta")
	buckets       = [][]byte{entriesBucket, usedBucket, valuesBucket, filesBucket, metaBucket}
	totalsKey     = []byte("totals")
)

const (
	indexName = "index.db"
	filesName = "files"

	// largest is up to what size a value is kept in the database, 64 kB.
	largest = 64 << 10

	// entryCost is what an entry takes on the disk beside its value and twice
	// its key, and fill how much a value in the database takes: its page is
	// not full. Both measured (BenchmarkDisk).
	entryCost = 250
	blockSize = 4096

	// databasePage is the size of the database's pages, wherever it is made.
	databasePage = 4096

	// formatVersion changes when a new program could not read an old store.
	formatVersion = 1
)

// openStore opens the store in root, or begins one.
func openStore(root *os.Root, noSync bool) (*store, error) {
	s := &store{root: root}
	err := guard(func() (err error) {
		if err := root.MkdirAll(filesName, 0o700); err != nil {
			return err
		}
		s.db, err = bbolt.Open(indexName, 0o600, &bbolt.Options{
			Timeout:  time.Millisecond, // the lock is ours
			PageSize: databasePage,
			// The list of free pages is written too: without it the whole file
			// is read at each start, in goroutines whose panics nobody catches.
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			NoSync:       noSync,
			NoGrowSync:   noSync,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				file, err := root.OpenFile(name, flag, mode)
				if err != nil {
					return nil, err
				}
				s.file = file
				info, err := file.Stat()
				if err == nil {
					err = checkPages(file, info.Size())
				}
				return file, err
			},
		})
		if err != nil {
			return err
		}
		if err := s.prepare(); err != nil {
			return err
		}
		return s.scrub(true) // what a crash has left; nobody reads yet
	})
	switch {
	case err == nil:
		return s, nil
	case !passing(err):
		s.abandon()
	case s.db != nil:
		s.close()
	}
	return nil, err
}

// prepare makes the buckets of a new store, and looks whether an old one has
// them.
func (s *store) prepare() error {
	isNew := false
	err := s.db.View(func(tx *bbolt.Tx) (err error) {
		if isNew = tx.Bucket(metaBucket) == nil; isNew {
			return nil
		}
		for _, name := range buckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: no %s", errDamaged, name)
			}
		}
		if k, _ := tx.Bucket(usedBucket).Cursor().Last(); len(k) == 16 {
			s.newest = time.Unix(0, int64(min(binary.BigEndian.Uint64(k), lastStamp)))
		}
		s.begun, err = parseTotals(tx.Bucket(metaBucket).Get(totalsKey))
		return err
	})
	if err != nil || !isNew {
		return err
	}
	s.begun = totals{next: 1}
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(totalsKey, s.begun.bytes())
	})
}

func (s *store) close() error { return guard(s.db.Close) }

// abandon leaves a damaged store. Its database is not closed: after a panic it
// may hold its own locks. It is cut off, so that neither disk nor memory is
// taken by what stays mapped; who still reads gets a fault, which guard catches.
func (s *store) abandon() {
	if s.file != nil {
		s.file.Truncate(0)
		s.file.Close()
	}
}

// removeStore removes what is in root but for the lock.
func removeStore(root *os.Root) error {
	return errors.Join(root.RemoveAll(indexName), root.RemoveAll(filesName))
}

// viewsMapped is after how many transactions the database's pages are unmapped.
const viewsMapped = 256

// view runs fn in a transaction that reads. Each page that it looks at is mapped
// then, with its neighbours, 64 kB: what stays mapped counts as memory of this
// program, although the kernel can take it back. So it is given back now and
// then; it stays in the kernel's cache.
func (s *store) view(fn func(*bbolt.Tx) error) error {
	s.scrubbing.RLock()
	defer s.scrubbing.RUnlock()
	return guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			err := fn(tx)
			if s.views.Add(1)%viewsMapped == 0 {
				s.unmap(tx)
			}
			return err
		})
	})
}

// unmap gives the mapped pages back. The mapping itself stays, as long as the
// transaction lasts.
func (s *store) unmap(tx *bbolt.Tx) {
	unix.Syscall(unix.SYS_MADVISE, s.db.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
}

// find returns the entry of key.
func (s *store) find(key string) (e entry, err error) {
	err = s.view(func(tx *bbolt.Tx) (err error) {
		e, err = entryOf(tx.Bucket(entriesBucket), key)
		return err
	})
	return e, err
}

// sizes notes in sizes how long the values are of those keys which have one, of
// the keys with these indices.
func (s *store) sizes(keys []string, indices []int, sizes []int64) error {
	return s.view(func(tx *bbolt.Tx) error {
		entries := tx.Bucket(entriesBucket)
		for _, i := range indices {
			e, err := entryOf(entries, keys[i])
			if err != nil {
				return err
			}
			if e.number != 0 {
				sizes[i] = e.size
			}
		}
		return nil
	})
}

// names notes in names what Disk.Names returns.
func (s *store) names(prefix string, names map[string]bool) error {
	return s.view(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(entriesBucket).Cursor()
		k, _ := cursor.Seek([]byte(prefix))
		for k != nil && bytes.HasPrefix(k, []byte(prefix)) {
			name, _, _ := strings.Cut(string(k[len(prefix):]), "\x00")
			names[name] = true
			k, _ = cursor.Seek([]byte(prefix + name + "\x01")) // behind all of it
		}
		return nil
	})
}

// keys notes the keys that begin with prefix.
func (s *store) keys(prefix string, keys map[string]bool) error {
	return s.view(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(entriesBucket).Cursor()
		for k, _ := cursor.Seek([]byte(prefix)); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, _ = cursor.Next() {
			keys[string(k)] = true
		}
		return nil
	})
}

// get returns the entry of key and its value, nil if that is not what was
// written.
func (s *store) get(key string) (e entry, value []byte, err error) {
	err = s.view(func(tx *bbolt.Tx) (err error) {
		e, err = entryOf(tx.Bucket(entriesBucket), key)
		if err == nil && e.number != 0 && !e.large() {
			b := tx.Bucket(valuesBucket).Get(bigEndian(e.number))
			value = append(make([]byte, 0, len(b)), b...) // b is gone with the transaction
		}
		return err
	})
	if err != nil || e.number == 0 {
		return e, nil, err
	}
	if e.large() {
		value, _ = s.root.ReadFile(fileName(e.number))
	}
	if int64(len(value)) != e.size || checksum(key, value) != e.sum {
		value = nil
	}
	return e, value, nil
}

// removeStrays removes the files that no entry names: a crash leaves some.
func (s *store) removeStrays() error {
	names, err := fs.ReadDir(s.root.FS(), filesName)
	if err != nil {
		return err
	}
	return s.view(func(tx *bbolt.Tx) error {
		files := tx.Bucket(filesBucket)
		for _, name := range names {
			number, err := strconv.ParseUint(name.Name(), 10, 64)
			if err != nil || files.Get(bigEndian(number)) == nil {
				s.root.RemoveAll(path.Join(filesName, name.Name()))
			}
		}
		return nil
	})
}
