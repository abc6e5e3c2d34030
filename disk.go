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
// too, so an error is only said.
func (s *settings) openDisk(u imapbackend.URL, log *slog.Logger) *cache.Disk {
	if s.diskCacheSize == 0 {
		return nil
	}
	root, err := cacheRoot()
	var disk *cache.Disk
	if err == nil {
		disk, err = cache.OpenDisk(filepath.Join(root, accountName(u)), int64(s.diskCacheSize), log)
	}
	switch {
	case errors.Is(err, cache.ErrInUse):
		fmt.Fprintln(os.Stderr, "imapfs: warning: another mount of this account uses the cache on disk; this one does without it, and mirrors nothing")
	case err != nil:
		fmt.Fprintf(os.Stderr, "imapfs: warning: no cache on disk (%v): this mount does without it, and mirrors nothing; set XDG_CACHE_HOME to a directory of yours that can be written\n", err)
	}
	return disk
}
