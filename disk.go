package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"

	"imapfs/cache"
	"imapfs/imapbackend"
)

// cacheRoot is where the caches of all accounts are.
func cacheRoot() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "imapfs"), err
}

// accountName is the name of an account's cache.
func accountName(u imapbackend.URL) string {
	return url.PathEscape(u.User) + "@" + url.PathEscape(u.Addr())
}

// openDisk opens the cache on disk of an account. Without one everything works
// too, so an error is only said. forget closes a cache that was not there
// before, and removes it.
func (s *settings) openDisk(u imapbackend.URL, log *slog.Logger) (disk *cache.Disk, forget func()) {
	forget = func() {}
	if s.diskCacheSize == 0 {
		return nil, forget
	}
	root, err := cacheRoot()
	if err == nil {
		dir := filepath.Join(root, accountName(u))
		_, missing := os.Lstat(dir)
		disk, err = cache.OpenDisk(dir, int64(s.diskCacheSize), log)
		if disk != nil && errors.Is(missing, os.ErrNotExist) {
			forget = func() {
				disk.Close()
				cache.Clear(dir) // or another mount has it, and keeps it
			}
		}
	}
	switch {
	case errors.Is(err, cache.ErrInUse):
		fmt.Fprintln(os.Stderr, "imapfs: warning: another mount of this account uses the cache on disk; this one does without it, and mirrors nothing")
	case err != nil:
		fmt.Fprintf(os.Stderr, "imapfs: warning: no cache on disk (%v): this mount does without it, and mirrors nothing; set XDG_CACHE_HOME to a directory of yours that can be written\n", err)
	}
	return disk, forget
}
