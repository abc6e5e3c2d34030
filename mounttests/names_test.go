package mounttests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imapfs/commands"
	"imapfs/internal/harness"
)

// from is a letter with a sender, a subject and the date on which it was written.
func from(from, subject, date string) []byte {
	return []byte("From: " + from + "\r\nSubject: " + subject + "\r\nDate: " + date + "\r\n\r\nabout " + subject + "\r\n")
}

// named are letters, and what they are called with --names subject, before the number.
var named = []struct {
	raw  []byte
	want string
}{
	{from("Ines Brandt <ines@example.org>", "Lantern walk tonight", "Tue, 11 Nov 2025 23:59:00 -0800"), "2025-11-11 Ines Brandt, Lantern walk tonight"},
	{from("=?iso-8859-1?Q?J=F6rg?= <j@example.org>", "=?utf-8?b?UmU6IGEvYg==?=", "Wed, 12 Nov 2025 00:01:00 +0100"), "2025-11-12 Jörg, Re: a_b"},
	{from("robot@example.org", "=?utf-8?q?=F0=9F=87=A9=F0=9F=87=AA_?=\r\n .. ", "Wed, 12 Nov 2025 00:01:00 +0100"), "2025-11-12 robot@example.org, 🇩🇪 .."},
	{[]byte("To: nobody\r\n\r\nabout nothing\r\n"), "2025-12-24 no sender, no subject"},
	{from("Ines Brandt <ines@example.org>", "[14]", "yesterday"), "2025-12-24 Ines Brandt, [14]"},
	{from("x <x@example.org>", strings.Repeat("long ", 100), "Wed, 12 Nov 2025 00:01:00 +0100"), "2025-11-12 x, " + strings.TrimSpace(strings.Repeat("long ", 100)[:255-len("2025-11-12 x,  [6]")])},
}

func TestNames(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		harness.Must(t, c.Create(a.Mailbox("Place"), nil).Wait())
		var want []string
		for i, n := range named {
			uid := harness.Deliver(t, c, "INBOX", n.raw, time.Date(2025, 12, 24, 12, 0, 0, 0, time.UTC))
			if int(uid) != i+1 {
				t.Fatalf("UID %d", uid)
			}
			want = append(want, fmt.Sprintf("%s [%d]", n.want, uid))
		}
		// What it is called is in no log and no trace.
		log, trace := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "trace")
		r := harness.NewRemounter(t, a, "--names", "subject", "--poll", "200ms", "-v", "--log-file", log, "--trace-imap", trace)
		process := r.Mount(t)
		inbox, place := filepath.Join(r.Dir, "INBOX"), filepath.Join(a.Top(r.Dir), "Place")
		messages := func(dir string) []string {
			return slices.DeleteFunc(harness.Names(t, dir), func(name string) bool { return !strings.HasSuffix(name, "]") })
		}
		same := func(when string, want []string) {
			t.Helper()
			want = slices.Sorted(slices.Values(want))
			if got := messages(inbox); !slices.Equal(got, want) {
				t.Errorf("%s: listed %q, want %q", when, got, want)
			}
		}
		same("at first", want)
		for i, name := range want {
			number := fmt.Sprint(i + 1)
			for _, file := range []string{"body.txt", "headers.txt", "message.eml"} {
				if one, other := harness.Read(t, inbox, name, file), harness.Read(t, inbox, number, file); string(one) != string(other) {
					t.Errorf("%s/%s: %q, and by number %q", name, file, one, other)
				}
			}
			info, err := os.Stat(filepath.Join(inbox, name))
			harness.Must(t, err)
			if raw := harness.Read(t, inbox, name, "message.eml"); info.Size() != int64(len(raw)) || !info.IsDir() {
				t.Errorf("ls -l has %d bytes, RFC822.SIZE is %d", info.Size(), len(raw))
			}
		}
		// A name has to be right as a whole, because another message can have the number.
		for _, wrong := range []string{"x [1]", want[0] + " [2]", strings.Replace(want[0], "[1]", "[2]", 1), strings.Replace(want[0], "[1]", "[77]", 1)} {
			if _, err := os.Stat(filepath.Join(inbox, wrong)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %v", wrong, err)
			}
		}
		for _, refused := range []error{os.Mkdir(filepath.Join(place, "x [1]"), 0o700), os.WriteFile(filepath.Join(place, "y [1]"), named[0].raw, 0o600)} {
			if !errors.Is(refused, fs.ErrPermission) {
				t.Errorf("something new with a message's name: %v", refused)
			}
		}

		// A search finds them by the same names.
		if got := messages(filepath.Join(inbox, ".search", "from:ines")); !slices.Equal(got, []string{want[0], want[4]}) {
			t.Errorf("from:ines finds %q", got)
		}
		if got := string(harness.Read(t, r.Dir, ".search", "from:ines", "INBOX", want[0], "body.txt")); got != "about Lantern walk tonight\n" {
			t.Errorf("what was found holds %q", got)
		}

		// One that comes.
		uid := harness.Deliver(t, c, "INBOX", from("late@example.org", "late", "Wed, 12 Nov 2025 00:01:00 +0100"), time.Now())
		want = append(want, fmt.Sprintf("2025-11-12 late@example.org, late [%d]", uid))
		harness.Eventually(t, "it is listed", func() bool { return len(messages(inbox)) == len(want) })
		same("with another one", want)

		// Deleted by name and by number, each with the other one known: both names go.
		for i, by := range []string{want[0], "2"} {
			harness.Run(t, "rm", "-r", filepath.Join(inbox, by))
			for _, name := range []string{want[i], fmt.Sprint(i + 1)} {
				harness.Eventually(t, "the name is gone", func() bool {
					_, err := os.Stat(filepath.Join(inbox, name))
					return errors.Is(err, fs.ErrNotExist)
				})
			}
		}
		want = want[2:]
		same("after rm", want)
		// By another client.
		harness.Select(t, c, "INBOX")
		harness.Mark(t, c, 3)
		harness.Expunge(t, c, 3)
		want = want[1:]
		harness.Eventually(t, "it is listed no more", func() bool { return len(messages(inbox)) == len(want) })
		harness.Eventually(t, "what another client has expunged is gone", func() bool {
			_, err := os.Stat(filepath.Join(inbox, named[2].want+" [3]"))
			return errors.Is(err, fs.ErrNotExist)
		})

		// Moved: found by the name that it had, and listed by its own.
		harness.Run(t, "mv", filepath.Join(inbox, want[0]), filepath.Join(inbox, want[1]), place)
		for i, name := range want[:2] {
			if got := harness.Read(t, place, name, "body.txt"); string(got) != string(harness.Read(t, place, fmt.Sprint(i+1), "body.txt")) {
				t.Errorf("%s, moved, holds %q", name, got)
			}
		}
		moved := []string{named[3].want + " [1]", named[4].want + " [2]"}
		if got := messages(place); !slices.Equal(got, slices.Sorted(slices.Values(moved))) {
			t.Errorf("moved: %q, want %q", got, moved)
		}
		want = want[2:]
		same("after mv", want)

		said := harness.RunCommand(t, t.TempDir(), "flag", "+Flagged", filepath.Join(inbox, want[0]))
		if said.Code != 0 {
			t.Errorf("imapfs flag: %+v", said)
		}
		if got := string(harness.Read(t, inbox, want[0], "flags")); !strings.Contains(got, "Flagged") {
			t.Errorf("its flags are %q", got)
		}
		one, stdout := waiting(t, "--follow", inbox)
		harness.Eventually(t, "wait tells the name", func() bool {
			uid := harness.Deliver(t, c, "INBOX", from("new@example.org", "new", "Wed, 12 Nov 2025 00:01:00 +0100"), time.Now())
			want = append(want, fmt.Sprintf("2025-11-12 new@example.org, new [%d]", uid))
			return stdout.String() != ""
		})
		if line, _, _ := strings.Cut(stdout.String(), "\n"); !slices.Contains(want, filepath.Base(line)) || filepath.Dir(line) != inbox {
			t.Errorf("wait prints %q", line)
		}
		one.Cmd.Process.Kill()
		one.Exit(t)

		process.Unmount(t)
		process = r.Mount(t)
		same("after a remount", want)
		process.Unmount(t)
		for _, file := range []string{log, trace} {
			b, err := os.ReadFile(file)
			harness.Must(t, err)
			for _, word := range []string{"Lantern", "Ines", "late@"} {
				if strings.Contains(string(b), word) {
					t.Errorf("%s has %q of a mail", filepath.Base(file), word)
				}
			}
		}
	})
}

// TestNamesInBatches looks at what names cost.
func TestNamesInBatches(t *testing.T) {
	const n = 8501
	_, p := harness.Inbox(t, n-1)
	r := harness.NewRemounter(t, p.Account, "--names", "{subject}")
	for _, c := range []struct {
		what string
		most int // FETCH, for the names and attributes of all
	}{{"the first time", 5}, {"after a remount", 0}} {
		process := r.Mount(t)
		p.Forget()
		names := harness.Names(t, filepath.Join(r.Dir, "INBOX"))
		if len(names) != n {
			t.Fatalf("%d names", len(names))
		}
		harness.Run(t, "ls", "-l", filepath.Join(r.Dir, "INBOX"))
		if sent := p.Sent("FETCH"); len(sent) > c.most {
			t.Errorf("%s: %d commands: %q", c.what, len(sent), sent)
		}
		process.Unmount(t)
	}
}

func TestNamesRefused(t *testing.T) {
	for _, template := range []string{"", "{sender}", "{date}/{subject}", "name"} {
		said := harness.RunCommand(t, t.TempDir(), "--names", template, "imap://a@localhost/", t.TempDir())
		said.FailsWith(t, commands.ExitUsage, "names")
	}
}

// TestNamesOfSentMail has who gets it where the account's own mail is.
func TestNamesOfSentMail(t *testing.T) {
	a := harness.EmptyDovecot(t, "namespace inbox {\n mailbox Gesendet {\n  auto = create\n  special_use = \\Sent\n }\n}\n")
	c := a.Client(t)
	raw := []byte("From: Anna <anna@example.org>\r\nTo: Ines Brandt <ines@example.org>\r\nSubject: Re: walk\r\nDate: Tue, 11 Nov 2025 10:00:00 +0100\r\n\r\nyes\r\n")
	mnt := harness.Mount(t, a, "--names", "subject")
	for folder, want := range map[string]string{"INBOX": "2025-11-11 Anna, Re: walk [1]", "Gesendet": "2025-11-11 to Ines Brandt, Re: walk [1]"} {
		harness.Deliver(t, c, folder, raw, time.Now())
		harness.Eventually(t, "it has come", func() bool { return len(harness.Names(t, filepath.Join(mnt, folder))) == 1 })
		if got := harness.Names(t, filepath.Join(mnt, folder)); got[0] != want {
			t.Errorf("%s lists %q, want %q", folder, got, want)
		}
		if got := string(harness.Read(t, mnt, folder, want, "body.txt")); got != "yes\n" {
			t.Errorf("%s holds %q", want, got)
		}
	}
}
