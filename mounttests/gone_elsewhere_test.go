package mounttests

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/harness"
)

// TestGoneElsewhereIsNotKept has another client take mail away, while it is
// mounted and while it is not. Its content is in no file of the cache then.
func TestGoneElsewhereIsNotKept(t *testing.T) {
	content := func(what string) []byte {
		return []byte("Subject: letter\r\n\r\n" + strings.Repeat("This is "+what+".\r\n", 100))
	}
	for name, take := range map[string]func(t *testing.T, c *imapclient.Client){
		"a message": func(t *testing.T, c *imapclient.Client) {
			harness.Select(t, c, "Letters")
			harness.Expunge(t, c, 1)
		},
		"a folder": func(t *testing.T, c *imapclient.Client) {
			harness.Must(t, c.Delete("Letters").Wait())
		},
		"a folder of the same name comes": func(t *testing.T, c *imapclient.Client) { makeAnew(t, c, "Letters") },
	} {
		for _, mounted := range []bool{true, false} {
			when := map[bool]string{true: "mounted", false: "not mounted"}[mounted]
			t.Run(name+", "+when, func(t *testing.T) {
				a := harness.EmptyDovecot(t, "")
				c := a.Client(t)
				harness.Must(t, c.Create("Letters", nil).Wait())
				harness.Deliver(t, c, "Letters", content("gone"), time.Now())
				harness.Deliver(t, c, "INBOX", content("kept"), time.Now())
				r := harness.NewRemounter(t, a, "--poll", "200ms", "--connections", "1") // Letters is not selected then
				inCache := func(text string) bool {
					return exec.Command("grep", "-rqa", text, r.Cache).Run() == nil
				}
				p := r.Mount(t)
				harness.Read(t, r.Dir, "Letters", "1", "body.txt")
				harness.Read(t, r.Dir, "INBOX", "1", "body.txt")
				harness.Eventually(t, "the cache has it", func() bool { return inCache("This is gone") && inCache("This is kept") })
				if !mounted {
					p.Unmount(t)
				}
				take(t, c)
				if !mounted {
					p = r.Mount(t)
				}
				exec.Command("ls", filepath.Join(r.Dir, "Letters")).Run() // whether it is there or not
				harness.Eventually(t, "what is gone is in no file", func() bool { return !inCache("This is gone") })
				p.Unmount(t)
				if inCache("This is gone") || !inCache("This is kept") {
					t.Errorf("in the cache: gone %v, kept %v", inCache("This is gone"), inCache("This is kept"))
				}
			})
		}
	}
}
