package mounttests

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
)

// deleting is what people do that want messages deleted, or for all that the
// program can tell do.
var deleting = []deed{
	{act: "rm -r", script: `rm -r "$M/3" "$M/6"`, gone: []imap.UID{3, 6}},
	{act: "rm -rf", script: `rm -rf "$M/6"; [ ! -d "$M/6" ]`, gone: []imap.UID{6}},
	{act: "rm -r FOLDER", script: `rm -r "$M" && [ ! -d "$M" ]`, gone: every},
	{act: "rm FILES; rmdir", script: `rm "$M/3/attachments"/* "$M/3"/*.txt; rmdir "$M/3/attachments" "$M/3"; [ ! -d "$M/3" ]`, gone: []imap.UID{3}},
	{act: "rmdir", script: `rmdir "$M/6"; [ ! -d "$M/6" ]`, gone: []imap.UID{6}},
	{act: "mv DIR out", script: `mv "$M/3" "$W" && diff -r "$E/3" "$W/3" && [ ! -d "$M/3" ]`, gone: []imap.UID{3}},
	{act: "find -delete", needs: "find", script: `find "$M/3" "$M/6" -delete`, gone: []imap.UID{3, 6}},
	{act: "find -exec rm -r", needs: "find", script: `find "$M" -maxdepth 1 -name '[36]' -exec rm -r {} +`, gone: []imap.UID{3, 6}},
	{act: "find -depth -exec rmdir", needs: "find", script: `find "$M" -mindepth 1 -maxdepth 1 -depth -name '[36]' -exec rmdir {} \;`, gone: []imap.UID{3, 6}},
	{act: "busybox rm -r", needs: "busybox", script: `busybox rm -r "$M/3" "$M/6"`, gone: []imap.UID{3, 6}},
	{act: "busybox rmdir", needs: "busybox", script: `busybox rmdir "$M/6"`, gone: []imap.UID{6}},
	{act: "busybox mv DIR out", needs: "busybox", script: `busybox mv "$M/3" "$W" && diff -r "$E/3" "$W/3"`, gone: []imap.UID{3}},
	{act: "rsync -a --delete", needs: "rsync", script: `rm -r "$E/3" "$E/6"; rsync -rt --omit-dir-times --delete "$E/" "$M/"`, gone: []imap.UID{3, 6}},
	{act: "rsync -a --delete, changed", needs: "rsync", script: `rm -r "$B/3" "$B/6"; rsync -a --delete "$B/" "$M/"`, fails: true, gone: []imap.UID{3, 6}},
	{act: "rsync -a --force FILE over DIR", needs: "rsync", script: `mkdir f; echo x >f/3; rsync -a --force f/ "$M/"`, fails: true, gone: []imap.UID{3}},
	{act: "tar c --remove-files", needs: "tar", script: `tar cf a.tar --remove-files -C "$M" 3 6 && tar xf a.tar && diff -r "$E/3" 3`, gone: []imap.UID{3, 6}},
	{act: "tar x --recursive-unlink", needs: "tar", script: `tar cf b.tar -C "$B" 3 && tar xf b.tar --recursive-unlink -C "$M"`, fails: true, gone: []imap.UID{3}},
	{act: "zip -m", needs: "zip", script: `cd "$M" && zip -qrm "$W/a.zip" 3 6`, gone: []imap.UID{3, 6}},
	{act: "7z a -sdel", needs: "7z", script: `7z a -sdel a.7z "$M/3" "$M/6" >/dev/null`, gone: []imap.UID{3, 6}},
	{act: "git clean -fdx", needs: "git", script: gitTrees + `git update-index -q --refresh; git rm -q --cached -r 3 6; git clean -qfdx`, gone: []imap.UID{3, 6}},
	{act: "git rm -r", needs: "git", script: gitTrees + `git update-index -q --refresh; git rm -qr 3 6`, gone: []imap.UID{3, 6}},
	{act: "git switch to a branch without", needs: "git", script: gitTrees + `git update-index -q --refresh; git rm -qr --cached 3 6; git commit -qm few; git branch -f few; git reset -q HEAD~; git switch -q few`, gone: []imap.UID{3, 6}},
	{act: "unison", needs: "unison", script: `unison -batch -ui text -perms 0 "$E" "$M" >/dev/null 2>&1; rm -r "$E/3" "$E/6"; unison -batch -ui text -perms 0 "$E" "$M" >/dev/null 2>&1`, gone: []imap.UID{3, 6}},
	{act: "gio remove", needs: "gio", script: `gio remove "$M/6"`, gone: []imap.UID{6}},
	{act: "gio trash", needs: "gio", script: `gio trash "$M/6"`, fails: true},
	{act: "emacs delete-directory", needs: "emacs", script: `emacs -Q --batch --eval "(delete-directory \"$M/3\" t)"`, gone: []imap.UID{3}},
	{act: "python shutil.rmtree", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.rmtree(sys.argv[1])' "$M/3"`, gone: []imap.UID{3}},
	{act: "python os.rmdir", needs: "python3", script: `python3 -c 'import os, sys; os.rmdir(sys.argv[1])' "$M/3" 2>/dev/null`, fails: true},
	{act: "python shutil.move out", needs: "python3", script: `python3 -c 'import shutil, sys; shutil.move(*sys.argv[1:])' "$M/3" "$W"`, gone: []imap.UID{3}},
	{act: "perl remove_tree", needs: "perl", script: `perl -MFile::Path=remove_tree -e 'remove_tree(@ARGV)' "$M/3" "$M/6"`, gone: []imap.UID{3, 6}},
}

// TestDeletingPrograms deletes messages with many programs: those are gone from
// the server, and no others.
func TestDeletingPrograms(t *testing.T) { doDeeds(t, deleting) }

var call = regexp.MustCompile(`(openat|unlinkat|unlink|rmdir)\((?:[^",]+, )?"([^"]*)"(, AT_REMOVEDIR)?.*\) += (\S+)(?: (E\w+))?`)

// TestCallsOfARemoval looks at the system calls by which programs remove a
// message with two attachments: the last one removes its directory, none has
// failed before, and the program says nothing.
func TestCallsOfARemoval(t *testing.T) {
	removers := []struct{ program, args string }{
		{"rm", `-r DIR`},
		{"rmdir", `DIR`},
		{"busybox", `rm -r DIR`},
		{"find", `DIR -delete`},
		{"rsync", `-rt --omit-dir-times --delete --exclude=/[124-6] EMPTY/ FOLDER/`},
		{"python3", `-c import¤shutil,sys;shutil.rmtree(sys.argv[1]) DIR`},
		{"perl", `-MFile::Path=remove_tree -e remove_tree(@ARGV) DIR`},
		{"gio", `remove DIR`},
	}
	harness.Need(t, "strace")
	a := harness.EmptyDemo(t)
	m := &mailbox{client: a.Client(t)}
	for _, r := range removers {
		m.fill(t, r.program)
	}
	mnt := harness.Mount(t, a)
	for _, r := range removers {
		t.Run(r.program, func(t *testing.T) {
			harness.Need(t, r.program)
			folder := filepath.Join(mnt, r.program)
			log := filepath.Join(t.TempDir(), "calls")
			args := []string{"-f", "-qq", "-s", "4096", "-e", "trace=openat,unlink,unlinkat,rmdir", "-o", log, r.program}
			for _, arg := range strings.Fields(r.args) {
				args = append(args, strings.NewReplacer("DIR", filepath.Join(folder, "3"), "FOLDER", folder, "EMPTY", t.TempDir(), "¤", " ").Replace(arg))
			}
			harness.Run(t, "strace", args...) // fails if anything is said

			var calls []string
			for _, c := range call.FindAllStringSubmatch(string(harness.Read(t, log)), -1) {
				name, what := filepath.Base(c[2]), c[1]
				if !slices.Contains([]string{"3", "attachments", "a bill.pdf", "note.txt", "body.txt", "headers.txt"}, name) {
					continue
				}
				if c[3] != "" {
					what = "rmdir"
				}
				calls = append(calls, strings.TrimSpace(what+" "+name+" "+c[5]))
				// remove(3) tries unlink first.
				if c[5] != "" && !(what == "unlink" && c[5] == "EISDIR") {
					t.Errorf("%s %s: %s", what, c[2], c[5])
				}
			}
			t.Log(strings.Join(calls, ", "))
			if len(calls) == 0 || calls[len(calls)-1] != "rmdir 3" {
				t.Errorf("the last of its calls is not rmdir: %q", calls)
			}
			if got, want := m.uids(t, r.program), without(every, []imap.UID{3}); !slices.Equal(got, want) {
				t.Errorf("left %v, want %v", got, want)
			}
		})
	}
}
