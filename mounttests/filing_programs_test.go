package mounttests

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/harness"
)

// filing is a way to file mail, as a script for bash. It finds in $M a folder of its own
// with three others in it: From has the messages a, b and c, which are 1, 2 and 3 there,
// To has d, which is 1 there, and Empty has none. $L is a letter x, Tree in $W a
// directory of letters, x.eml, Sub/y.eml and Sub/z.eml.
type filing struct {
	act    string // what is done, as the test is called
	needs  string // programs beside coreutils and bash
	script string
	fails  bool   // its exit code is not 0
	then   string // what is in each folder, in the mount and on the server; "" is filed, as it was
	gone   string // messages that it is to delete
	added  string // messages that there are once more
}

// filed is what there is before.
const filed = "Empty: | From: a b c | To: d"

// filer does what is in a table on one server.
type filer struct {
	account harness.Account
	top     string // where the mount shows the folders
	local   string // a directory with x.eml and Tree

	mu     sync.Mutex // guards client
	client *imapclient.Client
}

// filings are all that is done.
var filings = []struct {
	kind    string
	acts    []filing
	folders bool // are renamed or deleted
}{
	{"move", moving, false},
	{"copy", copying, false},
	{"take out", takingOut, false},
	{"remove", removing, false},
	{"mkdir", makingFolders, false},
	{"rmdir", removingFolders, true},
	{"rename", movingFolders, true},
	{"put in", puttingTrees, false},
}

// TestFilingPrograms does each act in a folder of its own, on all servers.
func TestFilingPrograms(t *testing.T) {
	harness.Need(t, "bash")
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		server := filepath.Base(t.Name())
		f := &filer{account: a, client: a.Client(t), local: t.TempDir()}
		harness.Must(t, os.MkdirAll(filepath.Join(f.local, "Tree", "Sub"), 0o700))
		for name, letter := range map[string]string{"x.eml": "x", "Tree/x.eml": "x", "Tree/Sub/y.eml": "y", "Tree/Sub/z.eml": "z"} {
			harness.Must(t, os.WriteFile(filepath.Join(f.local, name), filedLetter(letter), 0o600))
		}
		todo := map[string]filing{} // by folder
		for _, some := range filings {
			for i, act := range some.acts {
				// Courier takes two seconds to rename or delete a folder, in which all else waits.
				if server == "courier" && (some.folders || act.needs != "") {
					continue
				}
				act.act = some.kind + ", " + act.act
				todo[fmt.Sprintf("%s/act-%d", some.kind, i)] = act
			}
		}
		f.fill(t, slices.Sorted(maps.Keys(todo)))
		f.top = a.Top(harness.Mount(t, a))
		for folder, act := range todo {
			t.Run(act.act, func(t *testing.T) {
				t.Parallel()
				harness.Need(t, strings.Fields(act.needs)...)
				f.file(t, folder, act)
			})
		}
	})
}

// filedLetter is a letter with an attachment. No two are of one size.
func filedLetter(name string) []byte {
	return []byte("From: a@example.org\r\nSubject: " + name + strings.Repeat("!", int(name[0]-'a')) + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nThis is " + name + ".\r\n" +
		"--b\r\nContent-Type: text/x-note\r\nContent-Disposition: attachment; filename=note.txt\r\n\r\nA note.\r\n--b--\r\n")
}

// letterOf returns which letter this is, that somebody has at a place.
func letterOf(t *testing.T, place string, raw []byte) string {
	t.Helper()
	name := letterIn(raw)
	if string(raw) != string(filedLetter(name)) {
		t.Errorf("%s has:\n%s", place, raw)
	}
	return name
}

func letterIn(header []byte) string {
	_, subject, _ := strings.Cut(string(header)+"?", "Subject: ")
	return subject[:1]
}

// fill makes the folders of acts. It copies the messages from INBOX.
func (f *filer) fill(t *testing.T, folders []string) {
	t.Helper()
	for _, letter := range []string{"a", "b", "c", "d"} {
		harness.Deliver(t, f.client, "INBOX", filedLetter(letter), time.Now())
	}
	harness.Select(t, f.client, "INBOX")
	var creates []*imapclient.Command
	var copies []*imapclient.CopyCommand
	for _, folder := range folders {
		for _, name := range []string{"", "/From", "/To", "/Empty"} {
			creates = append(creates, f.client.Create(f.account.Mailbox(folder+name), nil))
		}
		copies = append(copies, f.client.Copy(imap.SeqSet{{Start: 1, Stop: 3}}, f.account.Mailbox(folder+"/From")),
			f.client.Copy(imap.SeqSetNum(4), f.account.Mailbox(folder+"/To")))
	}
	for _, c := range creates {
		harness.Must(t, c.Wait())
	}
	for _, c := range copies {
		_, err := c.Wait()
		harness.Must(t, err)
	}
}

func (f *filer) file(t *testing.T, folder string, act filing) {
	t.Helper()
	work := t.TempDir()
	harness.Run(t, "cp", "-r", f.local+"/.", work)
	dir := filepath.Join(f.top, folder)
	code, said := inBash(t, work, act.script, "M="+dir, "W="+work, "L="+filepath.Join(work, "x.eml"))
	if (code != 0) != act.fails {
		t.Errorf("exit code %d; it said:\n%s", code, said)
	}
	held, shown := f.held(t, folder), showing(t, dir)
	if !maps.EqualFunc(held, shown, slices.Equal) {
		t.Errorf("the server has %v, the mount shows %v; it said:\n%s", held, shown, said)
	}
	want := act.then
	if want == "" {
		want = filed
	}
	if got := told(held); got != want {
		t.Errorf("got  %s,\nwant %s; it said:\n%s", got, want, said)
	}
	// Whatever is in the table: nothing is lost that the act does not mean to delete, and
	// nothing doubled that it does not mean to copy.
	var there []string
	for _, messages := range held {
		for _, m := range messages {
			_, letter, _ := strings.Cut(m, " ")
			there = append(there, letter)
		}
	}
	left := strings.Split("abcd"+act.added, "")
	for letter := range strings.SplitSeq(act.gone, "") {
		left = slices.Delete(left, slices.Index(left, letter), slices.Index(left, letter)+1)
	}
	slices.Sort(there)
	slices.Sort(left)
	if !slices.Equal(there, left) {
		t.Errorf("there are the messages %v, want %v", there, left)
	}
}

// told is a state as a line of text, without the numbers of the messages.
func told(state map[string][]string) string {
	var lines []string
	for _, folder := range slices.Sorted(maps.Keys(state)) {
		letters := []string{folder + ":"}
		for _, m := range state[folder] {
			letters = append(letters, m[strings.Index(m, " ")+1:])
		}
		slices.Sort(letters[1:])
		lines = append(lines, strings.Join(letters, " "))
	}
	return strings.Join(lines, " | ")
}

// held returns what the server has in the folders below a folder: the number of each
// message, and which one it is.
func (f *filer) held(t *testing.T, folder string) map[string][]string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	top := f.account.Mailbox(folder)
	all := map[string][]string{}
	list, err := f.client.List("", top+"*", nil).Collect()
	harness.Must(t, err)
	for _, l := range list {
		below, ok := strings.CutPrefix(l.Mailbox, top)
		if !ok || below != "" && below[0] != byte(l.Delim) {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(below, string(l.Delim)), string(l.Delim), "/")
		var messages []string
		for _, m := range harness.Messages(t, f.client, l.Mailbox) {
			letter := letterOf(t, l.Mailbox, m.Raw)
			if slices.Contains(m.Flags, imap.FlagDeleted) {
				t.Errorf("%s is marked as deleted in %s", letter, l.Mailbox)
			}
			messages = append(messages, fmt.Sprint(m.UID, " ", letter))
		}
		if name != "" || len(messages) > 0 {
			slices.Sort(messages)
			all[name] = messages
		}
	}
	return all
}

// showing returns the same, as the mount shows it.
func showing(t *testing.T, dir string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	var walk func(name string)
	walk = func(name string) {
		var messages []string
		for _, entry := range harness.Names(t, filepath.Join(dir, name)) {
			path := filepath.Join(dir, name, entry)
			if _, err := strconv.Atoi(entry); err == nil {
				raw, err := os.ReadFile(filepath.Join(path, "message.eml"))
				letter := "?"
				if err == nil {
					letter = letterOf(t, path, raw)
				} else if headers, err := os.ReadFile(filepath.Join(path, "headers.txt")); err == nil { // message.eml is hidden
					letter = letterIn(headers)
				}
				messages = append(messages, entry+" "+letter)
			} else if info, err := os.Lstat(path); err == nil && info.IsDir() {
				walk(filepath.Join(name, entry))
			} else {
				messages = append(messages, "- "+entry)
			}
		}
		if name != "" || len(messages) > 0 {
			slices.Sort(messages)
			all[name] = messages
		}
	}
	walk("")
	return all
}

// inMC begins a script that runs mc in two folders, and inRanger one that runs ranger in
// one, of which it waits for an entry. left waits until a name has gone, come until it is
// there, and quit ends the program with these keys. all answers mc's questions, whether it
// should overwrite what is there and skip what it cannot, with "all".
const (
	inFileManager = inTmux + `
quit() { until [ -e "$W/code" ]; do press "$@"; sleep 0.1; done; return "$(cat "$W/code")"; }
left() { while [ -e "$1" ]; do sleep 0.05; done; }
come() { until [ -e "$1" ]; do sleep 0.05; done; }
`
	inMC = inFileManager + `
mc() { start "mc -u -d '$1' '$2'"; screen 10Quit; }
all() { screen Abort; while tm capture-pane -p | grep -q Abort; do press a; sleep 0.1; done; }
`
	inRanger = inFileManager + `
ranger() { start "env -u TMUX ranger --clean --cmd='set flushinput false' --cmd='set column_ratios 1,1' '$1'"; screen "$2"; }
`
)

var moving = []filing{
	{act: "mv", script: `mv "$M/From/3" "$M/To"`, then: "Empty: | From: a b | To: c d"},
	{act: "mv, number taken", script: `mv "$M/From/1" "$M/To"`, then: "Empty: | From: b c | To: a d"},
	{act: "mv, many", script: `mv "$M/From"/* "$M/To"`, then: "Empty: | From: | To: a b c d"},
	{act: "mv -n", script: `mv -n "$M/From/1" "$M/From/3" "$M/To" || true`, then: "Empty: | From: a b | To: c d"},
	{act: "mv -i, n", script: `echo n | mv -i "$M/From/1" "$M/To" || true`},
	{act: "mv -i, y", script: `echo y | mv -i "$M/From/1" "$M/To"`, then: "Empty: | From: b c | To: a d"},
	{act: "mv -f", script: `mv -f "$M/From/1" "$M/From/3" "$M/To"`, then: "Empty: | From: b | To: a c d"},
	{act: "mv -t", script: `mv -t "$M/To" "$M/From"/*`, then: "Empty: | From: | To: a b c d"},
	{act: "mv -T", script: `mv -T "$M/From/3" "$M/To/3"`, then: "Empty: | From: a b | To: c d"},
	{act: "mv -T to another number", script: `mv -T "$M/From/3" "$M/To/4"`, fails: true},
	{act: "mv to no folder", script: `mv "$M/From/3" "$M/Nope"`, fails: true},
	{act: "mv --backup", script: `mv --backup=numbered "$M/From/1" "$M/To"`, fails: true},
	{act: "mv -b -T", script: `mv -b -T "$M/From/1" "$M/To/1"`, fails: true},
	{act: "mv, there and back", script: `mv "$M/From/3" "$M/To" && mv "$M/To/3" "$M/From"`},
	{act: "mv, the name that it had, again", script: `mv "$M/From/3" "$M/To" && ! mv "$M/From/3" "$M/To"`, then: "Empty: | From: a b | To: c d"},
	{act: "mv message.eml", script: `mv "$M/From/3/message.eml" "$M/To/x.eml"`, fails: true},
	{act: "mkdir, mv", script: `mkdir "$M/New" && mv "$M/From/3" "$M/New"`, then: "Empty: | From: a b | New: c | To: d"},
	{act: "busybox mv", needs: "busybox", script: `busybox mv "$M/From/1" "$M/From/3" "$M/To"`, then: "Empty: | From: b | To: a c d"},
	{act: "busybox mv -n", needs: "busybox", script: `busybox mv -n "$M/From/1" "$M/From/3" "$M/To"`, then: "Empty: | From: a b | To: c d"},
	{act: "busybox mv -i, n", needs: "busybox", script: `echo n | busybox mv -i "$M/From/1" "$M/To"`},
	{act: "busybox mv -i, y", needs: "busybox", script: `echo y | busybox mv -i "$M/From/1" "$M/To"`, then: "Empty: | From: b c | To: a d"},
	{act: "rsync --remove-source-files", needs: "rsync", script: `rsync -a --remove-source-files "$M/From/3" "$M/To/"`, fails: true},
	{act: "rsync --remove-source-files, number taken", needs: "rsync", script: `rsync -a --remove-source-files "$M/From/1" "$M/To/"`, fails: true},
	{act: "gio move", needs: "gio", script: `gio move "$M/From/3" "$M/To"`, then: "Empty: | From: a b | To: c d"},
	{act: "gio move, number taken", needs: "gio", script: `gio move "$M/From/1" "$M/To"`, fails: true},
	{act: "gio move -b, number taken", needs: "gio", script: `gio move -b "$M/From/1" "$M/To"`, fails: true},
	{act: "gio rename", needs: "gio", script: `gio rename "$M/From/3" 7`, fails: true},
	{act: "python shutil.move", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.move(a, b)' "$M/From/3" "$M/To"`, then: "Empty: | From: a b | To: c d"},
	{act: "python shutil.move, number taken", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.move(a, b)' "$M/From/1" "$M/To"`, fails: true},
	{act: "python os.rename, number taken", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; os.rename(a, b)' "$M/From/1" "$M/To/1"`, then: "Empty: | From: b c | To: a d"},
	{act: "python pathlib", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; pathlib.Path(a).rename(b)' "$M/From/3" "$M/To/3"`, then: "Empty: | From: a b | To: c d"},
	{act: "perl rename, number taken", needs: "perl", script: `perl -e 'rename($ARGV[0], $ARGV[1]) or die "$!\n"' "$M/From/1" "$M/To/1"`, then: "Empty: | From: b c | To: a d"},
	{act: "perl File::Copy", needs: "perl", script: `perl -MFile::Copy -e 'move($ARGV[0], $ARGV[1]) or die "$!\n"' "$M/From/3" "$M/To/3"`, then: "Empty: | From: a b | To: c d"},
	{act: "mc F6", needs: "mc tmux", script: inMC + `mc "$M/From" "$M/To"; press Down Down Down F6; screen "source mask"; press Enter; left "$M/From/3"; quit F10`, then: "Empty: | From: a b | To: c d"},
	{act: "mc F6, number taken", needs: "mc tmux", script: inMC + `mc "$M/From" "$M/To"; press Down F6; screen "source mask"; press Enter; all; quit F10`},
	{act: "ranger dd pp", needs: "ranger tmux", script: inRanger + `ranger "$M/From" " 3 "; press G d d; press ":cd $M/To" Enter; screen /To/; press p p; left "$M/From/3"; quit Q`, then: "Empty: | From: a b | To: c d"},
	{act: "ranger dd pp, number taken", needs: "ranger tmux", script: inRanger + `ranger "$M/From" " 3 "; press g g d d; press ":cd $M/To" Enter; screen /To/; press p p; left "$M/From/1"; quit Q`, then: "Empty: | From: b c | To: a d"},
}

var copying = []filing{
	{act: "cp", script: `cp "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "cp, its own name", script: `cp "$M/From/3/message.eml" "$M/To"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "cp, the same folder", script: `cp "$M/From/3/message.eml" "$M/From/x.eml"`, then: "Empty: | From: a b c c | To: d", added: "c"},
	{act: "cp, again", script: `cp "$M/From/3/message.eml" "$M/To/x.eml" && cp "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c c d", added: "cc"},
	{act: "cp -a", script: `cp -a "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "cp -n", script: `cp -n "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "cp --reflink=always", script: `cp --reflink=always "$M/From/3/message.eml" "$M/To/x.eml" || { rm "$M/To/x.eml"; exit 1; }`, fails: true},
	{act: "cp --reflink=never", script: `cp --reflink=never "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "cp -l", script: `cp -l "$M/From/3/message.eml" "$M/To/x.eml"`, fails: true},
	{act: "cp -s", script: `cp -s "$M/From/3/message.eml" "$M/To/x.eml"`, fails: true},
	{act: "cp body.txt", script: `cp "$M/From/3/body.txt" "$M/To"`, fails: true},
	{act: "cat", script: `cat "$M/From/3/message.eml" >"$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "dd", script: `dd if="$M/From/3/message.eml" of="$M/To/x.eml" status=none`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "cp -r DIR", script: `cp -r "$M/From/3" "$M/To"`, fails: true},
	{act: "cp -r DIR, number taken", script: `cp -r "$M/From/1" "$M/To"`, fails: true},
	{act: "cp -a DIR", script: `cp -a "$M/From/3" "$M/To"`, fails: true},
	{act: "cp -r FOLDER", script: `cp -r "$M/From" "$M/To"`, fails: true, then: "Empty: | From: a b c | To: d | To/From:"},
	{act: "cp -r FOLDER, empty", script: `cp -r "$M/Empty" "$M/New"`, then: "Empty: | From: a b c | New: | To: d"},
	{act: "cp -r FOLDER/.", script: `cp -r "$M/From/." "$M/Empty"`, fails: true},
	{act: "busybox cp", needs: "busybox", script: `busybox cp "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "busybox cp -r DIR", needs: "busybox", script: `busybox cp -r "$M/From/3" "$M/To"`, fails: true},
	{act: "rsync", needs: "rsync", script: `rsync -t "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "rsync --remove-source-files message.eml", needs: "rsync", script: `rsync -a --remove-source-files "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "rsync DIR", needs: "rsync", script: `rsync -a "$M/From/3" "$M/To/"`, fails: true},
	{act: "rsync FOLDER", needs: "rsync", script: `rsync -a "$M/From/" "$M/New"`, fails: true, then: "Empty: | From: a b c | New: | To: d"},
	{act: "gio copy", needs: "gio", script: `gio copy "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "gio copy DIR", needs: "gio", script: `gio copy "$M/From/3" "$M/To"`, fails: true},
	{act: "python copyfile", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.copyfile(a, b)' "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "python copy2", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.copy2(a, b)' "$M/From/3/message.eml" "$M/To"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "python pathlib", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; pathlib.Path(b).write_bytes(pathlib.Path(a).read_bytes())' "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "python copytree DIR", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.copytree(a, b)' "$M/From/3" "$M/To/3"`, fails: true},
	{act: "python copytree FOLDER", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.copytree(a, b)' "$M/From" "$M/New"`, fails: true, then: "Empty: | From: a b c | New: | To: d"},
	{act: "perl File::Copy", needs: "perl", script: `perl -MFile::Copy -e 'copy($ARGV[0], $ARGV[1]) or die "$!\n"' "$M/From/3/message.eml" "$M/To/x.eml"`, then: "Empty: | From: a b c | To: c d", added: "c"},
	{act: "mc F5 DIR", needs: "mc tmux", script: inMC + `mc "$M/From" "$M/To"; press Down Down Down F5; screen "source mask"; press Enter; all; quit F10`},
	{act: "ranger yy pp DIR", needs: "ranger tmux", script: inRanger + `ranger "$M/From" " 3 "; press G y y; press ":cd $M/To" Enter; screen /To/; press p p; screen failed; quit Q`},
}

var takingOut = []filing{
	{act: "mv, no room", script: `(ulimit -f 0; mv "$M/From/3" .)`, fails: true},
	{act: "mv, in the way", script: `mkdir -p 3/x; mv "$M/From/3" .`, fails: true},
	{act: "mv FOLDER", script: `cp -r "$M/From" copy; mv "$M/From" . && diff -r copy From`, then: "Empty: | To: d", gone: "abc"},
	{act: "mv FOLDER, no room", script: `(ulimit -f 0; mv "$M/From" .)`, fails: true},
	{act: "mv message.eml", script: `cp "$M/From/3/message.eml" copy; mv "$M/From/3/message.eml" . && cmp copy message.eml`},
	{act: "busybox mv FOLDER", needs: "busybox", script: `cp -r "$M/From" copy; busybox mv "$M/From" . && diff -r copy From`, then: "Empty: | To: d", gone: "abc"},
	{act: "busybox mv, no room", needs: "busybox", script: `(ulimit -f 0; busybox mv "$M/From/3" .)`, fails: true},
	{act: "rsync --remove-source-files", needs: "rsync", script: `rsync -a --remove-source-files "$M/From/3" . || true; test -s 3/body.txt`},
	{act: "rsync --remove-source-files FOLDER", needs: "rsync", script: `rsync -a --remove-source-files "$M/From" . || true; test -s From/3/body.txt`},
	{act: "gio move", needs: "gio", script: `gio move "$M/From/3" .`, fails: true},
	{act: "gio move message.eml", needs: "gio", script: `gio move "$M/From/3/message.eml" .; test -s message.eml`},
	{act: "python os.rename", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; os.rename(a, b)' "$M/From/3" 3`, fails: true},
	{act: "python copytree", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.copytree(a, b)' "$M/From" copy`},
	{act: "python shutil.move FOLDER", needs: "python3", script: `cp -r "$M/From" copy; python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; shutil.move(a, b)' "$M/From" . && diff -r copy From`, then: "Empty: | To: d", gone: "abc"},
	{act: "perl File::Copy", needs: "perl", script: `perl -MFile::Copy -e 'move($ARGV[0], $ARGV[1]) or die "$!\n"' "$M/From/3" 3`, fails: true},
	{act: "mc F5", needs: "mc tmux", script: inMC + `mc "$M" "$W"; press Down Down F5; screen "source mask"; press Enter; until diff -r "$M/From" From >/dev/null; do sleep 0.05; done; quit F10; diff -r "$M/From" From`},
	{act: "mc F6", needs: "mc tmux", script: inMC + `cp -r "$M/From/3" copy; mc "$M/From" "$W"; press Down Down Down F6; screen "source mask"; press Enter; left "$M/From/3"; quit F10; diff -r copy 3`, then: "Empty: | From: a b | To: d", gone: "c"},
	{act: "ranger dd pp", needs: "ranger tmux", script: inRanger + `cp -r "$M/From/3" copy; ranger "$M/From" " 3 "; press G d d; press ":cd $W" Enter; screen Tree; press p p; left "$M/From/3"; quit Q; diff -r copy 3`, then: "Empty: | From: a b | To: d", gone: "c"},
}

var removing = []filing{
	{act: "rm -ri, y", script: `yes | rm -ri "$M/From/3" 2>/dev/null`, then: "Empty: | From: a b | To: d", gone: "c"},
	{act: "rm -ri, n", script: `yes n | rm -ri "$M/From/3"`},
	{act: "rm -d", script: `rm -d "$M/From/3"`, fails: true},
	{act: "rm", script: `rm "$M/From/3"`, fails: true},
	{act: "unlink", script: `unlink "$M/From/3"`, fails: true},
	{act: "rmdir -p", script: `cd "$M" && rmdir -p From/3`, fails: true, then: "Empty: | From: a b | To: d", gone: "c"},
	{act: "busybox rm -r FOLDER", needs: "busybox", script: `busybox rm -r "$M/From"`, then: "Empty: | To: d", gone: "abc"},
	{act: "find -empty -delete", needs: "find", script: `find "$M" -type d -empty -delete`, then: "From: a b c | To: d"},
	{act: "python pathlib rmdir", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; pathlib.Path(a).rmdir()' "$M/From/3" x`, fails: true},
	{act: "python os.removedirs", needs: "python3", script: `python3 -c 'import os, pathlib, shutil, sys; a, b = sys.argv[1:]; os.removedirs(a)' "$M/Empty" x`, then: "From: a b c | To: d"},
	{act: "perl rmdir", needs: "perl", script: `perl -e 'rmdir($ARGV[0]) or die "$!\n"' "$M/From/3"`, fails: true},
	{act: "mc F8", needs: "mc tmux", script: inMC + `mc "$M/From" "$M/To"; press Down Down Down F8; screen "Delete directory"; press Enter; screen recursively; press Enter; left "$M/From/3"; quit F10`, then: "Empty: | From: a b | To: d", gone: "c"},
	{act: "mc F8, No", needs: "mc tmux", script: inMC + `mc "$M/From" "$M/To"; press Down Down Down F8; screen "Delete directory"; press n; quit F10`},
	{act: "ranger :delete", needs: "ranger tmux", script: inRanger + `ranger "$M/From" " 3 "; press G; press ":delete" Enter; screen "Confirm deletion"; press y; left "$M/From/3"; quit Q`, then: "Empty: | From: a b | To: d", gone: "c"},
}
