//go:build !linux

package cache

import "os"

// empty makes zeros of a part of a file.
func empty(file *os.File, off, size int64) error { return zero(file, off, size) }
