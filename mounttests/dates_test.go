package mounttests

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imapfs/internal/harness"
)

// TestLookAtManyFolders looks at all folders, as ls -l does: they are not opened one by one.
func TestLookAtManyFolders(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		const n = 60
		c := a.Client(t)
		want := make(map[string]time.Time)
		for i := range n {
			name := fmt.Sprintf("f%d", i)
			harness.Must(t, c.Create(a.Mailbox(name), nil).Wait())
			if i%10 == 0 {
				continue // an empty one
			}
			want[name] = time.Date(2001, 1, i, 12, 0, 0, 0, time.UTC)
			harness.Deliver(t, c, a.Mailbox(name), harness.Letter("old"), time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
			harness.Deliver(t, c, a.Mailbox(name), harness.Letter("new"), want[name])
		}
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account)
		top := a.Top(mnt)
		look := func() {
			t.Helper()
			harness.Names(t, top)
			for i := range n {
				name := fmt.Sprintf("f%d", i)
				info, err := os.Stat(filepath.Join(top, name))
				harness.Must(t, err)
				if date, ok := want[name]; ok && !info.ModTime().Equal(date) || !ok && time.Since(info.ModTime()) > time.Hour {
					t.Errorf("%s has the date %v, want %v", name, info.ModTime(), date)
				}
			}
		}
		p.Forget()
		look()
		if opened, listed := len(p.Sent("SELECT")), len(p.Sent("SEARCH")); opened > 2 || listed > 1 {
			t.Errorf("%d folders were opened, %d listed: %q", opened, listed, p.Sent(""))
		}
		if dates := len(p.Sent("EXAMINE")); dates < n || dates > n+2 {
			t.Errorf("%d dates were asked for", dates)
		}
		p.Forget()
		look()
		if again := append(p.Sent("EXAMINE"), p.Sent("SELECT f")...); len(again) > 0 {
			t.Errorf("once more: %q", again)
		}
		// Whoever has looked is in no folder any more: each can be renamed and deleted.
		for _, name := range []string{"f59", "f9"} {
			harness.Run(t, "mv", filepath.Join(top, name), filepath.Join(top, name+"x"))
			delete(want, name)
		}
		harness.Run(t, "rmdir", filepath.Join(top, "f50"))
		// What comes to one that somebody has open is seen, and all else works as before.
		if got := harness.Names(t, filepath.Join(top, "f1")); len(got) != 2 {
			t.Errorf("f1 lists %q", got)
		}
		now := time.Now().Truncate(time.Second)
		harness.Deliver(t, c, a.Mailbox("f1"), harness.Letter("newest"), now)
		harness.Eventually(t, "the folder has the date of what has come", func() bool {
			info, err := os.Stat(filepath.Join(top, "f1"))
			return err == nil && info.ModTime().Equal(now)
		})
		if got := harness.Read(t, top, "f2", "2", "body.txt"); string(got) != "new\n" {
			t.Errorf("f2/2 holds %q", got)
		}
	})
}

// TestCountInManyFolders lists one folder after the other, and looks at the first message in each, as
// file managers do: they are opened together.
func TestCountInManyFolders(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		const n = 40
		c := a.Client(t)
		for i := range n {
			name := a.Mailbox(fmt.Sprintf("f%d", i))
			harness.Must(t, c.Create(name, nil).Wait())
			for j := range i % 4 {
				harness.Deliver(t, c, name, harness.Letter("one"), time.Date(2001, 1, 1+j, 12, 0, 0, 0, time.UTC))
			}
		}
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account, "--poll", "300ms")
		top := a.Top(mnt)
		count := func() {
			t.Helper()
			harness.Names(t, top)
			for i := range n {
				dir := filepath.Join(top, fmt.Sprintf("f%d", i))
				names := harness.Names(t, dir)
				if len(names) != i%4 {
					t.Errorf("f%d has %q, want %d", i, names, i%4)
				}
				if len(names) > 0 {
					info, err := os.Stat(filepath.Join(dir, names[0]))
					harness.Must(t, err)
					if want := time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC); !info.ModTime().Equal(want) {
						t.Errorf("f%d/%s has the date %v", i, names[0], info.ModTime())
					}
				}
			}
		}
		p.Forget()
		count()
		if opened, asked := len(p.Sent("SELECT")), len(p.Sent("EXAMINE")); opened > 5 || asked > 2*n {
			t.Errorf("%d folders were opened, %d looked into: %q", opened, asked, p.Sent(""))
		}
		p.Forget()
		count()
		if again := append(p.Sent("EXAMINE"), p.Sent("SELECT f")...); len(again) > 0 {
			t.Errorf("once more: %q", again)
		}
		// What comes is shown, also in a folder that nobody has opened.
		harness.Deliver(t, c, a.Mailbox("f8"), harness.Letter("new"), time.Now())
		harness.Eventually(t, "new mail shows", func() bool { return len(harness.Names(t, filepath.Join(top, "f8"))) == 1 })
	})
}
