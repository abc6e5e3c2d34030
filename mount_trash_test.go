package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// TestTrash removes a message from INBOX, and then from the trash.
func TestTrash(t *testing.T) {
	const marked = "namespace inbox {\n mailbox Papierkorb {\n  auto = create\n  special_use = \\Trash\n }\n}\n"
	for _, c := range []struct {
		server string
		start  func(t *testing.T) account
		flag   string
		trash  string
		by     []string
	}{
		{"embedded", embedded, "--trash", "Trash", []string{"MOVE"}},
		{"dovecot", func(t *testing.T) account { return emptyDovecot(t, marked) }, "--trash", "Papierkorb", []string{"MOVE"}},
		{"dovecot without MOVE", func(t *testing.T) account {
			return emptyDovecot(t, marked+"protocol imap {\n imap_capability = IMAP4rev1 UIDPLUS SPECIAL-USE\n}\n")
		}, "--trash", "Papierkorb", []string{"COPY", "STORE", "EXPUNGE"}},
		{"dovecot, named", func(t *testing.T) account {
			a := emptyDovecot(t, "")
			if err := a.client(t).Create("Old/Bin", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			return a
		}, "--trash=Old/Bin", "Old/Bin", []string{"MOVE"}},
		{"cyrus", func(t *testing.T) account {
			a := emptyCyrus(t)
			c := a.client(t)
			c.Create("INBOX", nil).Wait() // or it is there
			if err := c.Create("Bin", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrTrash}}).Wait(); err != nil {
				t.Fatal(err)
			}
			return a
		}, "--trash", "Bin", []string{"MOVE"}},
		{"courier, named", func(t *testing.T) account { // it marks none
			a := emptyCourier(t)
			if err := a.client(t).Create("INBOX.Trash", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			return a
		}, "--trash=INBOX/Trash", "INBOX/Trash", []string{"COPY", "STORE", "EXPUNGE"}},
	} {
		t.Run(c.server, func(t *testing.T) {
			a := c.start(t)
			trashBox := a.mailbox(c.trash)
			raw := []byte("Subject: to go\r\n\r\nBye.\r\n")
			uid := deliver(t, a.client(t), "INBOX", raw, time.Now())
			in := len(messages(t, a.client(t), "INBOX"))
			old := messages(t, a.client(t), trashBox)
			p := newProxy(t, a)
			mnt := mount(t, p.account, c.flag)
			trash := filepath.Join(mnt, c.trash)
			before := names(t, trash)
			p.forget()
			run(t, "rm", "-r", filepath.Join(mnt, "INBOX", fmt.Sprint(uid)))
			if n := len(messages(t, a.client(t), "INBOX")); n != in-1 {
				t.Errorf("INBOX has %d messages, had %d", n, in)
			}
			if got := done(p); !slices.Equal(got, c.by) {
				t.Errorf("done by %q, want %q", got, c.by)
			}
			now := messages(t, a.client(t), trashBox)
			if len(now) != len(old)+1 {
				t.Fatalf("the trash has %d messages, had %d", len(now), len(old))
			}
			moved := now[len(now)-1]
			if !bytes.Equal(moved.raw, raw) || slices.Contains(moved.flags, imap.FlagDeleted) {
				t.Errorf("in the trash: %q, %v", moved.raw, moved.flags)
			}
			eventually(t, "it is listed in the trash", func() bool { return len(names(t, trash)) == len(before)+1 })
			if got := read(t, trash, fmt.Sprint(moved.uid), "body.txt"); string(got) != "Bye.\n" {
				t.Errorf("body in the trash: %q", got)
			}
			p.forget()
			run(t, "rm", "-r", filepath.Join(trash, fmt.Sprint(moved.uid)))
			if got, want := done(p), []string{"STORE", "EXPUNGE"}; !slices.Equal(got, want) {
				t.Errorf("done in the trash by %q, want %q", got, want)
			}
			if n := len(messages(t, a.client(t), trashBox)); n != len(old) {
				t.Errorf("the trash has %d messages, had %d", n, len(old))
			}
		})
	}
}

// done tells by which commands messages were moved and deleted.
func done(p *proxy) []string {
	var list []string
	for _, command := range p.sent("UID ") {
		if word := strings.Fields(command)[1]; slices.Contains([]string{"MOVE", "COPY", "STORE", "EXPUNGE"}, word) {
			list = append(list, word)
		}
	}
	return list
}

// TestNoTrash is an error at the start, with a cache on disk or without.
func TestNoTrash(t *testing.T) {
	a := emptyDovecot(t, "")
	for flag, want := range map[string]string{"--trash": "name it: --trash=FOLDER", "--trash=Nope": `no folder "Nope"`} {
		p := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, "--insecure", flag, a.url(), t.TempDir())
		if code := p.exit(t); code != exitFailed || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("%s: code %d, %s", flag, code, p.stderr)
		}
	}
}
