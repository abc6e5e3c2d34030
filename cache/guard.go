package cache

import (
	"errors"
	"fmt"
	"runtime/debug"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
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
	for _, e := range []error{
		errDamaged, berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch, berrors.ErrIncompatibleValue,
		berrors.ErrBucketNotFound, berrors.ErrKeyRequired, berrors.ErrKeyTooLarge, berrors.ErrFreePagesNotLoaded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// passing tells whether the error has nothing to do with what is in the store,
// so that it is not to be thrown away.
func passing(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, berrors.ErrTimeout} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
