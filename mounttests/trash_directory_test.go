package mounttests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/harness"
)

// trashAccounts are accounts with a trash of their own, by server.
var trashAccounts = map[string]func(t *testing.T) (a harness.Account, trash, flag string){
	"embedded": func(t *testing.T) (harness.Account, string, string) {
		a := harness.EmptyDemo(t)
		harness.Must(t, a.Client(t).Create("Trash", nil).Wait())
		return a, "Trash", "--retry"
	},
	"dovecot": func(t *testing.T) (harness.Account, string, string) {
		return harness.EmptyDovecot(t, "namespace inbox {\n mailbox Papierkorb {\n  auto = create\n  special_use = \\Trash\n }\n}\n"), "Papierkorb", "--retry"
	},
	"cyrus": func(t *testing.T) (harness.Account, string, string) {
		a := harness.EmptyCyrus(t)
		c := a.Client(t)
		c.Create("INBOX", nil).Wait() // or it is there
		harness.Must(t, c.Create("Bin", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrTrash}}).Wait())
		return a, "Bin", "--retry"
	},
	"courier, named": func(t *testing.T) (harness.Account, string, string) {
		a := harness.EmptyCourier(t)
		harness.Must(t, a.Client(t).Create("INBOX.Trash", nil).Wait())
		return a, "INBOX.Trash", "--trash=INBOX/Trash"
	},
}

// heldSubjects returns what a folder of the server has, in the order of the alphabet.
func heldSubjects(t *testing.T, c *imapclient.Client, mailbox string) string {
	t.Helper()
	var all []string
	for _, m := range harness.Messages(t, c, mailbox) {
		line, _, _ := strings.Cut(string(m.Raw), "\r\n")
		all = append(all, strings.TrimPrefix(line, "Subject: "))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestTrashDirectory has gio put messages into the trash, brings one back, and deletes
// one, over a remount. What was in the account's trash before is not in that of the desktop.
func TestTrashDirectory(t *testing.T) {
	harness.Need(t, "gio")
	for server, start := range trashAccounts {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			a, bin, flag := start(t)
			c := a.Client(t)
			harness.Deliver(t, c, bin, harness.Letter("old"), putDate)
			for _, name := range []string{"a", "b", "c", "d"} {
				harness.Deliver(t, c, "INBOX", harness.Letter(name), putDate)
			}
			r := harness.NewRemounter(t, a, flag)
			process := r.Mount(t)
			trash := filepath.Join(r.Dir, fmt.Sprint(".Trash-", os.Getuid()))
			files, info := filepath.Join(trash, "files"), filepath.Join(trash, "info")
			is := func(inbox, inBin string, names ...string) {
				t.Helper()
				if got := heldSubjects(t, c, "INBOX"); got != inbox {
					t.Errorf("INBOX has %q, want %q", got, inbox)
				}
				if got := heldSubjects(t, c, bin); got != inBin {
					t.Errorf("the trash has %q, want %q", got, inBin)
				}
				if got := harness.Names(t, files); !slices.Equal(got, names) {
					t.Errorf("files has %q, want %q", got, names)
				}
				var infos []string
				for _, name := range names {
					infos = append(infos, name+".trashinfo")
				}
				if got := harness.Names(t, info); !slices.Equal(got, infos) {
					t.Errorf("info has %q, want %q", got, infos)
				}
			}
			is("a b c d", "old")
			if slices.Contains(harness.Names(t, r.Dir), filepath.Base(trash)) {
				t.Error("it is listed")
			}
			for _, uid := range []string{"1", "2", "3"} {
				harness.Run(t, "gio", "trash", filepath.Join(r.Dir, "INBOX", uid))
			}
			is("d", "a b c old", "1", "2", "3")
			if text := string(harness.Read(t, info, "2.trashinfo")); !strings.Contains(text, "Path=INBOX/2\n") {
				t.Errorf("it tells %q", text)
			}
			if got := string(harness.Read(t, files, "2", "body.txt")); got != "b\n" {
				t.Errorf("the body is %q", got)
			}

			process.Unmount(t)
			process = r.Mount(t)
			is("d", "a b c old", "1", "2", "3")
			harness.Run(t, "gio", "move", filepath.Join(files, "2"), filepath.Join(r.Dir, "INBOX", "2"))
			harness.Must(t, os.Remove(filepath.Join(info, "2.trashinfo")))
			is("b d", "a c old", "1", "3")
			if got := string(harness.Read(t, r.Dir, "INBOX", "2", "body.txt")); got != "b\n" {
				t.Errorf("what was brought back is %q", got)
			}
			// GNOME moves away what it deletes.
			harness.Must(t, os.Rename(filepath.Join(files, "3"), filepath.Join(trash, "expunged", "77")))
			harness.Must(t, os.Remove(filepath.Join(info, "3.trashinfo")))
			is("b d", "a c old", "1")
			harness.Run(t, "rm", "-r", filepath.Join(trash, "expunged", "77"))
			is("b d", "a old", "1")

			// Another client empties the trash.
			harness.Select(t, c, bin)
			for _, m := range harness.Messages(t, a.Client(t), bin) {
				harness.Expunge(t, c, m.UID)
			}
			harness.Eventually(t, "it is not listed any more", func() bool { return len(harness.Names(t, files)) == 0 })
			process.Unmount(t)
		})
	}
}

// TestTrashRefuses has what cannot be put into the trash stay where it is.
func TestTrashRefuses(t *testing.T) {
	a := harness.EmptyDemo(t)
	c := a.Client(t)
	harness.Must(t, c.Create("Trash", nil).Wait())
	harness.Deliver(t, c, "INBOX", harness.Letter("a"), putDate)
	harness.Deliver(t, c, "Trash", harness.Letter("old"), putDate)
	mnt, process := harness.MountProcess(t, a, "-v")
	trash := filepath.Join(mnt, fmt.Sprint(".Trash-", os.Getuid()))
	harness.Must(t, os.Mkdir(filepath.Join(mnt, "Folder"), 0o700))
	for from, to := range map[string]string{
		"Trash/1":          "files/1",
		"INBOX/1/body.txt": "files/body.txt",
		"Folder":           "files/Folder",
		"INBOX/1":          "info/1",
	} {
		if err := os.Rename(filepath.Join(mnt, from), filepath.Join(trash, to)); !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s to %s: %v, want EPERM", from, to, err)
		}
	}
	harness.Eventually(t, "the log tells what can be done", func() bool {
		said := process.Stderr.String()
		return strings.Contains(said, `msg="cannot move this to the trash"`) && strings.Contains(said, "an empty folder is deleted with rmdir")
	})
	for _, name := range []string{"x", "files/x", "info/x"} {
		if err := os.Mkdir(filepath.Join(trash, name), 0o700); !errors.Is(err, syscall.EPERM) {
			t.Errorf("mkdir %s: %v, want EPERM", name, err)
		}
	}
	for _, name := range []string{"x", "files/x"} {
		if err := os.WriteFile(filepath.Join(trash, name), []byte("x"), 0o600); !errors.Is(err, syscall.EPERM) {
			t.Errorf("create %s: %v, want EPERM", name, err)
		}
	}
	if got := heldSubjects(t, c, "INBOX") + ", " + heldSubjects(t, c, "Trash"); got != "a, old" {
		t.Errorf("there is %q", got)
	}
	for what, mnt := range map[string]string{
		"a mount that only reads":  harness.Mount(t, a, "-o", "ro"),
		"a server without a trash": harness.Mount(t, harness.EmptyCourier(t)),
	} {
		if _, err := os.Lstat(filepath.Join(mnt, filepath.Base(trash))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s has a trash: %v", what, err)
		}
	}
}

// TestTrashNameTaken has messages of two folders be put into the trash by one name: the
// second one stays, and both can be had. The trash is for its owner alone.
func TestTrashNameTaken(t *testing.T) {
	a := harness.EmptyDemo(t)
	c := a.Client(t)
	harness.Must(t, c.Create("Trash", nil).Wait())
	harness.Must(t, c.Create("Other", nil).Wait())
	harness.Deliver(t, c, "INBOX", harness.Letter("a"), putDate)
	harness.Deliver(t, c, "Other", harness.Letter("b"), putDate)
	r := harness.NewRemounter(t, a, "--umask=022")
	process := r.Mount(t)
	trash := filepath.Join(r.Dir, fmt.Sprint(".Trash-", os.Getuid()))
	for _, dir := range []string{trash, filepath.Join(trash, "files")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	harness.Must(t, os.Rename(filepath.Join(r.Dir, "INBOX/1"), filepath.Join(trash, "files/1")))
	if err := os.Rename(filepath.Join(r.Dir, "Other/1"), filepath.Join(trash, "files/1")); err == nil {
		t.Error("one name for two")
	}
	if got := heldSubjects(t, c, "Other") + ", " + heldSubjects(t, c, "Trash"); got != "b, a" {
		t.Errorf("there is %q", got)
	}
	process.Unmount(t)

	// The trash has another name for the next mount, which still lists what is there.
	harness.Must(t, c.Rename("Trash", "Old", nil).Wait())
	harness.Must(t, c.Create("Trash", nil).Wait())
	process = r.Mount(t)
	if got := harness.Names(t, filepath.Join(trash, "files")); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
	harness.Must(t, c.Delete("Trash").Wait())
	harness.Must(t, c.Create("Bin", nil).Wait())
	process.Unmount(t)
	r.Flags = append(r.Flags, "--trash=Bin")
	process = r.Mount(t)
	if got := harness.Names(t, filepath.Join(trash, "files")); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
	process.Unmount(t)
}

// TestTrashOfKDE has a program do what KDE's trash does, which removes what it has copied to
// the home directory: unlink each file, and rmdir. The messages are in the account's trash,
// those that were there before are gone, and so is the folder that they were in.
func TestTrashOfKDE(t *testing.T) {
	harness.Need(t, "perl")
	worker := filepath.Join(t.TempDir(), "kio_trash.so")
	harness.Must(t, os.WriteFile(worker, []byte(`
use File::Find;
finddepth({no_chdir => 1, wanted => sub { (-d $_ ? rmdir $_ : unlink $_) or die "$_: $!" }}, @ARGV);
`), 0o600))
	for server, start := range trashAccounts {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			a, bin, flag := start(t)
			c := a.Client(t)
			harness.Deliver(t, c, bin, harness.Letter("old"), putDate)
			for _, name := range []string{"a", "b"} {
				harness.Deliver(t, c, "INBOX", harness.Letter(name), putDate)
			}
			mnt := harness.Mount(t, a, flag)
			top := a.Top(mnt)
			harness.Must(t, os.Mkdir(filepath.Join(top, "Folder"), 0o700))
			harness.Must(t, os.Rename(filepath.Join(mnt, "INBOX/2"), filepath.Join(top, "Folder/2")))
			harness.Run(t, "perl", worker, filepath.Join(mnt, "INBOX/1"), filepath.Join(top, "Folder"))
			if inbox, trash := heldSubjects(t, c, "INBOX"), heldSubjects(t, c, bin); inbox != "" || trash != "a b old" {
				t.Errorf("INBOX has %q, the trash %q", inbox, trash)
			}
			if names := harness.Names(t, top); slices.Contains(names, "Folder") {
				t.Error("the folder is there")
			}
			dir := filepath.Join(top, filepath.Base(strings.ReplaceAll(bin, ".", "/")))
			harness.Run(t, "perl", worker, filepath.Join(dir, harness.FirstUID(t, dir)))
			if trash := heldSubjects(t, c, bin); trash != "a b" {
				t.Errorf("the trash has %q", trash)
			}
		})
	}
}
