package commands

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imapfs/cache"
)

func cacheCommand() *cobra.Command {
	all := &cobra.Command{
		Use:                   "cache",
		DisableFlagsInUseLine: true,
		Short:                 "List the mail that is kept on disk, or remove it",
		Long: `Each mount keeps what was read on disk for the next one, up to its
--disk-cache-size: in imapfs below $XDG_CACHE_HOME or ~/.cache, a directory for
each account. It is mail in the clear, readable by you alone.`,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("cache wants one of: list, clear")}
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
		RunE: func(cmd *cobra.Command, args []string) error {
			root, accounts, err := cachedAccounts()
			if err != nil {
				return err
			}
			for _, name := range args {
				if !slices.ContainsFunc(accounts, func(a cache.Account) bool { return a.Name == name }) {
					return fmt.Errorf("no mail of %q is kept on disk; see: imapfs cache list", name)
				}
			}
			var busy []string
			for _, a := range accounts {
				if len(args) > 0 && !slices.Contains(args, a.Name) {
					continue
				}
				err := cache.Clear(filepath.Join(root, a.Name))
				if errors.Is(err, cache.ErrInUse) {
					busy = append(busy, a.Name)
					continue
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s of %s\n", sizeText(a.Bytes), printable(a.Name))
			}
			if len(busy) > 0 {
				return fmt.Errorf("not removed, because a mount uses it: %s; unmount first", printable(strings.Join(busy, ", ")))
			}
			return nil
		},
	})
	return all
}

// cachedAccounts returns what is kept on disk, and where.
func cachedAccounts() (root string, accounts []cache.Account, err error) {
	if root, err = cacheRoot(); err != nil {
		return "", nil, fmt.Errorf("no directory for the cache: %v", err)
	}
	accounts, err = cache.Accounts(root)
	return root, accounts, err
}
