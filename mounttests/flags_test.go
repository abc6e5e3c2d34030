package mounttests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/harness"
	"imapfs/mail"
)

// flagsOf returns the flags of a message as another client sees them.
func flagsOf(t *testing.T, c *imapclient.Client, mailbox string, uid imap.UID) string {
	t.Helper()
	for _, m := range harness.Messages(t, c, mailbox) {
		if m.UID == uid {
			var wire []string
			for _, f := range m.Flags {
				wire = append(wire, string(f))
			}
			return mail.FlagsOf(wire).String()
		}
	}
	t.Fatalf("message %d is not there", uid)
	return ""
}

// storeFlags has another client change flags in the folder that it has selected.
func storeFlags(t *testing.T, c *imapclient.Client, op imap.StoreFlagsOp, set imap.UIDSet, flags ...imap.Flag) {
	t.Helper()
	harness.Must(t, c.Noop().Wait())
	harness.Must(t, c.Store(set, &imap.StoreFlags{Op: op, Flags: flags}, nil).Close())
}

// TestFlags changes the flags of a message through its file in all ways. What close says is
// so on the server.
func TestFlags(t *testing.T) {
	harness.Need(t, "bash")
	steps := []struct {
		script, want string
		fails        bool
	}{
		{`test "$(stat -c %s flags)" = 1`, "", false},
		{`echo +Flagged +Seen | cp /dev/stdin flags`, "Seen Flagged", false},
		{`echo -seen +answered >flags`, "Flagged Answered", false},
		{`echo Draft '\Seen' >flags`, "Seen Draft", false},
		{`echo Flagged >>flags`, "Seen Flagged Draft", false},
		{`sed s/Seen/Answered/ flags >$W/f; cat $W/f >flags`, "Flagged Answered Draft", false},
		{`{ echo -Draft; echo -Answered; } >flags`, "Flagged", false},
		{`: >flags; true <>flags; touch flags`, "Flagged", false},
		{`bash -c 'exec 3>flags; echo -Flagged >&3; kill -9 $$'`, "Flagged", true},
		{`echo +Deleted | cp /dev/stdin flags`, "Flagged", true},
		{`echo wörk | cp /dev/stdin flags`, "Flagged", true},
		{`echo +Deleted >flags`, "Flagged", true},
		{`{ echo Seen; echo wörk; } >flags`, "Flagged", true},
		{`head -c 9000000 /dev/zero | tr '\0' a >flags`, "Flagged", true},
		{`rm flags`, "Flagged", true},
		{`mv flags ..`, "Flagged", true},
		{`echo x >"$W/x"; mv "$W/x" flags 2>/dev/null; ! ls | grep flags`, "Flagged", false},
		{`echo >flags`, "", false},
	}
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		uid := harness.Deliver(t, c, "INBOX", harness.Letter("flags"), putDate)
		dir := filepath.Join(harness.Mount(t, a), "INBOX", fmt.Sprint(uid))
		for _, s := range steps {
			cmd := exec.Command("bash", "-c", s.script)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "W="+t.TempDir(), "LC_ALL=C.UTF-8")
			out, err := cmd.CombinedOutput()
			if (err != nil) != s.fails {
				t.Errorf("%s: ends with %v\n%s", s.script, err, out)
			}
			if got := strings.TrimSuffix(string(harness.Read(t, dir, "flags")), "\n"); got != s.want {
				t.Errorf("%s: the mount has %q, want %q", s.script, got, s.want)
			}
			if got := flagsOf(t, c, "INBOX", uid); got != s.want {
				t.Errorf("%s: the server has %q, want %q", s.script, got, s.want)
			}
		}
	})
}

// TestFlagsOfOthers has another client change flags, and two mounts see it. What it has
// marked as deleted stays so, and can be saved.
func TestFlagsOfOthers(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		for i := range 5 {
			harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
		}
		harness.Select(t, c, "INBOX")
		var mounts []string
		for range 2 {
			mounts = append(mounts, filepath.Join(harness.Mount(t, a, "--poll", "1s"), "INBOX"))
		}
		see := func(uid int, want string) {
			t.Helper()
			for _, mnt := range mounts {
				harness.Eventually(t, fmt.Sprintf("%d is %q", uid, want), func() bool {
					return string(harness.Read(t, mnt, fmt.Sprint(uid), "flags")) == want+"\n"
				})
			}
		}
		for uid := range 5 {
			see(uid+1, "")
		}
		storeFlags(t, c, imap.StoreFlagsAdd, imap.UIDSetNum(2, 3), imap.FlagSeen, imap.FlagFlagged)
		see(2, "Seen Flagged")
		storeFlags(t, c, imap.StoreFlagsAdd, imap.UIDSetNum(4), imap.FlagDeleted)
		see(4, "Deleted")
		harness.Must(t, os.WriteFile(filepath.Join(mounts[0], "4", "flags"), []byte("Answered Deleted"), 0))
		see(4, "Answered Deleted")
		harness.Must(t, os.WriteFile(filepath.Join(mounts[1], "4", "flags"), []byte("Seen\n"), 0))
		see(4, "Seen Deleted")
		harness.Must(t, os.WriteFile(filepath.Join(mounts[0], "4", "flags"), []byte("-Deleted"), 0))
		see(4, "Seen")
		harness.Expunge(t, c, 1)
		harness.Eventually(t, "1 is gone", func() bool {
			_, err := os.Stat(filepath.Join(mounts[0], "1", "flags"))
			return errors.Is(err, syscall.ENOENT)
		})
		see(2, "Seen Flagged")
		see(5, "")
	})
}

// TestFlagCommand changes the flags of many messages in two folders with the command: one
// STORE goes to the server for each.
func TestFlagCommand(t *testing.T) {
	harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) {
		const n = 30
		c := a.Client(t)
		harness.Must(t, c.Create(a.Mailbox("Other"), nil).Wait())
		for i := range n {
			harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
		}
		harness.Deliver(t, c, a.Mailbox("Other"), harness.OneLetter(0), putDate)
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account)
		other := filepath.Join(a.Top(mnt), "Other")
		args := []string{"flag", "+Seen", "-Flagged", filepath.Join(other, harness.FirstUID(t, other))}
		for i := 1; i < n; i++ {
			args = append(args, filepath.Join(mnt, "INBOX", fmt.Sprint(i)))
		}
		if said := harness.RunCommand(t, t.TempDir(), args...); said.Code != 0 {
			t.Fatalf("%+v", said)
		}
		if got := p.Sent("STORE"); len(got) != 4 {
			t.Errorf("sent %q, want one for each folder and change", got)
		}
		for _, m := range harness.Messages(t, a.Client(t), "INBOX") {
			if seen := slices.Contains(m.Flags, imap.FlagSeen); seen != (m.UID != n) {
				t.Errorf("message %d has %q", m.UID, m.Flags)
			}
		}
		if got := flagsOf(t, a.Client(t), a.Mailbox("Other"), 1); got != "Seen" {
			t.Errorf("that of the other folder has %q", got)
		}
		harness.RunCommand(t, t.TempDir(), "flag", "+Seen", filepath.Join(mnt, "INBOX")).FailsWith(t, 1, "not all of these are messages")
		harness.RunCommand(t, t.TempDir(), "flag", "+Deleted", filepath.Join(mnt, "INBOX", "1")).FailsWith(t, 1, "does not keep such a flag")
		forReading := harness.Mount(t, a, "-o", "ro,fsname=letters")
		harness.RunCommand(t, t.TempDir(), "flag", "+Seen", filepath.Join(forReading, "INBOX", "1")).FailsWith(t, 1, "can only be read")
		if mounts := string(harness.Read(t, "/proc/self/mounts")); !strings.Contains(mounts, "letters "+forReading+" fuse.imapfs ") {
			t.Errorf("mounted are\n%s", mounts)
		}
		harness.RunCommand(t, t.TempDir(), "flag", "+Seen", t.TempDir()).FailsWith(t, 1, "is not in a mount of imapfs")
		harness.RunCommand(t, t.TempDir(), "flag", "Seen", mnt).FailsWith(t, 2, "flag needs flags")
	})
}

// TestFlagsAreFetchedWhenAsked reads all mail, and asks for no flags. After a remount only
// those that have changed are told, where the server counts changes.
func TestFlagsAreFetchedWhenAsked(t *testing.T) {
	a := harness.EmptyDovecot(t, "")
	const n = 300
	c := a.Client(t)
	for i := range n {
		harness.Deliver(t, c, "INBOX", harness.OneLetter(i), putDate)
	}
	harness.Select(t, c, "INBOX")
	p := harness.NewProxy(t, a)
	r := harness.NewRemounter(t, p.Account)
	all := func() (lines []string) {
		for i := range n {
			lines = append(lines, string(harness.Read(t, r.Dir, "INBOX", fmt.Sprint(i+1), "flags")))
		}
		return lines
	}
	process := r.Mount(t)
	harness.Run(t, "grep", "-rc", "Subject", r.Dir)
	if sent := p.Sent("FLAGS"); len(sent) > 0 {
		t.Errorf("reading asks for flags: %q", sent)
	}
	if slices.ContainsFunc(all(), func(line string) bool { return line != "\n" }) {
		t.Error("there are flags")
	}
	process.Unmount(t)

	storeFlags(t, c, imap.StoreFlagsAdd, imap.UIDSet{{Start: 101, Stop: 200}}, imap.FlagSeen, "work")
	p.Forget()
	process = r.Mount(t)
	for i, line := range all() {
		want := "\n"
		if i >= 100 && i < 200 {
			want = "Seen work\n"
		}
		if line != want {
			t.Errorf("message %d has %q, want %q", i+1, line, want)
		}
	}
	if sent := p.Sent("FLAGS"); len(sent) != 1 || !strings.Contains(sent[0], "CHANGEDSINCE") {
		t.Errorf("asked for flags with %q", sent)
	}
	process.Unmount(t)
}

// TestFlagsInEditors has editors change the flags: they write only if the file is still the
// one that they have read, and say what becomes of it.
func TestFlagsInEditors(t *testing.T) {
	a := harness.EmptyDemo(t)
	c := a.Client(t)
	uid := harness.Deliver(t, c, "INBOX", harness.Letter("flags"), putDate)
	dir := filepath.Join(harness.Mount(t, a), "INBOX", fmt.Sprint(uid))
	for _, s := range []struct {
		needs, script, want string
		fails               bool
	}{
		{"stat", `test "$(stat -c %i flags)" = "$(stat -c %i flags)"`, "", false},
		{"vim", `vim -Nu NONE -n -es -c 's/.*/Seen work/' -c w -c 's,work,Flagged,' -c wq flags`, "Seen Flagged", false},
		{"vim", `vim -Nu NONE -n -es -c 's/.*/+Deleted/' -c wq flags`, "Seen Flagged", true},
		{"nano tmux", inTmux + `start "nano '$PWD/flags'"; screen 'Seen Flagged'; press C-k; press Draft; press C-o; screen 'Name to Write'; press Enter; screen 'Wrote'; press C-x; ended`, "Draft", false},
		{"nano tmux", inTmux + `start "nano '$PWD/flags'"; screen 'Draft'; press C-k; press +Deleted; press C-o; screen 'Name to Write'; press Enter; screen 'Error writing'; press C-x; screen 'Save mod'; press n; ended`, "Draft", false},
	} {
		if !slices.ContainsFunc(strings.Fields(s.needs), func(program string) bool { _, err := exec.LookPath(program); return err != nil }) {
			cmd := exec.Command("timeout", "20", "bash", "-c", s.script)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "W="+t.TempDir(), "LC_ALL=C.UTF-8", "TERM=xterm")
			out, err := cmd.CombinedOutput()
			if (err != nil) != s.fails {
				t.Errorf("%s: ends with %v\n%s", s.script, err, out)
			}
			if got := flagsOf(t, c, "INBOX", uid); got != s.want {
				t.Errorf("%s: the server has %q, want %q", s.script, got, s.want)
			}
		}
	}
}
