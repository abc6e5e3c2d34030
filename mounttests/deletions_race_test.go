package mounttests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
)

// TestDeletionsRace deletes messages through the mount while another client
// delivers, marks and expunges in the same folder. At the end exactly those are
// gone that one of both has deleted.
func TestDeletionsRace(t *testing.T) {
	const each = 24 // messages of a round
	rounds := uint64(3)
	if os.Getenv(allFaults) != "" {
		rounds = 12
	}
	harness.Need(t, "rm")
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c, race := a.Client(t), a.Mailbox("Race")
		harness.Must(t, c.Create(race, nil).Wait())
		third := a.Client(t) // looks at the result
		harness.Select(t, c, race)
		folder := filepath.Join(a.Top(harness.Mount(t, a, "--poll", "50ms")), "Race")
		want := map[imap.UID]bool{} // what has to be left, and whether it is marked
		for round := range rounds {
			r := rand.New(rand.NewPCG(round, 7))
			var uids []imap.UID
			for i := range each {
				uid := harness.Deliver(t, c, race, harness.Letter(fmt.Sprint(round, "-", i)), time.Now())
				uids = append(uids, uid)
				want[uid] = false
			}
			harness.Eventually(t, "the mount lists the messages", func() bool {
				return slices.Contains(harness.Names(t, folder), fmt.Sprint(uids[each-1]))
			})
			r.Shuffle(each, func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
			// Eight for each, and four that both delete.
			mine, theirs, marked := uids[:12], uids[8:16], uids[16:]

			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, uid := range mine {
					// Not os.RemoveAll, which keeps quiet of what does not exist.
					out, err := exec.Command("rm", "-r", filepath.Join(folder, fmt.Sprint(uid))).CombinedOutput()
					if err != nil && !slices.Contains(theirs, uid) {
						t.Errorf("seed %d: deleting %d: %s", round, uid, out)
					}
				}
			}()
			for i := range 8 {
				if i%3 == 0 {
					want[harness.Deliver(t, c, race, harness.Letter("meanwhile"), time.Now())] = false
				}
				harness.Mark(t, c, marked[i])
				want[marked[i]] = true
				harness.Expunge(t, c, theirs[i])
			}
			<-done
			for _, uid := range append(slices.Clone(mine), theirs...) {
				delete(want, uid)
			}
			left := map[imap.UID]bool{}
			for _, m := range harness.Messages(t, third, race) {
				left[m.UID] = slices.Contains(m.Flags, imap.FlagDeleted)
			}
			for uid, deleted := range want {
				if is, ok := left[uid]; !ok {
					t.Fatalf("seed %d: message %d is lost", round, uid)
				} else if is != deleted {
					t.Errorf("seed %d: message %d is marked as deleted: %t, want %t", round, uid, is, deleted)
				}
			}
			for uid := range left {
				if _, ok := want[uid]; !ok {
					t.Errorf("seed %d: message %d is still there (the mount was to delete it: %t, the other client: %t)",
						round, uid, slices.Contains(mine, uid), slices.Contains(theirs, uid))
				}
			}
		}
	})
}
