package mounttests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"imapfs/internal/harness"
)

// subjects returns what the server has in a folder, by UID.
func subjects(t *testing.T, a harness.Account, folder string) map[imap.UID]string {
	t.Helper()
	all := map[imap.UID]string{}
	for _, m := range harness.Messages(t, a.Client(t), a.Mailbox(folder)) {
		line, _, _ := strings.Cut(string(m.Raw), "\r\n")
		all[m.UID] = strings.TrimPrefix(line, "Subject: ")
	}
	return all
}

// texts is the subjects alone, sorted.
func texts(of map[imap.UID]string) (list []string) {
	for _, s := range of {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// movable makes the folders From, with letters a, b, c and so on, and To, with one called
// "own 1".
func movable(t *testing.T, a harness.Account, n int) {
	t.Helper()
	c := a.Client(t)
	for _, folder := range []string{"From", "To"} {
		harness.Must(t, c.Create(a.Mailbox(folder), nil).Wait())
	}
	for i := range n {
		harness.Deliver(t, c, a.Mailbox("From"), harness.Letter(string(rune('a'+i))), time.Unix(1e9+int64(i), 0))
	}
	harness.Deliver(t, c, a.Mailbox("To"), harness.Letter("own 1"), time.Now())
}

func body(t *testing.T, path ...string) string {
	t.Helper()
	return strings.TrimSpace(string(harness.Read(t, append(path, "body.txt")...)))
}

// TestMove moves messages with mv. Each is in one place afterwards, with its date and
// its flags; it is found under its new number, and for a while under the one that mv
// has called it.
func TestMove(t *testing.T) {
	harness.Need(t, "mv")
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		movable(t, a, 6)
		mnt := a.Top(harness.Mount(t, a))
		from, to := filepath.Join(mnt, "From"), filepath.Join(mnt, "To")
		c := a.Client(t)
		harness.Select(t, c, a.Mailbox("From"))
		harness.Must(t, c.Store(imap.UIDSetNum(5), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close())

		// 5 is no number of To yet: the name leads to the message, under which it is not listed.
		before := harness.Contents(t, filepath.Join(from, "5"))
		harness.Run(t, "mv", filepath.Join(from, "5"), to)
		if got := harness.Names(t, to); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("To lists %v", got)
		}
		for _, name := range []string{"2", "5"} {
			for file, want := range before {
				if got := harness.Read(t, to, name, file); !bytes.Equal(got, want) {
					t.Errorf("%s/%s is %q, before it was moved %q", name, file, got, want)
				}
			}
		}
		// 1 is one: both are there, each under its own number.
		harness.Run(t, "mv", filepath.Join(from, "1"), to)
		harness.Eventually(t, "1 is the folder's own one", func() bool { return body(t, to, "1") == "own 1" })
		if got := body(t, to, "3"); got != "a" {
			t.Errorf("3 is %q", got)
		}
		harness.Names(t, filepath.Join(to, "1"))
		// Several, with -t, and into the directory's own name.
		harness.Run(t, "mv", "-t", to, filepath.Join(from, "3"), filepath.Join(from, "4"))
		harness.Run(t, "mv", "-T", filepath.Join(from, "6"), filepath.Join(to, "6"))
		if got := harness.Names(t, from); !slices.Equal(got, []string{"2"}) {
			t.Errorf("From lists %v", got)
		}
		if _, err := os.Lstat(filepath.Join(from, "5")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old name: %v", err)
		}
		if got, want := subjects(t, a, "To"), (map[imap.UID]string{1: "own 1", 2: "e", 3: "a", 4: "c", 5: "d", 6: "f"}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the server has %v in To, want %v", got, want)
		}
		if got := subjects(t, a, "From"); fmt.Sprint(got) != fmt.Sprint(map[imap.UID]string{2: "b"}) {
			t.Errorf("the server has %v in From", got)
		}
		for _, m := range harness.Messages(t, a.Client(t), a.Mailbox("To")) {
			if m.UID == 2 && (!slices.Contains(m.Flags, imap.FlagFlagged) || m.Date.Unix() != 1e9+4) {
				t.Errorf("the moved message has %v, and is of %v", m.Flags, m.Date)
			}
		}
		// Now 5 is the number of another message, so the name leads there.
		if got := body(t, to, "5"); got != "d" {
			t.Errorf("5 is %q now", got)
		}
		// And back, and away.
		harness.Run(t, "mv", filepath.Join(to, "2"), from)
		harness.Run(t, "rm", "-r", filepath.Join(to, "6"))
		if got := texts(subjects(t, a, "From")); !slices.Equal(got, []string{"b", "e"}) {
			t.Errorf("the server has %v in From", got)
		}
		if got := texts(subjects(t, a, "To")); !slices.Equal(got, []string{"a", "c", "d", "own 1"}) {
			t.Errorf("the server has %v in To", got)
		}
	})
}

// TestMoveRefused tries what cannot be a move of a message. Nothing has changed then.
func TestMoveRefused(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		movable(t, a, 3)
		mnt := a.Top(harness.Mount(t, a))
		at := func(path ...string) string { return filepath.Join(append([]string{mnt}, path...)...) }
		harness.Read(t, at("To", "1", "body.txt"))
		for _, test := range []struct {
			from, to string
			flags    uint
			want     error
		}{
			{at("From", "1"), at("From", "7"), 0, syscall.EPERM},            // a number is given by the server
			{at("From", "1"), at("From", "2"), 0, syscall.EPERM},            //
			{at("From", "1"), at("To", "Archvie"), 0, syscall.EPERM},        // most likely a folder was meant
			{at("From", "1"), at("To", "12"), 0, syscall.EPERM},             // another number
			{at("From", "1"), at("Nope"), 0, syscall.EPERM},                 //
			{at("From", "1"), at("To"), 0, syscall.EEXIST},                  // a folder
			{at("From", "1"), at("To", "1", "1"), 0, syscall.EPERM},         // into a message
			{at("From", "1", "body.txt"), at("To", "1"), 0, syscall.EISDIR}, // a part of one
			{at("From", "1", "body.txt"), at("To", "x.eml"), 0, syscall.EPERM},
			{at("From", "1"), at("To", "1"), unix.RENAME_NOREPLACE, syscall.EEXIST},
			{at("From", "1"), at("To", "1"), unix.RENAME_EXCHANGE, syscall.EINVAL},
			{at("From", "9"), at("To", "9"), 0, syscall.ENOENT},
		} {
			err := unix.Renameat2(unix.AT_FDCWD, test.from, unix.AT_FDCWD, test.to, test.flags)
			if err != test.want {
				t.Errorf("rename %s to %s (%d): %v, want %v", test.from, test.to, test.flags, err, test.want)
			}
		}
		if got := texts(subjects(t, a, "From")); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("From has %v", got)
		}
		if got := harness.Names(t, at("From")); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("From lists %v", got)
		}
		if got := texts(subjects(t, a, "To")); !slices.Equal(got, []string{"own 1"}) {
			t.Errorf("To has %v", got)
		}
		// mv -n leaves alone what is there; "1 (1)" is what a file manager makes of it.
		exec.Command("mv", "-n", at("From", "1"), at("To")).Run()
		if got := texts(subjects(t, a, "From")); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("after mv -n From has %v", got)
		}
		harness.Must(t, unix.Renameat2(unix.AT_FDCWD, at("From", "1"), unix.AT_FDCWD, at("To", "1 (1)"), unix.RENAME_NOREPLACE))
		if got := body(t, at("To", "1 (1)")); got != "a" {
			t.Errorf("1 (1) is %q", got)
		}
	})
}

// TestMovedContent has what was read go along with a message: it is not asked for again,
// neither by who has it open nor after a new start; and what is open reads on.
func TestMovedContent(t *testing.T) {
	harness.Need(t, "mv")
	s, p := harness.Inbox(t, 3)
	a := p.Account
	c := harness.DovecotAccount(s).Client(t)
	harness.Must(t, c.Create("To", nil).Wait())
	harness.Must(t, c.Create("Large", nil).Wait())
	large, attachment := harness.BigMessage(3_000_000)
	harness.Deliver(t, c, "Large", large, time.Now())
	r := harness.NewRemounter(t, a)
	r.Mount(t)
	mnt := r.Dir
	before := harness.Contents(t, filepath.Join(mnt, "INBOX", "2"))
	harness.Contents(t, filepath.Join(mnt, "Large", "1"))
	f, err := os.Open(filepath.Join(mnt, "Large", "1", "attachments", harness.Names(t, filepath.Join(mnt, "Large", "1", "attachments"))[0]))
	harness.Must(t, err)
	defer f.Close()
	first := make([]byte, 100_000)
	if _, err := io.ReadFull(f, first); err != nil {
		t.Fatal(err)
	}
	p.Forget()
	harness.Run(t, "mv", filepath.Join(mnt, "INBOX", "2"), filepath.Join(mnt, "Large", "1"), filepath.Join(mnt, "To"))
	rest, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(append(first, rest...), attachment) {
		t.Errorf("an open attachment of a moved message: %d bytes and then %d of %d, %v", len(first), len(rest), len(attachment), err)
	}
	check := func(when string) {
		t.Helper()
		to := filepath.Join(mnt, "To")
		if got := harness.Names(t, to); len(got) != 2 {
			t.Fatalf("To lists %v", got)
		}
		for file, want := range before {
			if got := harness.Read(t, to, "1", file); !bytes.Equal(got, want) {
				t.Errorf("%s, %s is %q, want %q", when, file, got, want)
			}
		}
		if got := harness.Contents(t, filepath.Join(to, "2", "attachments")); len(got) != 1 {
			t.Errorf("%s, there are %d attachments", when, len(got))
		} else {
			for _, b := range got {
				if !bytes.Equal(b, attachment) {
					t.Errorf("%s, the attachment has changed", when)
				}
			}
		}
		if sent := p.Sent("FETCH"); len(sent) > 0 {
			t.Errorf("%s, the server was asked: %q", when, sent)
		}
	}
	check("after the move")
	f.Close()
	harness.Unmount(t, mnt)
	r.Mount(t)
	p.Forget()
	check("after a new start")
}
