package mounttests

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/harness"
)

// has tells whether the server lists a mailbox, and can open it.
func has(t *testing.T, c *imapclient.Client, mailbox string) bool {
	t.Helper()
	return slices.ContainsFunc(harness.Folders(t, c), func(l *imap.ListData) bool { return l.Mailbox == mailbox && harness.Selectable(l) })
}

// fails checks with what a call fails.
func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestMkdir(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		mnt, p := harness.MountProcess(t, a, "--poll", "200ms")
		top := a.Top(mnt)
		at := func(path ...string) string { return filepath.Join(append([]string{top}, path...)...) }
		delim := harness.Folders(t, c)[0].Delim
		mkdir := func(name string) error { return os.Mkdir(at(name), 0o700) }

		harness.Run(t, "mkdir", "-p", at("a", "b", "c"))
		for _, name := range []string{"Größe & Maß", "a/日本", "a/2024.folder", "R&D", "a/ b"} {
			harness.Must(t, mkdir(name))
			if names := harness.Names(t, filepath.Dir(at(name))); !slices.Contains(names, filepath.Base(name)) {
				t.Errorf("%s is not among %q", name, names)
			}
			if names := harness.Names(t, at(name)); len(names) > 0 {
				t.Errorf("%s holds %q", name, names)
			}
		}
		for _, mailbox := range []string{"a", "a/b", "a/b/c", "Größe & Maß", "a/日本", "a/2024", "R&D", "a/ b"} {
			if !has(t, c, a.Mailbox(mailbox)) {
				t.Errorf("the server has no %s", mailbox)
			}
		}
		before := len(harness.Folders(t, c))
		for name, want := range map[string]error{
			"a":      syscall.EEXIST,
			"a/2024": syscall.EPERM, ".Trash-0": syscall.EPERM, // for messages, and for file managers
			"-x": syscall.EINVAL, "a\nb": syscall.EINVAL, "a%0Ab": syscall.EINVAL, "\xff": syscall.EINVAL,
			"a" + strings.NewReplacer("/", "%2F").Replace(string(delim)) + "b": syscall.EINVAL,
		} {
			fails(t, "mkdir "+name, mkdir(name), want)
		}
		if n := len(harness.Folders(t, c)); n != before {
			t.Errorf("%d folders, were %d", n, before)
		}
		p.WaitSaid(t, "cp INBOX/483/message.eml") // what to do instead of cp -r INBOX/483 a/

		// Another client makes one of which the mount does not know yet.
		harness.Must(t, c.Create(a.Mailbox("theirs"), nil).Wait())
		fails(t, "mkdir theirs", mkdir("theirs"), syscall.EEXIST)
		harness.Eventually(t, "it is shown", func() bool { _, err := os.Stat(at("theirs")); return err == nil })
	})
}

// TestMkdirAndGo goes into a folder at once, and is there when mail comes.
func TestMkdirAndGo(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		top := a.Top(harness.Mount(t, a, "--poll", "100ms"))
		sh := inShell(t, `mkdir "$1/x" && cd "$1/x" && ls && echo in; read x; cat */body.txt; /bin/pwd`, top)
		sh.says(t, "in")
		harness.Deliver(t, c, a.Mailbox("x"), harness.Letter("welcome"), time.Now())
		harness.Eventually(t, "the message is listed", func() bool { return len(harness.Names(t, filepath.Join(top, "x"))) == 1 })
		sh.goOn(t)
		sh.says(t, "welcome")
		sh.says(t, filepath.Join(top, "x"))
	})
}

// shell is a script that somebody goes on with by a line of input.
type shell struct {
	in  io.Writer
	out *bufio.Reader
}

func inShell(t *testing.T, script string, args ...string) *shell {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	harness.Must(t, err)
	out, err := cmd.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &shell{in, bufio.NewReader(out)}
}

func (s *shell) goOn(t *testing.T) {
	t.Helper()
	_, err := io.WriteString(s.in, "\n")
	harness.Must(t, err)
}

func (s *shell) says(t *testing.T, want string) {
	t.Helper()
	if line := s.line(t); line != want {
		t.Errorf("the shell says %q, want %q", line, want)
	}
}

func (s *shell) line(t *testing.T) string {
	t.Helper()
	line, err := s.out.ReadString('\n')
	harness.Must(t, err)
	return strings.TrimSuffix(line, "\n")
}

func TestRmdirOfAFolder(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		for _, name := range []string{"empty", "mail", "parent", "tree", "tree/leaf", "theirs"} {
			harness.Must(t, c.Create(a.Mailbox(name), nil).Wait())
		}
		for _, name := range []string{"tree", "tree/leaf"} {
			for range 3 {
				harness.Deliver(t, c, a.Mailbox(name), harness.Letter("gone"), time.Now())
			}
		}
		mnt := harness.Mount(t, a)
		top := a.Top(mnt)
		at := func(name string) string { return filepath.Join(top, name) }
		for _, name := range []string{"empty", "mail", "parent", "theirs"} {
			if names := harness.Names(t, at(name)); len(names) > 0 {
				t.Fatalf("%s holds %q", name, names)
			}
		}
		// Other clients put something in, of which the mount does not know yet.
		harness.Deliver(t, c, a.Mailbox("mail"), harness.Letter("kept"), time.Now())
		harness.Must(t, c.Create(a.Mailbox("parent/child"), nil).Wait())
		harness.Must(t, c.Delete(a.Mailbox("theirs")).Wait())
		for name, want := range map[string]error{"mail": syscall.ENOTEMPTY, "parent": syscall.ENOTEMPTY, "theirs": syscall.ENOENT} {
			fails(t, "rmdir "+name, syscall.Rmdir(at(name)), want)
		}
		fails(t, "rmdir INBOX", syscall.Rmdir(filepath.Join(mnt, "INBOX")), syscall.EBUSY)
		if n := len(harness.Messages(t, c, a.Mailbox("mail"))); n != 1 || !has(t, c, a.Mailbox("parent/child")) {
			t.Errorf("%d messages are left, and the child: %v", n, has(t, c, a.Mailbox("parent/child")))
		}
		harness.Run(t, "rmdir", at("empty"))
		harness.Run(t, "rm", "-r", at("tree"))
		for _, name := range []string{"empty", "tree"} {
			if has(t, c, a.Mailbox(name)) {
				t.Errorf("the server still has %s", name)
			}
			if _, err := os.Lstat(at(name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there: %v", name, err)
			}
			// A new one of this name has nothing of the old one.
			harness.Must(t, os.Mkdir(at(name), 0o700))
			harness.Deliver(t, c, a.Mailbox(name), harness.Letter("new"), time.Now())
			if got := harness.Read(t, at(name), harness.FirstUID(t, at(name)), "body.txt"); string(got) != "new\n" {
				t.Errorf("in the new %s: %q", name, got)
			}
		}
	})
}

func TestFoldersInUse(t *testing.T) {
	const marked = "namespace inbox {\n mailbox Papierkorb {\n  auto = create\n  special_use = \\Trash\n }\n}\n"
	a := harness.EmptyDovecot(t, marked)
	mnt, p := harness.MountProcess(t, a)
	for _, name := range []string{"INBOX", "Papierkorb"} {
		fails(t, "rmdir "+name, syscall.Rmdir(filepath.Join(mnt, name)), syscall.EBUSY)
		fails(t, "rename "+name, os.Rename(filepath.Join(mnt, name), filepath.Join(mnt, "Other")), syscall.EBUSY)
	}
	p.WaitSaid(t, `\Trash`)
}

// TestMkdirAtTheTop of Courier, which has all folders below INBOX.
func TestMkdirAtTheTop(t *testing.T) {
	mnt, p := harness.MountProcess(t, harness.EmptyCourier(t))
	fails(t, "mkdir", os.Mkdir(filepath.Join(mnt, "x"), 0o700), syscall.EPERM)
	p.WaitSaid(t, "make it there")
}

// messagesIn returns all that each message has, whatever its number is.
func messagesIn(contents map[string][]byte) (list []string) {
	messages := make(map[string]string)
	for _, path := range slices.Sorted(maps.Keys(contents)) {
		folder, file := "", path
		if rest, ok := strings.CutPrefix(path, "Child/"); ok {
			folder, file = "Child", rest
		}
		number, name, _ := strings.Cut(file, "/")
		messages[folder+"/"+number] += fmt.Sprintf("%s %s %x\n", folder, name, sha256.Sum256(contents[path]))
	}
	return slices.Sorted(maps.Values(messages))
}

// TestRenameFolder renames a folder of which all has been read, with a folder in it:
// nothing is fetched again, and a new folder of the old name is another one.
func TestRenameFolder(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		for _, name := range []string{"Old", "Old/Child", "Place"} {
			harness.Must(t, c.Create(a.Mailbox(name), nil).Wait())
		}
		for i := range 3 {
			harness.Deliver(t, c, a.Mailbox("Old"), harness.OneLetter(i), time.Now())
		}
		harness.Deliver(t, c, a.Mailbox("Old"), harness.LargeLetter(), time.Now())
		harness.Deliver(t, c, a.Mailbox("Old/Child"), harness.Letter("child"), time.Now())
		proxy := harness.NewProxy(t, a)
		r := harness.NewRemounter(t, proxy.Account, "--poll", "200ms")
		process := r.Mount(t)
		top := a.Top(r.Dir)
		at := func(path ...string) string { return filepath.Join(append([]string{top}, path...)...) }
		want := harness.Contents(t, at("Old"))
		if len(want) != 11 {
			t.Fatalf("%d files", len(want))
		}
		open, err := os.Open(at("Old", "4", "attachments", "large.pdf"))
		harness.Must(t, err)
		defer open.Close()
		half := make([]byte, 1000)
		_, err = io.ReadFull(open, half)
		harness.Must(t, err)
		sh := inShell(t, `cd "$1/Old/Child" && echo in; read x; cat 1/body.txt || echo stale; /bin/pwd; (cat ../1/body.txt || echo stale) 2>&1 | tail -1; cd -P .. && /bin/pwd`, top)
		sh.says(t, "in")

		validity := validityOf(t, c, a.Mailbox("Old"))
		proxy.Forget()
		harness.Run(t, "mv", at("Old"), at("New & neu"))
		harness.Run(t, "mv", at("New & neu"), at("Place"))
		sh.goOn(t)
		child := sh.line(t)
		sh.says(t, at("Place", "New & neu", "Child"))
		first := sh.line(t)
		sh.says(t, at("Place", "New & neu"))
		// Courier numbers all anew, in any order what has come within a second: 1 can be
		// another one, and what somebody has just opened is stale. (Asked only now: two that
		// open it at the same moment can get different numbers from it.)
		isSame := validity == validityOf(t, c, a.Mailbox("Place/New & neu"))
		if isSame && (child != "child" || first != "end of 0") {
			t.Errorf("the shell says %q and %q", child, first)
		}
		check := func(what string) {
			t.Helper()
			if !isSame { // in any order; and until it is known, a path is that of what had the number
				harness.Eventually(t, what+", all is there", func() bool {
					got, err := harness.TryContents(at("Place", "New & neu"))
					return err == nil && slices.Equal(messagesIn(got), messagesIn(want))
				})
				return
			}
			got := harness.Contents(t, at("Place", "New & neu"))
			for path, content := range want {
				if !bytes.Equal(got[path], content) {
					t.Errorf("%s: %s differs", what, path)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d files, want %d", what, len(got), len(want))
			}
			if sent := proxy.Sent("FETCH"); len(sent) > 0 && isSame {
				t.Errorf("%s: sent %q", what, sent)
			}
		}
		check("after the renames")
		if rest, err := io.ReadAll(open); err != nil || !bytes.Equal(append(half, rest...), want["4/attachments/large.pdf"]) {
			t.Errorf("the open file: %d bytes, %v", len(rest), err)
		}
		if _, err := os.Lstat(at("Old")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old name is still there: %v", err)
		}
		for _, name := range []string{"Place/New & neu", "Place/New & neu/Child"} {
			if !has(t, c, a.Mailbox(name)) {
				t.Errorf("the server has no %s", name)
			}
		}

		harness.Must(t, os.Mkdir(at("Old"), 0o700))
		harness.Deliver(t, c, a.Mailbox("Old"), harness.Letter("another one"), time.Now())
		harness.Eventually(t, "the message in the new folder is listed", func() bool { return len(harness.Names(t, at("Old"))) == 1 })
		other := func() {
			t.Helper()
			if got := harness.Read(t, at("Old", "1"), "body.txt"); string(got) != "another one\n" {
				t.Errorf("in the new folder: %q", got)
			}
			if a, b := inode(t, at("Old")), inode(t, at("Place", "New & neu")); a == b {
				t.Errorf("both folders have the inode %d", a)
			}
			if a, b := inode(t, at("Old", "1")), inode(t, at("Place", "New & neu", "1")); a == b {
				t.Errorf("both messages have the inode %d", a)
			}
		}
		other()
		proxy.Forget()
		check("with a new folder of the old name")
		// News come to the right one.
		harness.Deliver(t, c, a.Mailbox("Place/New & neu/Child"), harness.Letter("late"), time.Now())
		harness.Eventually(t, "the late one is listed", func() bool { return len(harness.Names(t, at("Place", "New & neu", "Child"))) == 2 })
		for _, name := range []string{"body.txt", "headers.txt"} {
			want["Child/2/"+name] = harness.Read(t, at("Place", "New & neu", "Child", "2", name))
		}

		process.Unmount(t)
		proxy.Forget()
		process = r.Mount(t)
		check("after a remount")
		other()
		process.Unmount(t)
	})
}

func validityOf(t *testing.T, c *imapclient.Client, mailbox string) uint32 {
	t.Helper()
	data, err := c.Status(mailbox, &imap.StatusOptions{UIDValidity: true}).Wait()
	harness.Must(t, err)
	return data.UIDValidity
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	harness.Must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestRenameOfAFolderIsRefused(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		for _, name := range []string{"A", "B", "theirs", "renamed", "target"} {
			harness.Must(t, c.Create(a.Mailbox(name), nil).Wait())
		}
		harness.Deliver(t, c, a.Mailbox("B"), harness.Letter("b"), time.Now())
		mnt := harness.Mount(t, a)
		top := a.Top(mnt)
		at := func(name string) string { return filepath.Join(top, name) }
		harness.Names(t, at("B"))
		// Of this the mount does not know yet.
		harness.Must(t, c.Delete(a.Mailbox("theirs")).Wait())
		harness.Must(t, c.Rename(a.Mailbox("renamed"), a.Mailbox("elsewhere"), nil).Wait())
		harness.Must(t, c.Create(a.Mailbox("new"), nil).Wait())
		for _, r := range []struct {
			from, to string
			want     error
		}{
			{"A", "B", syscall.EEXIST}, {"A", "A/x", syscall.EINVAL}, {"A", "B/7", syscall.EPERM}, {"A", "B/1/x", syscall.EPERM},
			{"A", ".x", syscall.EPERM}, {"theirs", "mine", syscall.ENOENT}, {"renamed", "further", syscall.ENOENT}, {"A", "new", syscall.EEXIST},
		} {
			fails(t, "rename "+r.from+" to "+r.to, os.Rename(at(r.from), at(r.to)), r.want)
		}
		fails(t, "rename INBOX", os.Rename(filepath.Join(mnt, "INBOX"), filepath.Join(mnt, "Box")), syscall.EBUSY)
		for _, name := range []string{"A", "B", "elsewhere", "new"} {
			if !has(t, c, a.Mailbox(name)) {
				t.Errorf("the server has no %s", name)
			}
		}
		if n := len(harness.Messages(t, c, a.Mailbox("B"))); n != 1 {
			t.Errorf("B has %d messages", n)
		}
	})
}

// TestFolderRemovedAndMadeAgain has a program stay in a folder that is removed, and made anew.
func TestFolderRemovedAndMadeAgain(t *testing.T) {
	a := harness.EmptyDovecot(t, "")
	top := harness.Mount(t, a)
	harness.Must(t, os.Mkdir(filepath.Join(top, "x"), 0o700))
	sh := inShell(t, `cd "$1/x" && echo in; read x; ls "$1/x" && mkdir "$1/x/y" && ls "$1/x"`, top)
	sh.says(t, "in")
	harness.Run(t, "rmdir", filepath.Join(top, "x"))
	harness.Run(t, "mkdir", filepath.Join(top, "x"))
	sh.goOn(t)
	sh.says(t, "y")
}

// TestFoldersRace has two mounts of an account make, rename and remove the same folders
// at once, while a third one reads. Nobody sees anything but what the others may have
// done, and the message is in one place at the end.
func TestFoldersRace(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		names := []string{"a", "b", "c"}
		harness.Must(t, c.Create(a.Mailbox("a"), nil).Wait())
		harness.Deliver(t, c, a.Mailbox("a"), harness.Letter("carried"), time.Now())
		var tops []string
		for range 3 {
			mnt, p := harness.MountProcess(t, a, "--poll", "50ms", "--connections", "3")
			tops = append(tops, a.Top(mnt))
			defer func() {
				if t.Failed() {
					t.Log(p.Stderr)
				}
			}()
		}
		var wg sync.WaitGroup
		for i, top := range tops[:2] {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 3))
				for range 6 {
					from, to := filepath.Join(top, names[r.IntN(3)]), filepath.Join(top, names[r.IntN(3)])
					for what, err := range map[string]error{
						"mkdir": os.Mkdir(filepath.Join(top, "made"), 0o700), "rename": os.Rename(from, to), "rmdir": syscall.Rmdir(filepath.Join(top, "made")),
					} {
						// Courier does not say that there is one; Dovecot cannot open what is just being deleted.
						unsaid := what == "mkdir" && errors.Is(err, syscall.EPERM) || what == "rmdir" && errors.Is(err, syscall.EIO)
						if err != nil && !errors.Is(err, syscall.EEXIST) && !errors.Is(err, syscall.ENOENT) && !unsaid {
							t.Errorf("%s, %s to %s: %v", what, from, to, err)
						}
					}
				}
			})
		}
		moved := make(chan struct{})
		go func() { wg.Wait(); close(moved) }()
		for reading := true; reading; {
			select {
			case <-moved:
				reading = false
			default:
			}
			for _, name := range names {
				b, err := os.ReadFile(filepath.Join(tops[2], name, "1", "body.txt"))
				if err == nil && string(b) != "carried\n" {
					t.Errorf("in %s: %q", name, b)
				}
			}
		}
		var found []string
		for _, name := range names {
			if has(t, c, a.Mailbox(name)) && len(harness.Messages(t, c, a.Mailbox(name))) == 1 {
				found = append(found, name)
			}
		}
		if len(found) != 1 {
			t.Fatalf("the message is in %q", found)
		}
		for _, top := range tops {
			harness.Eventually(t, "all mounts show it", func() bool {
				b, err := os.ReadFile(filepath.Join(top, found[0], "1", "body.txt"))
				return err == nil && string(b) == "carried\n"
			})
		}
	})
}
