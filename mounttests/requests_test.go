package mounttests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// These tests look at what is asked of the server. How long it takes is the
// benchmark's subject.

// letters mounts a Dovecot with n letters of about 2 kB each in the inbox.
func letters(t *testing.T, n int) (p *harness.Proxy, mnt string, size int64) {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{})
	var all [][]byte
	for i := range n {
		m := harness.OneLetter(i + 1)
		all = append(all, m)
		size += int64(len(m))
	}
	s.Deliver(t, all...)
	p = harness.NewProxy(t, harness.DovecotAccount(s))
	return p, harness.Mount(t, p.Account), size
}

func TestGrepReadsAhead(t *testing.T) {
	const n = 600
	p, mnt, size := letters(t, n)
	start := p.FromServer.Load()
	if out := harness.Run(t, "grep", "-r", "^end of", mnt); strings.Count(out, "\n") != n {
		t.Errorf("grep finds %d lines, want %d", strings.Count(out, "\n"), n)
	}
	uids, commands := p.Content(t)
	slices.Sort(uids)
	if len(uids) != n || len(slices.Compact(uids)) != n {
		t.Errorf("%d contents were asked for, want each of %d once", len(uids), n)
	}
	if commands > n/10 {
		t.Errorf("%d commands for the content of %d messages", commands, n)
	}
	if took := p.FromServer.Load() - start; took > size*11/10 {
		t.Errorf("%d bytes from the server for %d of mail: %q", took, size, p.Sent("BODYSTRUCTURE"))
	}

	before := len(p.Sent(""))
	harness.Run(t, "grep", "-r", "^end of", mnt)
	harness.Run(t, "ls", "-lR", mnt)
	if sent := p.Sent("")[before:]; len(sent) > 0 {
		t.Errorf("once more: sent %q", sent)
	}
}

// TestStatInAnyOrder looks at all messages of a folder in no order, as file managers do: after
// a few the others come in batches.
func TestStatInAnyOrder(t *testing.T) {
	const n = 505
	p, mnt, _ := letters(t, n)
	names := harness.Names(t, filepath.Join(mnt, "INBOX"))
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, below := range []string{"", "attachments"} {
		p.Forget()
		for _, name := range names {
			info, err := os.Stat(filepath.Join(mnt, "INBOX", name))
			harness.Must(t, err)
			if below != "" {
				harness.Names(t, filepath.Join(mnt, "INBOX", name, below))
			} else if !info.IsDir() {
				t.Fatalf("%s is %v", name, info.Mode())
			}
		}
		if sent := p.Sent("FETCH"); len(sent) > 12 || len(sent) == 0 {
			t.Errorf("%d commands for %d messages: %q", len(sent), n, sent)
		}
	}
}

func TestRandomReadsTakeNothingBeside(t *testing.T) {
	const n = 600
	p, mnt, _ := letters(t, n)
	harness.Names(t, filepath.Join(mnt, "INBOX"))
	r := rand.New(rand.NewPCG(3, 4))
	var want []int
	for range 60 {
		uid := r.IntN(n) + 1
		if body := string(harness.Read(t, mnt, "INBOX", fmt.Sprint(uid), "body.txt")); !strings.HasSuffix(body, fmt.Sprintf("end of %d\n", uid)) {
			t.Errorf("body of %d: %q", uid, body)
		}
		want = append(want, uid)
	}
	slices.Sort(want)
	got, _ := p.Content(t)
	slices.Sort(got)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("content of %v was asked for, want %v", got, want)
	}
}

// TestNamesOnly lists a folder and walks a path without a question that the
// answer does not need.
func TestNamesOnly(t *testing.T) {
	p, mnt, _ := letters(t, 300)
	inbox := filepath.Join(mnt, "INBOX")
	if got := len(harness.Names(t, inbox)); got != 300 {
		t.Errorf("%d names", got)
	}
	if got := p.Sent("UID FETCH"); len(got) > 0 {
		t.Errorf("a list of names asked for %q", got)
	}
	harness.Read(t, inbox, "17", "headers.txt")
	if got := p.Sent("UID FETCH"); len(got) != 1 || !strings.HasPrefix(got[0], "UID FETCH 17 (") {
		t.Errorf("headers.txt asked for %q, want one command", got)
	}
	harness.Read(t, inbox, "17", "body.txt")
	if _, err := os.Stat(filepath.Join(inbox, "17", "headers.txt")); err != nil {
		t.Error(err)
	}
	if got := p.Sent("UID FETCH"); len(got) != 1 {
		t.Errorf("the other files of the message asked for %q", got[1:])
	}

	// Deleting is one flight, and nothing before or after it.
	before := len(p.Sent(""))
	harness.Run(t, "rm", "-r", filepath.Join(inbox, "17"))
	want := []string{`UID STORE 17 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 17", "NOOP", "NOOP", "NOOP", "UID SEARCH UID 17"}
	if sent := p.Sent("")[before:]; !slices.Equal(sent, want) {
		t.Errorf("rm -r sent %q, want %q", sent, want)
	}
}

// TestReadByName reads all messages in the order in which a shell has their names, which is another
// one than that in which they have come.
func TestReadByName(t *testing.T) {
	const n = 600
	days := rand.New(rand.NewPCG(3, 4)).Perm(n)
	s := dovecot.Start(t, dovecot.Options{})
	var all [][]byte
	for i := range n {
		date := time.Date(2001, 1, 1+days[i], 12, 0, 0, 0, time.UTC).Format(time.RFC1123Z)
		all = append(all, append([]byte("Date: "+date+"\r\n"), harness.OneLetter(i+1)...))
	}
	s.Deliver(t, all...)
	p := harness.NewProxy(t, harness.DovecotAccount(s))
	for _, names := range []string{"uid", "subject"} {
		mnt := harness.Mount(t, p.Account, "--names", names)
		p.Forget()
		if out := harness.Run(t, "sh", "-c", `cat "$1"/INBOX/*/body.txt`, "sh", mnt); strings.Count(out, "end of") != n {
			t.Errorf("%d texts are read", strings.Count(out, "end of"))
		}
		uids, commands := p.Content(t)
		slices.Sort(uids)
		if len(uids) != n || len(slices.Compact(uids)) != n || commands > n/10 {
			t.Errorf("names by %s: %d contents were asked for, with %d commands, want each of %d once", names, len(uids), commands, n)
		}
	}
}
