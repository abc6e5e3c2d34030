package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// TestGoneElsewhereIsNotKept has another client take mail away, while it is
// mounted and while it is not. Its content is in no file of the cache then.
func TestGoneElsewhereIsNotKept(t *testing.T) {
	content := func(what string) []byte {
		return []byte("Subject: letter\r\n\r\n" + strings.Repeat("This is "+what+".\r\n", 100))
	}
	for name, take := range map[string]func(t *testing.T, c *imapclient.Client){
		"a message": func(t *testing.T, c *imapclient.Client) {
			if _, err := c.Select("Letters", nil).Wait(); err != nil {
				t.Fatal(err)
			}
			all := imap.SeqSet{{Start: 1, Stop: 0}}
			if err := c.Store(all, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.Expunge().Close(); err != nil {
				t.Fatal(err)
			}
		},
		"a folder": func(t *testing.T, c *imapclient.Client) {
			if err := c.Delete("Letters").Wait(); err != nil {
				t.Fatal(err)
			}
		},
		"a folder of the same name comes": func(t *testing.T, c *imapclient.Client) {
			validity := func() uint32 {
				data, err := c.Status("Letters", &imap.StatusOptions{UIDValidity: true}).Wait()
				if err != nil {
					return 0
				}
				return data.UIDValidity
			}
			old := validity()
			eventually(t, "another UIDVALIDITY", func() bool {
				c.Delete("Letters").Wait()
				c.Create("Letters", nil).Wait()
				return validity() != old
			})
		},
	} {
		for _, mounted := range []bool{true, false} {
			when := map[bool]string{true: "mounted", false: "not mounted"}[mounted]
			t.Run(name+", "+when, func(t *testing.T) {
				a := emptyDovecot(t, "")
				c := a.client(t)
				if err := c.Create("Letters", nil).Wait(); err != nil {
					t.Fatal(err)
				}
				deliver(t, c, "Letters", content("gone"), time.Now())
				deliver(t, c, "INBOX", content("kept"), time.Now())
				r := newRemounter(t, a, "--poll", "200ms", "--connections", "1") // Letters is not selected then
				inCache := func(text string) bool {
					return exec.Command("grep", "-rqa", text, r.cache).Run() == nil
				}
				p := r.mount(t)
				read(t, r.dir, "Letters", "1", "body.txt")
				read(t, r.dir, "INBOX", "1", "body.txt")
				eventually(t, "the cache has it", func() bool { return inCache("This is gone") && inCache("This is kept") })
				if !mounted {
					p.unmount(t)
				}
				take(t, c)
				if !mounted {
					p = r.mount(t)
				}
				exec.Command("ls", filepath.Join(r.dir, "Letters")).Run() // whether it is there or not
				eventually(t, "what is gone is in no file", func() bool { return !inCache("This is gone") })
				p.unmount(t)
				if inCache("This is gone") || !inCache("This is kept") {
					t.Errorf("in the cache: gone %v, kept %v", inCache("This is gone"), inCache("This is kept"))
				}
			})
		}
	}
}
