package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strconv"

	"go.etcd.io/bbolt"
)

// totals is the record of the meta bucket.
type totals struct {
	used  int64  // sum of the entries' costs
	count int64  // of entries
	next  uint64 // number of the next value
}

func (t totals) bytes() []byte {
	b := binary.BigEndian.AppendUint32(nil, formatVersion)
	b = append(b, bigEndian(uint64(t.used), uint64(t.count), t.next)...)
	sum := sha256.Sum256(b)
	return append(b, sum[:8]...)
}

func parseTotals(b []byte) (totals, error) {
	if len(b) != 36 || binary.BigEndian.Uint32(b) != formatVersion {
		return totals{}, fmt.Errorf("%w, or of another version", errDamaged)
	}
	if sum := sha256.Sum256(b[:28]); !bytes.Equal(sum[:8], b[28:]) {
		return totals{}, fmt.Errorf("%w: totals", errDamaged)
	}
	return totals{
		used:  int64(binary.BigEndian.Uint64(b[4:])),
		count: int64(binary.BigEndian.Uint64(b[12:])),
		next:  binary.BigEndian.Uint64(b[20:]),
	}, nil
}

// entry is what the entries bucket holds for a key.
type entry struct {
	number uint64 // of the value, from 1 on; 0: nothing is there
	size   int64
	stamp  int64    // when it was used, nanoseconds since 1970
	sum    [16]byte // the start of a SHA-256, see checksum
}

const entrySize = 40

// lastStamp is the latest stamp that is believed, in 2116: it leaves room to
// count on.
const lastStamp = 1 << 62

func (e entry) bytes() []byte {
	return append(bigEndian(e.number, uint64(e.size), uint64(e.stamp)), e.sum[:]...)
}

// entryOf returns the entry of key in the bucket of entries.
func entryOf(entries *bbolt.Bucket, key string) (entry, error) {
	b := entries.Get([]byte(key))
	if b == nil {
		return entry{}, nil
	}
	if len(b) != entrySize {
		return entry{}, fmt.Errorf("%w: an entry of %d bytes", errDamaged, len(b))
	}
	e := entry{
		number: binary.BigEndian.Uint64(b),
		size:   int64(binary.BigEndian.Uint64(b[8:])),
		stamp:  int64(binary.BigEndian.Uint64(b[16:])),
		sum:    [16]byte(b[24:]),
	}
	if e.number == 0 || e.size < 0 || e.size > 1<<40 {
		return entry{}, fmt.Errorf("%w: an entry of value %d with a size of %d", errDamaged, e.number, e.size)
	}
	return e, nil
}

// large tells that the value is a file.
func (e entry) large() bool { return e.size > largest }

// cost is what the entry counts against the budget.
func (e entry) cost(key string) int64 {
	cost := int64(2*len(key)) + entryCost
	if e.large() {
		return cost + (e.size+blockSize-1)/blockSize*blockSize
	}
	return cost + e.size + e.size/4
}

// used is the key of the entry in the bucket of uses.
func (e entry) used() []byte { return bigEndian(uint64(e.stamp), e.number) }

func bigEndian(numbers ...uint64) (b []byte) {
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func fileName(number uint64) string {
	return path.Join(filesName, strconv.FormatUint(number, 10))
}

func checksum(key string, value []byte) (sum [16]byte) {
	h := sha256.New()
	io.WriteString(h, strconv.Itoa(len(key))+" "+key)
	h.Write(value)
	copy(sum[:], h.Sum(nil))
	return sum
}
