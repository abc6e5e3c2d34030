package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Account is a Disk's directory, that of one account.
type Account struct {
	Name  string // of the directory
	Bytes int64  // that it takes on the disk
	InUse bool   // a mount has it
}

// Accounts lists the caches below a directory, in the order of their names;
// none if there is no such directory.
func Accounts(root string) ([]Account, error) {
	names, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the caches: %w", err)
	}
	var accounts []Account
	for _, name := range names {
		dir := filepath.Join(root, name.Name())
		if _, err := os.Lstat(filepath.Join(dir, lockName)); err != nil {
			continue
		}
		a := Account{Name: name.Name(), Bytes: taken(dir)}
		if a.InUse, err = inUse(dir); err != nil {
			return nil, err
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

// taken returns how many bytes the files in dir, which may be a link to another
// disk, take on the disk.
func taken(dir string) (bytes int64) {
	filepath.WalkDir(dir+string(filepath.Separator), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += stat.Blocks * 512 // POSIX leaves the unit open; all have this one
			}
		}
		return nil
	})
	return bytes
}

// inUse tells whether a process has dir.
func inUse(dir string) (bool, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, fmt.Errorf("listing the caches: %w", err)
	}
	defer root.Close()
	file, err := tryLock(root)
	if err == nil {
		return false, file.Close()
	}
	if errors.Is(err, ErrInUse) {
		return true, nil
	}
	return false, err
}

// Clear removes the cache in dir. The error is ErrInUse if a mount has it.
func Clear(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clearing the cache: %w", err)
	}
	defer root.Close()
	file, err := lock(root)
	if err != nil {
		return err
	}
	defer file.Close()
	if err = removeStore(root); err == nil {
		// The lock goes last: whoever has waited for it sees that it is gone.
		err = root.Remove(lockName)
	}
	if err != nil {
		return fmt.Errorf("clearing the cache: %w", err)
	}
	os.Remove(dir) // not if anything else is in it
	return nil
}
