package mounttests

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/commands"
	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
	"imapfs/query"
)

// toFind are messages that queries tell from each other: their numbers in INBOX are 1 to 5.
func toFind(t *testing.T, a harness.Account) {
	t.Helper()
	c := a.Client(t)
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 12, 0, 0, 0, time.UTC)
	}
	for _, m := range []struct {
		raw  string
		date time.Time
	}{
		{"From: Ines Brandt <ines@example.org>\r\nTo: anna@example.org\r\nSubject: Lantern walk\r\n\r\nWe meet at seven.\r\n", day(2025, 11, 11)},
		{"From: bot@example.org\r\nTo: anna@example.org\r\nSubject: Build failed\r\n\r\nThe lantern module does not compile.\r\n", day(2025, 11, 12)},
		{"From: Ines Brandt <ines@example.org>\r\nSubject: Pictures\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee below\r\n--x\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=walk.pdf\r\n\r\n%PDF\r\n--x--\r\n", day(2026, 1, 2)},
		{"From: =?utf-8?q?J=C3=B6rg?= <j@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSch\u00f6ne Gr\u00fc\u00dfe\r\n", day(2026, 2, 3)},
		{"From: bot@example.org\r\nSubject: Long log\r\n\r\n" + strings.Repeat("a line of a log\r\n", 2000), day(2024, 5, 6)},
	} {
		harness.Deliver(t, c, "INBOX", []byte(m.raw), m.date)
	}
	harness.Select(t, c, "INBOX")
	harness.Must(t, c.Store(imap.UIDSetNum(1, 5), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close())
	harness.Must(t, c.Store(imap.UIDSetNum(3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close())
	for _, name := range []string{"Bots", "Empty"} {
		harness.Must(t, c.Create(a.Mailbox(name), nil).Wait())
	}
	harness.Deliver(t, c, a.Mailbox("Bots"), []byte("From: bot@example.org\r\nSubject: old\r\n\r\nold\r\n"), day(2020, 1, 1))
}

func TestSearch(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		toFind(t, a)
		mnt, p := harness.MountProcess(t, a, "--poll", "300ms")
		inbox := filepath.Join(mnt, "INBOX")
		found := func(q string) []string { return harness.Names(t, filepath.Join(inbox, ".search", query.Escape(q))) }
		for q, want := range map[string]string{
			"from:ines":                 "1 3",
			"from:Ines subject:lantern": "1",
			"lantern":                   "1 2",
			"body:lantern":              "2",
			`"does not compile"`:        "2",
			"-from:bot":                 "1 3 4",
			"from:ines or from:bot":     "1 2 3 5",
			"-(from:ines or from:bot)":  "4",
			"subject:Grüße":             "4",
			"from:jörg":                 "4",
			"since:2026":                "3 4",
			"before:2025":               "5",
			"date:2025-11":              "1 2",
			"date:2025-11-12":           "2",
			"date:2025/11/12":           "2",
			"larger:10k":                "5",
			"smaller:10k -from:bot":     "1 3 4",
			"is:unread":                 "2 3 4",
			"is:read":                   "1 5",
			"is:flagged or from:jörg":   "3 4",
			"tag:work":                  "",
			"tag:Flagged":               "3",
			"has:attachment":            "3",
			"-has:attachment from:ines": "1",
			"has:attachment or is:read": "1 3 5",
			"is:read -(has:attachment or larger:10k)":    "1",
			"imap:'SEEN SMALLER 1000'":                   "1",
			"imap:'OR FLAGGED FROM \"bot\"' -larger:10k": "2 3",
			"nothingofthiskind":                          "",
			"from:ines -from:ines":                       "",
		} {
			if got := strings.Join(found(q), " "); got != want {
				t.Errorf("%s finds %q, want %q", q, got, want)
			}
		}
		for _, q := range []string{"sender:x", "since:gestern", "(a", "imap:'SEEN)'", "imap:'SUBJECT {3}'", "imap:'SUBJECT \"a'"} {
			_, err := os.ReadDir(filepath.Join(inbox, ".search", query.Escape(q)))
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%s: %v", q, err)
			}
		}
		p.WaitSaid(t, "at character 1: sender:")
		if got := harness.Names(t, filepath.Join(inbox, ".search")); len(got) > 0 {
			t.Errorf("queries are listed: %q", got)
		}
		if got := harness.Names(t, inbox); slices.Contains(got, ".search") {
			t.Errorf("INBOX lists %q", got)
		}
		// In all folders, and nothing of those in which nothing is.
		all := filepath.Join(mnt, ".search", "from:bot")
		if got := harness.Run(t, "sh", "-c", `cd "$1" && find . -name headers.txt | sort`, "sh", all); got != strings.ReplaceAll(
			strings.ReplaceAll("./Bots/1/headers.txt\n./INBOX/2/headers.txt\n./INBOX/5/headers.txt\n", "./Bots", "./"+strings.TrimPrefix(a.Top(mnt)+"/Bots", mnt+"/")), "./INBOX/Bots/1/headers.txt\n./INBOX/2/headers.txt\n./INBOX/5/headers.txt\n", "./INBOX/2/headers.txt\n./INBOX/5/headers.txt\n./INBOX/Bots/1/headers.txt\n") {
			t.Errorf("from:bot in all folders: %s", got)
		}
		// What is found is the message itself.
		if got, want := harness.Contents(t, filepath.Join(inbox, ".search", "has:attachment", "3")), harness.Contents(t, filepath.Join(inbox, "3")); len(got) != 3 || !maps.EqualFunc(got, want, bytes.Equal) {
			t.Errorf("a message that was found holds %q, want %q", got, want)
		}

		// By the command.
		said := harness.RunCommand(t, t.TempDir(), "search", inbox, "from:ines or from:bot")
		if want := fmt.Sprintf("%[1]s/1\n%[1]s/2\n%[1]s/3\n%[1]s/5\n", inbox); said.Code != 0 || said.Stdout != want {
			t.Errorf("imapfs search: %+v, want %q", said, want)
		}
		if said := harness.RunCommand(t, t.TempDir(), "search", "--count", mnt, "from:bot"); said.Code != 0 || said.Stdout != "3\n" {
			t.Errorf("imapfs search --count: %+v", said)
		}
		if said := harness.RunCommand(t, t.TempDir(), "search", "-0", inbox, "is:flagged"); said.Code != 0 || said.Stdout != inbox+"/3\x00" {
			t.Errorf("imapfs search -0: %+v", said)
		}
		harness.RunCommand(t, t.TempDir(), "search", inbox, "from:").FailsWith(t, commands.ExitUsage, "at character 6")
		harness.RunCommand(t, t.TempDir(), "search", t.TempDir(), "a").FailsWith(t, commands.ExitFailed, "no folder of a mount")

		// What is done to it is done to the message.
		c := a.Client(t)
		harness.Run(t, "sh", "-c", `mv "$1"/.search/from:bot/* "$2"`, "sh", inbox, filepath.Join(a.Top(mnt), "Bots"))
		if got := found("from:bot"); len(got) > 0 {
			t.Errorf("after mv from:bot finds %q", got)
		}
		if n := len(harness.Messages(t, c, a.Mailbox("Bots"))); n != 3 {
			t.Errorf("%d messages in Bots", n)
		}
		harness.Names(t, filepath.Join(inbox, ".search", "has:attachment", "3"))
		harness.Run(t, "rm", "-r", filepath.Join(inbox, ".search", "from:ines"))
		for _, path := range []string{"1", "3", ".search/has:attachment/3"} {
			harness.Eventually(t, path+" is gone", func() bool {
				_, err := os.Stat(filepath.Join(inbox, path))
				return errors.Is(err, fs.ErrNotExist)
			})
		}
		harness.Run(t, "rm", "-r", filepath.Join(mnt, ".search", "before:2021"))
		if n, m := len(harness.Messages(t, c, "INBOX")), len(harness.Messages(t, c, a.Mailbox("Bots"))); n != 1 || m != 2 {
			t.Errorf("%d messages are left in INBOX, %d in Bots", n, m)
		}

		// What comes, and what changes, is found.
		harness.Deliver(t, c, "INBOX", []byte("From: ines@example.org\r\nSubject: again\r\n\r\nagain\r\n"), time.Now())
		harness.Eventually(t, "what has come is found", func() bool { return len(found("from:ines")) == 1 })
		if said := harness.RunCommand(t, t.TempDir(), "flag", "+Seen", filepath.Join(inbox, ".search", "from:jörg", "4")); said.Code != 0 {
			t.Errorf("imapfs flag: %+v", said)
		}
		harness.Eventually(t, "what was marked is read", func() bool { return slices.Contains(found("is:read"), "4") })
	})
}

// TestSearchOnce asks the server once, and again when the folder has changed.
func TestSearchOnce(t *testing.T) {
	p, mnt, _ := letters(t, 50)
	inbox := filepath.Join(mnt, "INBOX")
	harness.Names(t, inbox)
	c := p.Client(t)
	look := func(want, asked int) {
		t.Helper()
		p.Forget()
		for range 3 {
			if got := harness.Names(t, filepath.Join(inbox, ".search", "subject:letter -subject:new")); len(got) != want {
				t.Errorf("%d are found, want %d", len(got), want)
			}
		}
		if sent := p.Sent("SUBJECT"); len(sent) != asked {
			t.Errorf("sent %q, want %d", sent, asked)
		}
	}
	look(50, 1)
	look(50, 0)
	harness.Run(t, "cat", filepath.Join(inbox, ".search", "subject:letter", "7", "body.txt"))
	harness.Deliver(t, c, "INBOX", harness.OneLetter(51), time.Now())
	harness.Eventually(t, "it has come", func() bool { return len(harness.Names(t, inbox)) == 51 })
	look(51, 1)
}

// TestSearchInWhatIsKept looks here for a text where all is kept, and in what is kept where
// the server cannot be asked.
func TestSearchInWhatIsKept(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{})
	a := harness.DovecotAccount(s)
	toFind(t, a)
	proxy := harness.NewProxy(t, a)
	r := harness.NewRemounter(t, proxy.Account, "--mirror", "--poll", "300ms")
	process := r.Mount(t)
	inbox := filepath.Join(r.Dir, "INBOX")
	harness.Eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.Dir) })
	found := func(q string) string {
		t.Helper()
		return strings.Join(harness.Names(t, filepath.Join(inbox, ".search", query.Escape(q))), " ")
	}
	here := map[string]string{
		"lantern":                       "1 2",
		"body:lantern":                  "2",
		`"does not compile"`:            "2",
		"grüße":                         "4",
		"body:meet from:ines":           "1",
		"body:line larger:10k":          "5",
		"walk has:attachment":           "",
		"below has:attachment":          "3",
		"lantern -subject:LANTERN":      "2",
		"from:jörg (schöne or lantern)": "4",
		"lantern since:2025-11-12":      "2",
		"lantern before:2025-11-12":     "1",
		"to:anna text:module":           "2",
		"text:nothingofthiskind":        "",
	}
	ask := func(when string) {
		t.Helper()
		proxy.Forget()
		for q, want := range here {
			if got := found(q); got != want {
				t.Errorf("%s: %s finds %q, want %q", when, q, got, want)
			}
		}
		if sent := append(proxy.Sent("TEXT"), proxy.Sent("BODY ")...); len(sent) > 0 {
			t.Errorf("%s: sent %q", when, sent)
		}
	}
	ask("with a mirror")
	if got := found("from:ines"); got != "1 3" || len(proxy.Sent("FROM")) == 0 {
		t.Errorf("what the server knows at once: %q, sent %q", got, proxy.Sent(""))
	}
	harness.Deliver(t, a.Client(t), "INBOX", []byte("Subject: late lantern\r\n\r\nlate\r\n"), time.Now())
	harness.Eventually(t, "what has come is found", func() bool { return found("lantern late") == "6" && mirrored(t, r.Dir) })
	process.Unmount(t)

	here["from:ines"], here["smaller:1k -from:bot subject:lantern"] = "1 3", "1 6"
	here["lantern"], here["lantern since:2025-11-12"] = "1 2 6", "2 6"
	here["lantern -subject:LANTERN"] = "2"
	s.Kill()
	process = r.Mount(t)
	ask("while the server is away")
	process.WaitSaid(t, "searched in what is kept")
	if _, err := os.ReadDir(filepath.Join(inbox, ".search", "imap:SEEN")); err == nil {
		t.Error("the keys of a server that is away find something")
	}
	process.Unmount(t)
}
