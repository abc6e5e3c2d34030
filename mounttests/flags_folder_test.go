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

	"imapfs/commands"
	"imapfs/internal/harness"
)

// TestFolderFlags reads the flags of a whole folder, which takes one FETCH also where its
// numbers have gaps, and sees what another client changes, expunges and delivers.
func TestFolderFlags(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		for i := range 12 {
			harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
		}
		harness.Select(t, c, "INBOX")
		for uid := imap.UID(2); uid < 12; uid += 2 {
			harness.Expunge(t, c, uid)
		}
		storeFlags(t, c, imap.StoreFlagsAdd, imap.UIDSetNum(3, 9), imap.FlagSeen, imap.FlagFlagged)
		p := harness.NewProxy(t, a)
		mnt := filepath.Join(harness.Mount(t, p.Account, "--poll", "1s"), "INBOX")
		path := filepath.Join(mnt, ".flags")
		if got, want := string(harness.Read(t, path)), "1\n3 Seen Flagged\n5\n7\n9 Seen Flagged\n11\n12\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if sent := p.Sent("FLAGS"); len(sent) != 1 {
			t.Errorf("asked with %q", sent)
		}
		storeFlags(t, c, imap.StoreFlagsDel, imap.UIDSetNum(9), imap.FlagSeen)
		harness.Expunge(t, c, 1)
		harness.Deliver(t, c, "INBOX", harness.OneLetter(13), putDate)
		want := "3 Seen Flagged\n5\n7\n9 Flagged\n11\n12\n13\n"
		harness.Eventually(t, "what others have done is there", func() bool { return string(harness.Read(t, path)) == want })
		harness.Must(t, os.WriteFile(filepath.Join(mnt, "13", "flags"), []byte("+Answered"), 0))
		want = strings.Replace(want, "13", "13 Answered", 1)
		harness.Eventually(t, "what was done here is there", func() bool { return string(harness.Read(t, path)) == want })

		if slices.Contains(harness.Names(t, mnt), ".flags") {
			t.Error("it is listed")
		}
		if err := os.WriteFile(path, []byte("+Seen"), 0); !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
			t.Errorf("writing gives %v", err)
		}
		if err := os.Mkdir(path, 0o777); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("mkdir gives %v", err)
		}
	})
}

// TestWaitForFlags has imapfs wait tell of flags that another client changes.
func TestWaitForFlags(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		for i := range 5 {
			harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
		}
		harness.Select(t, c, "INBOX")
		dir := filepath.Join(harness.Mount(t, a, "--poll", "1s"), "INBOX")
		op := imap.StoreFlagsAdd
		toggle := func() {
			storeFlags(t, c, op, imap.UIDSetNum(1), imap.FlagSeen)
			op = imap.StoreFlagsAdd + imap.StoreFlagsDel - op
		}
		// Nobody can know when it has begun; so flags change until it ends.
		one, stdout := waiting(t, "--flags", dir)
		harness.Eventually(t, "wait sees a change", func() bool {
			if !one.HasEnded() {
				toggle()
			}
			return one.HasEnded()
		})
		first := fmt.Sprintf("%s/1\t", dir)
		if code := one.Exit(t); code != 0 || stdout.String() != first+"Seen\n" && stdout.String() != first+"\n" {
			t.Errorf("code %d, printed %q, said %s", code, stdout, one.Stderr)
		}

		all, stdout := waiting(t, "--flags", "--follow", dir)
		harness.Eventually(t, "wait --follow sees a change", func() bool {
			if stdout.String() == "" {
				toggle()
			}
			return stdout.String() != ""
		})
		storeFlags(t, c, imap.StoreFlagsAdd, imap.UIDSetNum(2, 4), imap.FlagFlagged, imap.FlagSeen)
		harness.Eventually(t, "the others are printed", func() bool {
			return strings.Contains(stdout.String(), fmt.Sprintf("%s/2\tSeen Flagged\n", dir)) &&
				strings.Contains(stdout.String(), fmt.Sprintf("%s/4\tSeen Flagged\n", dir))
		})
		uid := harness.Deliver(t, c, "INBOX", harness.OneLetter(6), putDate)
		harness.Eventually(t, "new mail is printed", func() bool {
			return strings.HasSuffix(stdout.String(), fmt.Sprintf("%s/%d\n", dir, uid))
		})
		all.Cmd.Process.Signal(os.Interrupt)
		all.EndsWith(t, commands.ExitFailed, "interrupted")
	})
}
