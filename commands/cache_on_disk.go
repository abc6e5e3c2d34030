package commands

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

// openDisk opens the cache on disk of an account. Without one everything but a
// mirror works too, so an error is only said. forget closes a cache that was not there
// before, and removes it.
func (s *settings) openDisk(u imapbackend.URL, log *slog.Logger) (disk *cache.Disk, forget func(), err error) {
	forget = func() {}
	if s.diskCacheSize == 0 {
		return nil, forget, nil
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
	inUse, mirror := errors.Is(err, cache.ErrInUse), len(s.mirror) > 0
	const otherPlace = "set XDG_CACHE_HOME to a directory of yours that can be written"
	switch {
	case inUse && mirror:
		return nil, forget, errors.New("another mount of this account uses the cache on disk, and --mirror needs it; unmount the other one, or leave out --mirror")
	case inUse:
		fmt.Fprintln(os.Stderr, "imapfs: warning: another mount of this account uses the cache on disk; this one does without it")
	case err != nil && mirror:
		return nil, forget, fmt.Errorf("no cache on disk (%v), and --mirror needs it; %s", err, otherPlace)
	case err != nil:
		fmt.Fprintf(os.Stderr, "imapfs: warning: no cache on disk (%v): this mount does without it; %s\n", err, otherPlace)
	}
	return disk, forget, nil
}
