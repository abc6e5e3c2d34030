package mounttests

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/commands"
	"imapfs/internal/harness"
)

// TestTrash removes a message from INBOX, and then from the trash.
func TestTrash(t *testing.T) {
	const marked = "namespace inbox {\n mailbox Papierkorb {\n  auto = create\n  special_use = \\Trash\n }\n}\n"
	for _, c := range []struct {
		server string
		start  func(t *testing.T) harness.Account
		flag   string
		trash  string
		by     []string
	}{
		{"embedded", harness.Embedded, "--trash", "Trash", []string{"MOVE"}},
		{"dovecot", func(t *testing.T) harness.Account { return harness.EmptyDovecot(t, marked) }, "--trash", "Papierkorb", []string{"MOVE"}},
		{"dovecot without MOVE", func(t *testing.T) harness.Account {
			return harness.EmptyDovecot(t, marked+"protocol imap {\n imap_capability = IMAP4rev1 UIDPLUS SPECIAL-USE\n}\n")
		}, "--trash", "Papierkorb", []string{"COPY", "STORE", "EXPUNGE"}},
		{"dovecot, named", func(t *testing.T) harness.Account {
			a := harness.EmptyDovecot(t, "")
			harness.Must(t, a.Client(t).Create("Old/Bin", nil).Wait())
			return a
		}, "--trash=Old/Bin", "Old/Bin", []string{"MOVE"}},
		{"cyrus", func(t *testing.T) harness.Account {
			a := harness.EmptyCyrus(t)
			c := a.Client(t)
			c.Create("INBOX", nil).Wait() // or it is there
			harness.Must(t, c.Create("Bin", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrTrash}}).Wait())
			return a
		}, "--trash", "Bin", []string{"MOVE"}},
		{"courier, named", func(t *testing.T) harness.Account { // it marks none
			a := harness.EmptyCourier(t)
			harness.Must(t, a.Client(t).Create("INBOX.Trash", nil).Wait())
			return a
		}, "--trash=INBOX/Trash", "INBOX/Trash", []string{"COPY", "STORE", "EXPUNGE"}},
	} {
		t.Run(c.server, func(t *testing.T) {
			a := c.start(t)
			trashBox := a.Mailbox(c.trash)
			raw := []byte("Subject: to go\r\n\r\nBye.\r\n")
			uid := harness.Deliver(t, a.Client(t), "INBOX", raw, time.Now())
			in := len(harness.Messages(t, a.Client(t), "INBOX"))
			old := harness.Messages(t, a.Client(t), trashBox)
			p := harness.NewProxy(t, a)
			mnt := harness.Mount(t, p.Account, c.flag)
			trash := filepath.Join(mnt, c.trash)
			before := harness.Names(t, trash)
			p.Forget()
			harness.Run(t, "rm", "-r", filepath.Join(mnt, "INBOX", fmt.Sprint(uid)))
			if n := len(harness.Messages(t, a.Client(t), "INBOX")); n != in-1 {
				t.Errorf("INBOX has %d messages, had %d", n, in)
			}
			if got := done(p); !slices.Equal(got, c.by) {
				t.Errorf("done by %q, want %q", got, c.by)
			}
			now := harness.Messages(t, a.Client(t), trashBox)
			if len(now) != len(old)+1 {
				t.Fatalf("the trash has %d messages, had %d", len(now), len(old))
			}
			moved := now[len(now)-1]
			if !bytes.Equal(moved.Raw, raw) || slices.Contains(moved.Flags, imap.FlagDeleted) {
				t.Errorf("in the trash: %q, %v", moved.Raw, moved.Flags)
			}
			harness.Eventually(t, "it is listed in the trash", func() bool { return len(harness.Names(t, trash)) == len(before)+1 })
			if got := harness.Read(t, trash, fmt.Sprint(moved.UID), "body.txt"); string(got) != "Bye.\n" {
				t.Errorf("body in the trash: %q", got)
			}
			p.Forget()
			harness.Run(t, "rm", "-r", filepath.Join(trash, fmt.Sprint(moved.UID)))
			if got, want := done(p), []string{"STORE", "EXPUNGE"}; !slices.Equal(got, want) {
				t.Errorf("done in the trash by %q, want %q", got, want)
			}
			if n := len(harness.Messages(t, a.Client(t), trashBox)); n != len(old) {
				t.Errorf("the trash has %d messages, had %d", n, len(old))
			}
		})
	}
}

// done tells by which commands messages were moved and deleted.
func done(p *harness.Proxy) []string {
	var list []string
	for _, command := range p.Sent("UID ") {
		if word := strings.Fields(command)[1]; slices.Contains([]string{"MOVE", "COPY", "STORE", "EXPUNGE"}, word) {
			list = append(list, word)
		}
	}
	return list
}

// TestNoTrash is an error at the start, with a cache on disk or without.
func TestNoTrash(t *testing.T) {
	a := harness.EmptyDovecot(t, "")
	for flag, want := range map[string]string{"--trash": "name it: --trash=FOLDER", "--trash=Nope": `no folder "Nope"`} {
		p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + a.Password}, "--insecure", flag, a.URL(), t.TempDir())
		p.EndsWith(t, commands.ExitFailed, want)
	}
}
