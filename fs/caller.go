package fs

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// rmdir deletes a message also if it shows files: that is how one deletes it
// with a single command. But programs that restore or overwrite call rmdir on
// any directory that is in their way, and count on ENOTEMPTY where it is in
// use. For these it is: they still delete a message by unlinking its files
// first.
//
//   - GNU tar -U (--unlink-first) on each directory that is there already, and
//     tar without it where a file is to take the place of a directory;
//   - mv on the directory that it is to replace, if that is on another file
//     system;
//   - cpio, bsdtar, 7z and pax, where a file is to take a directory's place;
//   - borg extract on each directory that is there already (borg 1.x,
//     Archive.extract_item: "Attempt to remove existing files, ignore errors");
//   - git on the directories above a file that it has removed (remove_path,
//     schedule_dir_for_removal);
//   - what else copies, restores or synchronizes, to be on the safe side.
var tidy = []string{
	"tar", "gtar", "bsdtar", "cpio", "bsdcpio", "pax", "unzip", "bsdunzip", "7z", "7za", "7zr", "7zz",
	"cp", "mv", "install", "ln",
	"borg", "restic", "duplicity", "git", "rsync", "unison", "rclone",
}

// countsOnNotEmpty tells whether the caller of a request is one of them. Where
// there is no proc(5) nobody is.
func countsOnNotEmpty(ctx context.Context) bool {
	caller, ok := fuse.FromContext(ctx)
	if !ok || caller.Pid == 0 {
		return false
	}
	line, err := os.ReadFile(filepath.Join("/proc", strconv.FormatUint(uint64(caller.Pid), 10), "cmdline"))
	if err != nil {
		return false
	}
	// The program, or an interpreter or busybox, perhaps with an option, and
	// its script.
	words := strings.SplitN(string(line), "\x00", 4)
	return slices.ContainsFunc(words[:min(len(words), 3)], func(word string) bool {
		name, _, _ := strings.Cut(filepath.Base(word), "-") // git-rm, borg-linux64
		return slices.Contains(tidy, name)
	})
}
