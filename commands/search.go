package commands

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"imapfs/fs"
	"imapfs/query"
)

func searchCommand() *cobra.Command {
	var zero, count bool
	search := &cobra.Command{
		Use:   "search [flags] DIR QUERY",
		Short: "Print the messages in a mounted folder that a query finds",
		Long: `search prints the path of each message below DIR that QUERY finds: DIR is a folder of a
mount, or the mount point for all folders. A query is words, and what they can be about:

  from:ines subject:"lantern walk" since:2025-11-01 larger:1M has:attachment is:unread
  tag:work -from:bot (walk or run)

docs/search.md has all of it. The same is found in DIR/.search/QUERY/, as directories.`,
		Example: `  imapfs search ~/mail/INBOX 'from:ines is:unread'
  imapfs search -0 ~/mail 'from:bot before:2024' | xargs -0 rm -r`,
		Args: positional(2, "DIR and QUERY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := query.Parse(args[1], time.Now()); err != nil {
				return usagef("%w", err)
			}
			end := "\n"
			if zero {
				end = "\x00"
			}
			return searchIn(args[0], args[1], end, count, cmd.OutOrStdout())
		},
	}
	search.Flags().BoolVarP(&zero, "null", "0", false, "end each path with a NUL instead of a newline")
	search.Flags().BoolVar(&count, "count", false, "print only how many there are")
	return search
}

// searchIn prints what a query finds in a mounted folder, as it is found.
func searchIn(dir, text, end string, count bool, w io.Writer) error {
	top := filepath.Join(dir, fs.SearchName, query.Escape(text))
	n := 0
	var walk func(below string) error
	walk = func(below string) error {
		open, err := os.Open(filepath.Join(top, below))
		if err != nil {
			return err
		}
		defer open.Close()
		for {
			some, err := open.ReadDir(1) // for more it would wait
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			path := filepath.Join(below, some[0].Name())
			if isFolder(filepath.Join(dir, path)) {
				err = walk(path)
			} else if n++; !count {
				_, err = fmt.Fprint(w, filepath.Join(dir, path), end)
			}
			if err != nil {
				return err
			}
		}
	}
	err := walk("")
	switch {
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("the server cannot search for this; the mount's log says why")
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is no folder of a mount", dir)
	case errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Errorf("the server has found nothing new for longer than the mount's --timeout; it goes on, so try again in a while")
	case err != nil:
		return fmt.Errorf("cannot search in %s: %v", dir, err)
	}
	if count {
		_, err = fmt.Fprintln(w, n)
	}
	return err
}

// isFolder tells whether the directory is a folder and not a message, also where its name looks like
// one of a message.
func isFolder(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, fs.SearchName))
	return err == nil
}
