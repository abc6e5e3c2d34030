package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Held is a message as the server holds it.
type Held struct {
	UID   imap.UID
	Raw   []byte
	Date  time.Time
	Flags []imap.Flag
}

// Messages returns what the server holds in a folder.
func Messages(t *testing.T, c *imapclient.Client, folder string) []Held {
	t.Helper()
	if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{
		UID: true, InternalDate: true, Flags: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	var status *imap.Error
	if err != nil && !errors.As(err, &status) { // NO: the folder is empty
		t.Fatal(err)
	}
	var list []Held
	for _, m := range all {
		list = append(list, Held{m.UID, m.BodySection[0].Bytes, m.InternalDate, m.Flags})
	}
	return list
}

// Folders lists all folders, also those that hold no messages.
func Folders(t *testing.T, c *imapclient.Client) []*imap.ListData {
	t.Helper()
	list, err := c.List("", "*", nil).Collect()
	Must(t, err)
	return list
}

func Selectable(l *imap.ListData) bool {
	return !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent)
}

func copyMail(t *testing.T, from, to Account) {
	t.Helper()
	src, dst := from.Client(t), to.Client(t)
	for _, l := range Folders(t, src) {
		if !Selectable(l) || strings.HasSuffix(l.Mailbox, "/..") {
			continue // Dovecot allows no such name
		}
		folder := to.Mailbox(l.Mailbox)
		dst.Create(folder, nil).Wait() // INBOX is there already
		for _, m := range Messages(t, src, l.Mailbox) {
			_, err := appendTo(dst, folder, m.Raw, m.Date)
			var refused *imap.Error // Cyrus takes no broken mail
			if err != nil && !errors.As(err, &refused) {
				t.Fatal(err)
			}
		}
	}
}

// Deliver appends a message, and returns its UID.
func Deliver(t *testing.T, c *imapclient.Client, folder string, raw []byte, date time.Time) imap.UID {
	t.Helper()
	uid, err := appendTo(c, folder, raw, date)
	if err != nil {
		t.Fatalf("deliver to %s: %v", folder, err)
	}
	return uid
}

func appendTo(c *imapclient.Client, folder string, raw []byte, date time.Time) (imap.UID, error) {
	cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Time: date})
	if _, err := cmd.Write(raw); err != nil {
		return 0, err
	}
	if err := cmd.Close(); err != nil {
		return 0, err
	}
	data, err := cmd.Wait()
	if err != nil {
		return 0, err
	}
	return data.UID, nil
}

// Mark marks messages of the selected folder as deleted.
func Mark(t *testing.T, c *imapclient.Client, uids ...imap.UID) {
	t.Helper()
	// Courier passes over a message of which it has not told this client.
	Must(t, c.Noop().Wait())
	flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	Must(t, c.Store(imap.UIDSetNum(uids...), flags, nil).Close())
}

// Select opens a folder for the client, which may change it.
func Select(t *testing.T, c *imapclient.Client, folder string) {
	t.Helper()
	_, err := c.Select(folder, nil).Wait()
	Must(t, err)
}

// Expunge deletes messages of the selected folder as another client.
func Expunge(t *testing.T, c *imapclient.Client, uids ...imap.UID) {
	t.Helper()
	Mark(t, c, uids...)
	Must(t, c.UIDExpunge(imap.UIDSetNum(uids...)).Close())
}

// SeesAnother has another client deliver to a folder and expunge there, while
// the mount is up. What the kernel has cached follows.
func SeesAnother(t *testing.T, c *imapclient.Client, folder, dir string) {
	t.Helper()
	before := Names(t, dir)
	uid := Deliver(t, c, folder, []byte("Subject: new\r\n\r\nFresh.\r\n"), time.Now())
	path := filepath.Join(dir, fmt.Sprint(uid))
	os.Stat(path) // not there yet, which the kernel may remember
	Eventually(t, "the new message is listed", func() bool { return slices.Contains(Names(t, dir), fmt.Sprint(uid)) })
	if got := string(Read(t, path, "body.txt")); got != "Fresh.\n" {
		t.Errorf("body %q", got)
	}

	Select(t, c, folder)
	Expunge(t, c, uid)
	Eventually(t, "the expunged message goes from the listing", func() bool { return slices.Equal(Names(t, dir), before) })
	if _, err := os.ReadFile(filepath.Join(path, "body.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading the expunged message: %v", err)
	}
}
