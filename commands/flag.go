package commands

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imapfs/fs"
	"imapfs/mail"
)

func flagCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "flag +FLAG|-FLAG... MESSAGE...",
		Short: "Set and take away flags of messages",
		Long: `flag sets and takes away flags of many messages at once, with one command to the
server for each folder. The flags are Seen, Flagged, Answered and Draft, and any
other word that the server keeps. Of a single message the file "flags" in its
directory tells them, and takes them too.`,
		Example: `  imapfs flag +Seen ~/mail/INBOX/{1..200}
  imapfs flag +Flagged -Seen ~/mail/INBOX/483
  cat ~/mail/INBOX/483/flags`,
		DisableFlagParsing:    true, // -Seen is none
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			changes := 0
			for changes < len(args) && len(args[changes]) > 1 && strings.ContainsAny(args[changes][:1], "+-") && args[changes] != "--" {
				if args[changes] == "--help" || args[changes] == "-h" {
					return cmd.Help()
				}
				changes++
			}
			messages := args[changes:]
			if len(messages) > 0 && messages[0] == "--" {
				messages = messages[1:]
			}
			if changes == 0 || len(messages) == 0 {
				return usagef("flag needs flags, like +Seen or -Flagged, and messages, like ~/mail/INBOX/483")
			}
			change := strings.Join(args[:changes], " ")
			if _, err := mail.ParseFlagChange(change); err != nil {
				return usageError{err}
			}
			return leaveBehind(cmd.Context(), func() error { return flagMessages(change, messages) })
		},
	}
}

// flagMessages changes the flags of messages, each mount's at once.
func flagMessages(change string, messages []string) error {
	paths := make(map[string][]string) // by mount
	for _, message := range messages {
		root, path, err := inMount(message)
		if err != nil {
			return err
		}
		paths[root] = append(paths[root], path)
	}
	for root, paths := range paths {
		if err := writeFlags(root, fs.FlagSlip(change, paths)); err != nil {
			return fmt.Errorf("%s: %w", root, explainFlags(err))
		}
	}
	return nil
}

// inMount returns the mount point above a message, and its path from there.
func inMount(message string) (root, path string, err error) {
	at, err := filepath.Abs(message)
	if err != nil {
		return "", "", err
	}
	if at, err = filepath.EvalSymlinks(at); err != nil {
		return "", "", fmt.Errorf("cannot find %s: %v", message, errors.Unwrap(err))
	}
	for root := filepath.Dir(at); ; root = filepath.Dir(root) {
		if _, err := os.Lstat(filepath.Join(root, fs.StatusPath)); err == nil {
			path, err := filepath.Rel(root, at)
			return root, path, err
		}
		if root == filepath.Dir(root) {
			return "", "", fmt.Errorf("%s is not in a mount of imapfs", message)
		}
	}
}

func writeFlags(root, slip string) error {
	if err := unix.Access(root, unix.W_OK); errors.Is(err, syscall.EROFS) {
		return err // there is no such file then
	}
	f, err := os.OpenFile(filepath.Join(root, fs.FlagPath), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(slip)
	return errors.Join(err, f.Close())
}

// explainFlags says in plain words what an error of the mount means.
func explainFlags(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return errors.New("a message is gone")
	case errors.Is(err, syscall.EROFS):
		return errors.New("this mount can only be read")
	case errors.Is(err, syscall.EPERM):
		return errors.New("the server does not keep such a flag; the log of the mount says more")
	case errors.Is(err, syscall.EACCES):
		return errors.New("this folder can only be read")
	case errors.Is(err, syscall.EINVAL):
		return errors.New("not all of these are messages")
	case errors.Is(err, syscall.EFBIG):
		return errors.New("too many messages at once")
	}
	return fmt.Errorf("flags are not changed, or not all: %w; the log of the mount says more", err)
}
