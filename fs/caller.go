package fs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// rmdir(2) deletes a message that still shows files only where that is what somebody has
// asked for: by rmdir(1), or gio remove. For all others the directory is not empty before
// they have unlinked what it shows, which is what rm -r and each file manager's delete do.
//
// Many programs call rmdir on a directory that may be in use, and count on ENOTEMPTY:
// borg, tar, mv, git and what has libarchive inside, for what is in their way when they
// restore or overwrite; Nautilus, Thunar and PCManFM, for what they were to merge into
// another directory, also when not one file of it could be moved. Nobody knows them all,
// so those are named that mean it.

// meansToDelete tells whether the caller of a request is one of them. Where there is no
// proc(5) nobody is.
func meansToDelete(ctx context.Context) bool {
	words := slices.DeleteFunc(callerIs(ctx), func(word string) bool { return word == "busybox" || word == "toybox" })
	switch {
	case len(words) == 0:
		return false
	case words[0] == "rmdir":
		return true
	}
	return slices.Equal(words, []string{"gio", "remove"})
}

// discards tells whether the caller of a request is KDE's trash. Of a file system that it
// takes for no device it copies to the trash in the home directory what it shows, and
// removes it then: somebody has pressed Delete, was asked nothing, and trusts that nothing
// is lost. (Solid knows FUSE mounts by their type, of which it has a list: sshfs and few
// others.)
func discards(ctx context.Context) bool {
	words := callerIs(ctx)
	return len(words) == 2 && words[1] == "kio_trash.so"
}

// callerIs returns the first two words of the command line of a request's caller, without
// the directories; none if that is not known.
func callerIs(ctx context.Context) []string {
	caller, ok := fuse.FromContext(ctx)
	if !ok || caller.Pid == 0 {
		return nil
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", caller.Pid))
	if err != nil {
		return nil
	}
	words := strings.SplitN(string(line), "\x00", 3)
	words = words[:min(len(words), 2)]
	for i := range words {
		words[i] = filepath.Base(words[i])
	}
	return words
}
