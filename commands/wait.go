package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imapfs/fs"
	"imapfs/imapbackend"
	"imapfs/mail"
)

func waitCommand() *cobra.Command {
	follow, flags := false, false
	cmd := &cobra.Command{
		Use:   "wait [flags] DIR",
		Short: "Wait until a mounted folder changes",
		Long: `wait returns when messages come to a mounted folder or leave it, and prints the
new ones, a path on each line. With --follow it goes on, and misses none that
come between two calls. With --flags it returns when flags change too, and prints
those messages with a tab and the flags that they have now. Programs that watch
files (inotify) see no change in a mount of this kind; this is for scripts that
want to.`,
		Example: `  imapfs wait ~/mail/INBOX
  imapfs wait --follow ~/mail/INBOX | while read -r m; do head -3 "$m/headers.txt"; done
  imapfs wait --follow --flags ~/mail/INBOX | grep Flagged
  timeout 1h imapfs wait ~/mail/INBOX`,
		Args: positional(1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			status, err := askStatus(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if isBareRoot(args[0], status) {
				return fmt.Errorf("%s holds folders, no messages; wait watches a folder, like %s", args[0], filepath.Join(args[0], "INBOX"))
			}
			return leaveBehind(cmd.Context(), func() error { return waitFor(args[0], follow, flags, cmd.OutOrStdout()) })
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on, until interrupted")
	cmd.Flags().BoolVar(&flags, "flags", false, "also when flags of messages change")
	return cmd
}

const (
	// waitLook is the time between two looks. The kernel answers from memory.
	waitLook = 200 * time.Millisecond
	// waitSettle is how long after a change a listing may be an old one: that
	// of another program was on its way just then (onTheWay in package fs).
	waitSettle = 2 * time.Second
)

// isBareRoot tells whether dir is the root of a mount, with the status, which
// shows all folders. Nothing ever comes there.
func isBareRoot(dir string, status []byte) bool {
	var r report
	if _, err := os.Lstat(filepath.Join(dir, filepath.Dir(fs.StatusPath))); err != nil || json.Unmarshal(status, &r) != nil {
		return false
	}
	u, err := imapbackend.ParseURL(r.Source)
	return err != nil || u.Folder == ""
}

// waitFor prints what comes to the folder dir, and with flags of which messages they have
// changed: the first of it, or all.
func waitFor(dir string, follow, flags bool, w io.Writer) error {
	f, err := newWatchedFolder(dir)
	if err != nil {
		return err
	}
	var watched watchedFlags
	if flags {
		if watched, err = newWatchedFlags(dir); err != nil {
			return err
		}
	}
	for {
		time.Sleep(waitLook)
		came, changed, err := f.look()
		if err != nil {
			return err
		}
		var lines []string
		for _, uid := range came {
			lines = append(lines, filepath.Join(dir, f.names[uid]))
		}
		if flags {
			for name, words := range watched.look() {
				lines = append(lines, filepath.Join(dir, name)+"\t"+words)
				changed = true
			}
		}
		for _, line := range lines {
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		if changed && !follow {
			return nil
		}
	}
}

// watchedFolder is a mounted folder, and what was in it.
type watchedFolder struct {
	dir     string
	device  uint64 // the mount's
	changed unix.Timespec
	settled time.Time         // until then the listing may be an old one; zero for settled
	uids    []uint32          // seen, in order
	names   map[uint32]string // of what the last look has seen
}

func newWatchedFolder(dir string) (*watchedFolder, error) {
	f := &watchedFolder{dir: dir}
	var err error
	if f.device, f.changed, err = lastChange(dir); err != nil {
		return nil, fmt.Errorf("cannot watch %s: %v", dir, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "headers.txt")); err == nil {
		return nil, fmt.Errorf("%s is a message; wait watches a folder", dir)
	}
	if f.uids, f.names, err = messagesIn(dir); err != nil {
		return nil, fmt.Errorf("cannot list %s: %v", dir, errors.Unwrap(err)) // without the path
	}
	return f, nil
}

// look returns the messages that have come since the last look, and whether
// anything has changed.
func (f *watchedFolder) look() (came []uint32, changed bool, err error) {
	device, at, err := lastChange(f.dir)
	if errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.EIO) {
		return nil, false, nil // the server is away
	}
	if err != nil || device != f.device {
		return nil, false, fmt.Errorf("%s is gone: the folder was deleted, or the mount has ended", f.dir)
	}
	if at != f.changed {
		f.changed, f.settled = at, time.Now().Add(waitSettle)
	}
	if f.settled.IsZero() {
		return nil, false, nil
	}
	uids, names, err := messagesIn(f.dir)
	if err != nil {
		return nil, false, nil // the server is away, or the next look says more
	}
	f.names = names
	for _, uid := range uids {
		if _, had := slices.BinarySearch(f.uids, uid); !had && f.isMessage(names[uid]) {
			came = append(came, uid)
		}
	}
	changed = !slices.Equal(uids, f.uids)
	if time.Now().After(f.settled) {
		// If it looks as before, something has come and gone, or all messages
		// have got new numbers.
		f.settled, f.uids = time.Time{}, uids
		return came, true, nil
	}
	// An old listing may follow: what was seen stays, and is not new again.
	f.uids = append(f.uids, came...)
	slices.Sort(f.uids)
	return came, changed, nil
}

// isMessage tells whether it is one and no folder: no folder in a folder with messages is
// called by a number alone.
func (f *watchedFolder) isMessage(name string) bool {
	_, ok := mail.ParseNumber(name)
	return ok || !isFolder(filepath.Join(f.dir, name))
}

// lastChange returns the device that dir is on, and its ctime: that is when the
// mount has noted the last change.
func lastChange(dir string) (device uint64, at unix.Timespec, err error) {
	var st unix.Stat_t
	for {
		if err = unix.Stat(dir, &st); err != unix.EINTR {
			return uint64(st.Dev), st.Ctim, err
		}
	}
}

// messagesIn returns the messages in a mounted folder, in order, and their names.
func messagesIn(dir string) (uids []uint32, names map[uint32]string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	names = make(map[uint32]string)
	for _, e := range entries {
		if uid, ok := mail.ParseName(e.Name()); ok && e.IsDir() {
			uids = append(uids, uid)
			names[uid] = e.Name()
		}
	}
	slices.Sort(uids)
	return uids, names, nil
}
