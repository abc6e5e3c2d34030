package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-maildir"
	"github.com/emersion/go-mbox"
)

var fileTime = time.Date(2020, 2, 2, 20, 20, 0, 0, time.UTC)

// write makes a file, and the directories above it, with a known mtime.
func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(t, os.WriteFile(path, []byte(content), 0o600))
	check(t, os.Chtimes(path, fileTime, fileTime))
}

// contents lists what a server holds: "folder: subject, date, flags" of each
// message, and "folder" for those without any.
func contents(t *testing.T, s *Server) []string {
	t.Helper()
	c := dial(t, s, nil)
	list, err := c.List("", "*", nil).Collect()
	check(t, err)
	var out []string
	for _, data := range list {
		if slices.Contains(data.Attrs, imap.MailboxAttrNoSelect) {
			continue
		}
		selected := selectBox(t, c, data.Mailbox)
		if selected.NumMessages == 0 && data.Mailbox != "INBOX" {
			out = append(out, data.Mailbox)
		}
		for _, msg := range fetch(t, c, allUIDs, &imap.FetchOptions{Envelope: true, InternalDate: true, Flags: true}) {
			line := data.Mailbox + ": " + msg.Envelope.Subject + " " + msg.InternalDate.UTC().Format("2006-01-02")
			for _, f := range msg.Flags {
				line += " " + string(f)
			}
			out = append(out, line)
		}
	}
	return out
}

func expect(t *testing.T, s *Server, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(contents(t, s))); !slices.Equal(got, want) {
		t.Errorf("imported:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestImportEML(t *testing.T) {
	s := start(t, Options{})
	dir := t.TempDir()
	for name, content := range map[string]string{
		"dated.eml":   "Subject: dated\nDate: Sat, 12 Oct 2019 08:00:00 +0000\n\nline\n",
		"undated.EML": "Subject: undated\n\nline\n",
		"saved.eml":   "From ann@example.org Sat Oct 12 08:00:00 2019\nSubject: saved\n\nline\n",
	} {
		write(t, filepath.Join(dir, name), content)
		if n, err := s.Import(filepath.Join(dir, name)); n != 1 || err != nil {
			t.Errorf("%s: %d messages, %v", name, n, err)
		}
	}
	expect(t, s, "INBOX: dated 2019-10-12", "INBOX: undated 2020-02-02", "INBOX: saved 2020-02-02")
}

func TestImportMbox(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "Old Mail.mbox")
	f, err := os.Create(path)
	check(t, err)
	w := mbox.NewWriter(f)
	for i := range 3 {
		msg, err := w.CreateMessage("ann@example.org", time.Date(2001, 1, i+1, 10, 0, 0, 0, time.UTC))
		check(t, err)
		fmt.Fprintf(msg, "Subject: no. %d\r\n\r\nFrom here on it is quoted.", i) // the writer ends the line
	}
	check(t, w.Close())
	check(t, f.Close())

	s := start(t, Options{})
	if n, err := s.Import(path); n != 3 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	expect(t, s, "Old Mail: no. 0 2001-01-01", "Old Mail: no. 1 2001-01-02", "Old Mail: no. 2 2001-01-03")
	c := dial(t, s, nil)
	selectBox(t, c, "Old Mail")
	if got, want := body(t, c, 2, imap.FetchItemBodySection{}), "Subject: no. 1\r\n\r\nFrom here on it is quoted.\r\n"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

// What old programs left behind: no date, no quoting, one message only.
func TestImportSloppyMbox(t *testing.T) {
	s := start(t, Options{})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Archive"),
		"From nobody\nSubject: one\nDate: Sat, 12 Oct 2019 08:00:00 +0000\n\nFrom what I hear\nit goes on.\n\n"+
			"From nobody\nSubject: two\n\n>From is unquoted\n\n"+
			"From a b c  Tue Oct  1 08:00:00 2002 +0200\nSubject: three\n\nend\n")
	write(t, filepath.Join(dir, "1999-08.txt"), "From a@example.org Sun Aug 1 08:00:00 1999\nSubject: four\n\n"+
		"From b@example.org Mon Aug 2 08:00:00 CEST 1999\nSubject: five\n\n")
	write(t, filepath.Join(dir, "single.txt"), "From a@example.org Sun Aug 1 08:00:00 1999\nSubject: six\n\n")
	write(t, filepath.Join(dir, "Empty.mbox"), "")
	if n, err := s.Import(dir); n != 6 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	expect(t, s, "Archive: one 2019-10-12", "Archive: two 2020-02-02", "Archive: three 2002-10-01",
		"1999-08.txt: four 1999-08-01", "1999-08.txt: five 1999-08-02", "INBOX: six 1999-08-01", "Empty")
	c := dial(t, s, nil)
	selectBox(t, c, "Archive")
	if got, want := body(t, c, 1, imap.FetchItemBodySection{Specifier: "TEXT"}), "From what I hear\r\nit goes on.\r\n"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := body(t, c, 2, imap.FetchItemBodySection{Specifier: "TEXT"}), "From is unquoted\r\n"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestFromLineDate(t *testing.T) {
	want := time.Date(2002, 8, 22, 12, 36, 23, 0, time.UTC)
	for _, line := range []string{
		"From ann@example.org Thu Aug 22 12:36:23 2002",
		"From ann@example.org  Thu Aug 22 12:36:23 2002\r\n",
		"From - Thu Aug 22 12:36:23 2002",
		"From Ann B. Thu Aug 22 12:36:23 2002 remote from yard",
		"From ann@example.org Thu Aug 22 12:36:23 UTC 2002",
		"From ann@example.org Thu Aug 22 14:36:23 2002 +0200",
		"From ann@example.org Thu Aug 22 14:36:23 +0200 2002",
	} {
		if got := fromLineDate(line); !got.Equal(want) {
			t.Errorf("%s: %v", line, got)
		}
	}
	for _, line := range []string{"From ann@example.org", "From here on", "From Thu Aug 32 12:36:23 2002"} {
		if got := fromLineDate(line); !got.IsZero() {
			t.Errorf("%s: %v", line, got)
		}
	}
}

func TestImportMaildir(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	deliver := func(dir string, subject string, day int, flags ...maildir.Flag) {
		check(t, os.MkdirAll(dir, 0o700))
		check(t, maildir.Dir(dir).Init())
		msg, w, err := maildir.Dir(dir).Create(flags)
		check(t, err)
		fmt.Fprintf(w, "Subject: %s\n\n", subject)
		check(t, w.Close())
		date := time.Date(2010, 1, day, 12, 0, 0, 0, time.UTC)
		check(t, os.Chtimes(msg.Filename(), date, date))
	}
	deliver(root, "read", 1, maildir.FlagSeen, maildir.FlagReplied)
	deliver(root, "marked", 2, maildir.FlagFlagged, maildir.FlagTrashed, maildir.FlagDraft)
	deliver(filepath.Join(root, ".Sub.Folder"), "below", 3)
	deliver(filepath.Join(root, ".Gr&APYA3w-e &- Ma&AN8-e"), "decoded", 4)
	fresh := filepath.Join(root, "new", "1262304000.M1.host")
	write(t, fresh, "Subject: fresh\n\n")
	write(t, filepath.Join(root, "cur", "1262304001.M2.host"), "Subject: without flags\n\n")
	write(t, filepath.Join(root, "tmp", "half"), "Subject: half delivered\n\n")
	write(t, filepath.Join(root, "dovecot.index"), "not mail")
	check(t, maildir.Dir(filepath.Join(root, ".Empty")).Init())

	s := start(t, Options{})
	if n, err := s.Import(root); n != 6 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	expect(t, s,
		`INBOX: read 2010-01-01 \Answered \Seen`, `INBOX: marked 2010-01-02 \Deleted \Draft \Flagged`,
		"INBOX: fresh 2020-02-02", "INBOX: without flags 2020-02-02",
		"Sub/Folder: below 2010-01-03", "Größe & Maße: decoded 2010-01-04", "Empty")
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the import has changed the Maildir: %v", err)
	}
}

func TestImportTree(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"top.eml":                     "Subject: top\n\n",
		"Letters/one.eml":             "Subject: one\n\n",
		"Letters/2019/Work.mbox":      "From a Sun Aug 1 08:00:00 1999\nSubject: work\n\n",
		"Letters/2019/Box/cur/1.M:2,": "Subject: boxed\n\n",
		"Letters/2019/readme.txt":     "not mail\n",
		"Letters/2019/todo.txt":       "From: here\nto there\n\nDate: never\n",
		"mh/17":                       "From: a\nSubject: MH\n\tfolded\nDate: Sat, 12 Oct 2019 08:00:00 +0000\n\n",
		"inbox/x.eml":                 "Subject: in\n\n",
		".hidden/y.eml":               "Subject: hidden\n\n",
		"Letters/.z.eml":              "Subject: hidden\n\n",
		"a.b/c.eml":                   "Subject: dots\n\n",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	check(t, os.Symlink(dir, filepath.Join(dir, "Letters", "circle")))
	s := start(t, Options{Delim: '.'})
	if n, err := s.Import(dir); n != 7 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	expect(t, s, "mh: MH folded 2019-10-12", "INBOX: top 2020-02-02", "INBOX: in 2020-02-02", "Letters: one 2020-02-02",
		"Letters.2019.Work: work 1999-08-01", "Letters.2019.Box: boxed 2020-02-02", "a_b: dots 2020-02-02")
}

func TestImportErrors(t *testing.T) {
	s := start(t, Options{})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "picture.jpg"), "not mail")
	check(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"):     "no such file or directory",
		filepath.Join(dir, "picture.jpg"): "not a mail archive",
		filepath.Join(dir, "empty"):       "no mail found",
		os.DevNull:                        "neither a file nor a directory",
	} {
		n, err := s.Import(path)
		if n != 0 || err == nil || !strings.HasPrefix(err.Error(), "import "+path+": ") ||
			!strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %d, %v", path, n, err)
		}
	}

	// Bad files do not stop the others.
	tree := t.TempDir()
	write(t, filepath.Join(tree, "a.eml"), "Subject: a\n\n")
	write(t, filepath.Join(tree, "b.mbox"), "no mbox")
	write(t, filepath.Join(tree, "c.mbox"), "no mbox either")
	write(t, filepath.Join(tree, "d.eml"), "Subject: d\n\n")
	n, err := s.Import(tree)
	if n != 2 || err == nil {
		t.Fatalf("%d messages, %v", n, err)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "b.mbox: ") || !strings.Contains(lines[1], "c.mbox: ") {
		t.Errorf("the error is\n%v", err)
	}
}
