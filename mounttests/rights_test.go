package mounttests

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// promises checks whether mode and access(2) say that something can be changed.
func promises(t *testing.T, what, path string, want bool) {
	t.Helper()
	info, err := os.Lstat(path)
	harness.Must(t, err)
	if got := info.Mode().Perm()&0o200 != 0; got != want {
		t.Errorf("%s of %s has the mode %v, want that it can be changed: %t", filepath.Base(path), what, info.Mode(), want)
	}
	if may := unix.Access(path, unix.W_OK) == nil; may != want && os.Getuid() != 0 { // who may all
		t.Errorf("%s of %s: access(2) says that it can be changed: %t", filepath.Base(path), what, may)
	}
}

// TestRightsAreTold has folders in which not all can be done, by RFC 4314 and by what the
// server cannot do. Nothing promises it.
func TestRightsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		capability, acl        string
		folder, message, flags bool
	}{
		"all":                    {"", "lrwstipekxa", true, true, true},
		"reading":                {"", "lr", false, false, false},
		"reading and flags":      {"", "lrwsi", true, false, true},
		"no UIDPLUS":             {"imap_capability = IMAP4rev1 MOVE", "lrwstipekxa", true, true, true},
		"no UIDPLUS and no MOVE": {"imap_capability = IMAP4rev1", "lrwstipekxa", true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dovecot.Start(t, dovecot.Options{Extra: "mail_plugins = acl\nplugin {\n acl = vfile\n}\nprotocol imap {\n" + c.capability + "\n}\n"})
			harness.Must(t, s.DeliverTo("Other", slices.Values([][]byte{harness.LargeLetter()})))
			harness.Must(t, os.WriteFile(filepath.Join(s.Maildir(), ".Other", "dovecot-acl"), []byte("owner "+c.acl+"\n"), 0o644))
			folder := filepath.Join(harness.Mount(t, harness.DovecotAccount(s)), "Other")
			for range 2 { // also when the kernel was told before
				message := filepath.Join(folder, harness.FirstUID(t, folder))
				promises(t, name, folder, c.folder)
				for _, path := range []string{"", "body.txt", "message.eml", "attachments"} {
					promises(t, name, filepath.Join(message, path), c.message)
				}
				promises(t, name, filepath.Join(message, "flags"), c.flags)
			}
			if !c.flags {
				if err := os.WriteFile(filepath.Join(folder, "1", "flags"), []byte("+Seen"), 0); err == nil {
					t.Error("a flag is set")
				}
			}
		})
	}
	t.Run("a mount that only reads", func(t *testing.T) {
		a := harness.EmptyDemo(t)
		harness.Deliver(t, a.Client(t), "INBOX", harness.OneLetter(1), putDate)
		mnt := harness.Mount(t, a, "-o", "ro")
		for _, path := range []string{"", "INBOX", "INBOX/1", "INBOX/1/body.txt", "INBOX/1/flags"} {
			promises(t, "it", filepath.Join(mnt, path), false)
		}
	})
}
