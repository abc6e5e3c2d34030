package mounttests

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
)

// TestMovesRace moves messages through the mount while another client moves and expunges
// some of the same. At the end each is in one place, and what the mount has said to be
// moved is where it was moved. Without MOVE nobody can tell who has taken a message out of
// a folder between its copy and its deletion: both movers have it then.
func TestMovesRace(t *testing.T) {
	const each = 24 // messages of a round
	harness.Need(t, "mv")
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		atomic := c.Caps().Has(imap.CapMove)
		for _, folder := range []string{"From", "To", "Third"} {
			harness.Must(t, c.Create(a.Mailbox(folder), nil).Wait())
		}
		harness.Select(t, c, a.Mailbox("From"))
		mnt := a.Top(harness.Mount(t, a, "--poll", "50ms"))
		from, to := filepath.Join(mnt, "From"), filepath.Join(mnt, "To")
		expunged := map[string]bool{}
		moved := map[string]bool{} // as the mount has said
		var all []string
		for round := range uint64(3) {
			r := rand.New(rand.NewPCG(round, 13))
			var uids []imap.UID
			name := map[imap.UID]string{}
			for i := range each {
				text := fmt.Sprint(round, "-", i)
				uid := harness.Deliver(t, c, a.Mailbox("From"), harness.Letter(text), time.Now())
				uids, all = append(uids, uid), append(all, text)
				name[uid] = text
			}
			harness.Eventually(t, "the mount lists the messages", func() bool {
				return slices.Contains(harness.Names(t, from), fmt.Sprint(uids[each-1]))
			})
			r.Shuffle(each, func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
			mine, theirs, gone := uids[:14], uids[10:18], uids[16:20] // with four and two of both
			ours := make(chan map[imap.UID]bool)
			go func() {
				said := map[imap.UID]bool{}
				for _, uid := range mine {
					said[uid] = exec.Command("mv", filepath.Join(from, fmt.Sprint(uid)), to).Run() == nil
				}
				ours <- said
			}()
			for i, uid := range theirs {
				c.Noop().Wait()
				if atomic {
					c.Move(imap.UIDSetNum(uid), a.Mailbox("Third")).Wait()
				} else if _, err := c.Copy(imap.UIDSetNum(uid), a.Mailbox("Third")).Wait(); err == nil {
					harness.Expunge(t, c, uid)
				}
				if i%2 == 0 {
					harness.Expunge(t, c, gone[i/2])
					expunged[name[gone[i/2]]] = true
				}
			}
			for uid, done := range <-ours {
				moved[name[uid]] = done
			}
			for i, uid := range mine {
				if !moved[name[uid]] && i < 10 {
					t.Errorf("%s could not be moved, and nobody else wanted it", name[uid])
				}
			}
		}
		where := map[string][]string{}
		for _, folder := range []string{"From", "To", "Third"} {
			for _, text := range subjects(t, a, folder) {
				where[text] = append(where[text], folder)
			}
		}
		for _, text := range all {
			at := where[text]
			switch {
			case len(at) == 0 && !expunged[text]:
				t.Errorf("%s is lost; the mount says that it was moved: %v", text, moved[text])
			case len(at) > 1 && (atomic || len(at) > 2 || slices.Contains(at, "From")):
				t.Errorf("%s is in %v", text, at)
			case moved[text] && !slices.Contains(at, "To"):
				t.Errorf("%s was moved, the mount says, and is in %v", text, at)
			}
		}
	})
}
