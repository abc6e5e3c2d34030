package commands

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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

func cacheCommand() *cobra.Command {
	all := &cobra.Command{
		Use:                   "cache",
		DisableFlagsInUseLine: true,
		Short:                 "List the mail that is kept on disk, or remove it",
		Long: `Each mount keeps what was read on disk for the next one, up to its
--disk-cache-size: in imapfs below $XDG_CACHE_HOME or ~/.cache, a directory for
each account. It is mail in the clear, readable by you alone.`,
		RunE: func(*cobra.Command, []string) error {
			return usagef("cache wants one of: list, clear")
		},
	}
	all.AddCommand(&cobra.Command{
		Use:                   "list",
		DisableFlagsInUseLine: true,
		Short:                 "List the accounts of which mail is kept on disk",
		Args:                  positional(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, accounts, err := cachedAccounts()
			for _, a := range accounts {
				use := ""
				if a.InUse {
					use = "  in use by a mount"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%12s  %s%s\n", sizeText(a.Bytes), printable(a.Name), use)
			}
			return err
		},
	}, &cobra.Command{
		Use:                   "clear [ACCOUNT...]",
		DisableFlagsInUseLine: true,
		Short:                 "Remove the mail that is kept on disk, of all accounts or of those named",
		Long: `clear removes the mail that is kept on disk, of all accounts or of those named
(as imapfs cache list names them). What a mount has in use stays.`,
		RunE: func(cmd *cobra.Command, args []string) error { return clearCache(cmd.OutOrStdout(), args) },
	})
	return all
}

// clearCache removes the mail of the accounts named, or of all, and prints which.
func clearCache(w io.Writer, names []string) error {
	root, accounts, err := cachedAccounts()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !slices.ContainsFunc(accounts, func(a cache.Account) bool { return a.Name == name }) {
			return fmt.Errorf("no mail of %q is kept on disk; see: imapfs cache list", name)
		}
	}
	var busy []string
	for _, a := range accounts {
		if len(names) > 0 && !slices.Contains(names, a.Name) {
			continue
		}
		switch err := cache.Clear(filepath.Join(root, a.Name)); {
		case errors.Is(err, cache.ErrInUse):
			busy = append(busy, a.Name)
		case err != nil:
			return err
		default:
			fmt.Fprintf(w, "removed %s of %s\n", sizeText(a.Bytes), printable(a.Name))
		}
	}
	if len(busy) > 0 {
		return fmt.Errorf("not removed, because a mount uses it: %s; unmount first", printable(strings.Join(busy, ", ")))
	}
	return nil
}

// cachedAccounts returns what is kept on disk, and where.
func cachedAccounts() (root string, accounts []cache.Account, err error) {
	if root, err = cacheRoot(); err != nil {
		return "", nil, fmt.Errorf("no directory for the cache: %v", err)
	}
	accounts, err = cache.Accounts(root)
	return root, accounts, err
}
