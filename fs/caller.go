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
// with a single command. But programs that restore or overwrite call rmdir on a
// directory that is in their way, and count on ENOTEMPTY where it is in use. For
// these it is: they still delete a message once they have emptied it.
//
//   - borg extract, for each directory that is there already (borg 1.x,
//     Archive.extract_item: "Attempt to remove existing files, ignore errors");
//   - git, for the directories above a file that it has removed (remove_path,
//     schedule_dir_for_removal);
//   - mv of a directory from elsewhere onto one (copy_internal: "Remove any
//     existing destination file so that a cross-device 'mv' acts as if it were
//     really using the rename syscall");
//   - tar, for each directory with --unlink-first or --keep-newer-files, and
//     for one that is to become a file (remove_any_file);
//   - bsdtar, cpio and 7-Zip, for one that is to become a file; and so whatever
//     has libarchive inside;
//   - what else copies, restores or synchronizes, to be on the safe side.
var tidy = []string{
	"tar", "gtar", "bsdtar", "cpio", "bsdcpio", "pax", "unzip", "bsdunzip", "7z", "7za", "7zr", "7zz",
	"file-roller", "engrampa", "xarchiver", "ark", "cmake",
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
		name := filepath.Base(word)
		first, _, _ := strings.Cut(name, "-") // git-rm, borg-linux64
		return slices.Contains(tidy, name) || slices.Contains(tidy, first)
	})
}
