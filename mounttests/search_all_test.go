package mounttests

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
)

// TestSearchInAllFolders asks about all folders at once, and opens none but those in which something
// is found.
func TestSearchInAllFolders(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		const n = 60
		c := a.Client(t)
		for i := range n {
			name := a.Mailbox(fmt.Sprintf("f%02d", i))
			harness.Must(t, c.Create(name, nil).Wait())
			switch {
			case i%10 == 0: // an empty one
			case i%10 == 3:
				harness.Deliver(t, c, name, harness.Letter("hay"), time.Now())
				harness.Deliver(t, c, name, harness.Letter("needle"), time.Now())
			default:
				harness.Deliver(t, c, name, harness.Letter("hay"), time.Now())
			}
		}
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account)
		harness.Names(t, mnt)
		search := func() []string {
			t.Helper()
			said := harness.RunCommand(t, t.TempDir(), "search", mnt, "subject:needle")
			if said.Code != 0 {
				t.Fatalf("imapfs search: %+v", said)
			}
			return strings.Split(strings.TrimSuffix(said.Stdout, "\n"), "\n")
		}
		var want []string
		for i := 3; i < n; i += 10 {
			want = append(want, filepath.Join(a.Top(mnt), fmt.Sprintf("f%02d", i), "2"))
		}
		p.Forget()
		if got := search(); !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		asked, opened := len(p.Sent("EXAMINE")), len(p.Sent("SELECT"))
		if asked < n || asked > n+2 || opened > len(want)+3 { // INBOX may be opened too
			t.Errorf("%d folders were asked about, %d were opened: %q", asked, opened, p.Sent(""))
		}
		p.Forget()
		if got := search(); !slices.Equal(got, want) || len(p.Sent("EXAMINE"))+len(p.Sent("SEARCH")) > 0 {
			t.Errorf("once more: found %q, sent %q", got, p.Sent(""))
		}
		// What is deleted is found no more, and the folder is gone from the results with it.
		harness.Run(t, "rm", "-r", filepath.Join(mnt, ".search", "subject:needle"))
		for i := 3; i < n; i += 10 {
			harness.Select(t, c, a.Mailbox(fmt.Sprintf("f%02d", i)))
			found, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
			if err != nil || len(found.AllUIDs()) != 1 {
				t.Errorf("in f%02d are %v, %v", i, found, err)
			}
		}
		if said := harness.RunCommand(t, t.TempDir(), "search", "--count", mnt, "subject:needle"); said.Code != 0 || said.Stdout != "0\n" {
			t.Errorf("imapfs search --count: %+v", said)
		}
	})
}

// TestResultsAreReadAhead reads what was found in its order: no message is fetched that was not, and
// they are not fetched one by one.
func TestResultsAreReadAhead(t *testing.T) {
	p, mnt, _ := letters(t, 600)
	found := filepath.Join(mnt, "INBOX", ".search", "subject:7")
	want := len(harness.Names(t, found))
	p.Forget()
	if out := harness.Run(t, "grep", "-rh", "^end of", found); strings.Count(out, "\n") != want || want < 100 {
		t.Errorf("grep finds %d lines, want %d", strings.Count(out, "\n"), want)
	}
	uids, commands := p.Content(t)
	for _, uid := range uids {
		if !strings.Contains(fmt.Sprint(uid), "7") {
			t.Errorf("message %d was fetched", uid)
		}
	}
	if len(uids) != want || commands > want/4 {
		t.Errorf("%d messages were fetched with %d commands, want %d", len(uids), commands, want)
	}
}
