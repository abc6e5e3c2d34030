package mounttests

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"imapfs/internal/cyrus"
	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// isWritable tells whether the mode says that something can be changed.
func isWritable(t *testing.T, path string) bool {
	t.Helper()
	info, err := os.Lstat(path)
	harness.Must(t, err)
	return info.Mode().Perm()&0o200 != 0
}

// promises checks whether mode and access(2) say that something can be changed.
func promises(t *testing.T, what, path string, want bool) {
	t.Helper()
	if isWritable(t, path) != want {
		t.Errorf("%s of %s: the mode does not say that it can be changed: %t", filepath.Base(path), what, want)
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
				if f, err := os.OpenFile(filepath.Join(folder, "1", "flags"), os.O_WRONLY, 0); !errors.Is(err, syscall.EACCES) {
					f.Close()
					t.Errorf("the flags are opened to write: %v", err)
				}
			}
		})
	}
	grants := map[string]struct {
		rights                 string
		folder, message, flags bool
	}{
		"all rights":                 {"lrswiktea", true, true, true},
		"no i":                       {"lrswtea", true, true, true},
		"only flags":                 {"lrswa", false, false, true},
		"no t":                       {"lrswiea", true, false, true},
		"no e":                       {"lrswita", true, false, true},
		"neither s nor w":            {"lritea", true, true, false},
		"only i":                     {"lria", true, false, false},
		"only k":                     {"lrka", true, false, false},
		"only x":                     {"lrxa", false, false, false},
		"only reading":               {"lra", false, false, false},
		"no i, and no way to delete": {"lrswka", true, false, true},
	}
	for server, start := range map[string]func(t *testing.T) harness.Account{
		// Else an owner has k and x too, whatever the folder grants.
		"cyrus": func(t *testing.T) harness.Account {
			return harness.CyrusAccount(cyrus.Start(t, harness.Testdata("cyrus"), "implicit_owner_rights: a"))
		},
		"dovecot": func(t *testing.T) harness.Account {
			return harness.EmptyDovecot(t, "mail_plugins = acl\nplugin {\n acl = vfile\n}\nprotocol imap {\n mail_plugins = acl imap_acl\n}\n")
		},
	} {
		t.Run("MYRIGHTS of "+server, func(t *testing.T) {
			t.Parallel()
			a := start(t)
			c := a.Client(t)
			for name, g := range grants {
				harness.Must(t, c.Create(name, nil).Wait())
				harness.Deliver(t, c, name, harness.LargeLetter(), putDate)
				harness.Must(t, c.SetACL(name, imap.RightsIdentifier(a.User), imap.RightModificationReplace, imap.RightSet(g.rights)).Wait())
			}
			mnt := harness.Mount(t, a)
			for name, g := range grants {
				folder := filepath.Join(mnt, name)
				message := filepath.Join(folder, harness.FirstUID(t, folder))
				harness.Eventually(t, name+" is shown as it is", func() bool {
					return isWritable(t, folder) == g.folder && isWritable(t, message) == g.message && isWritable(t, filepath.Join(message, "flags")) == g.flags
				})
			}
			// What has a bit too many is refused by the server, and made where it can be.
			if err := os.WriteFile(filepath.Join(mnt, "only k", "x.eml"), harness.LargeLetter(), 0o600); err == nil {
				t.Error("a letter is put where there is no right to")
			}
			harness.Must(t, os.Mkdir(filepath.Join(mnt, "only k", "below"), 0o700))
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
