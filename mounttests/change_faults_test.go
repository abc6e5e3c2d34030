package mounttests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
)

// Here the line to the server is disturbed, or the server killed, while programs change
// what is on it. What a program was told to be done is done; nothing is lost, twice, or in
// two places, whatever it was told.

// changeAct is a change that is made several times, of another thing each time.
type changeAct struct {
	name    string
	prepare func(t *testing.T, s server) // before the mount
	command func(mnt, local string, i int) []string
	// check returns what is wrong with thing i, of which the program has said that it is done.
	check func(state serverState, i int, done bool) string
}

const (
	changesEach = 8                // how many times
	settles     = 10 * time.Second // how long it may take until a change that has failed is taken back
)

// serverState is the subjects of what each folder has; a folder without mail is there too.
// Behind flagged it has those of what has the flag.
type serverState map[string][]string

const flagged = "\\Flagged in "

func (s serverState) count(folder, subject string) (n int) {
	for _, other := range s[folder] {
		if other == subject {
			n++
		}
	}
	return n
}

func (s serverState) has(folder string) bool { _, ok := s[folder]; return ok }

func stateOf(t *testing.T, s server) serverState {
	t.Helper()
	state := serverState{}
	c := s.Client(t)
	for _, l := range harness.Folders(t, c) {
		if !harness.Selectable(l) {
			continue
		}
		state[l.Mailbox] = nil
		for _, m := range harness.Messages(t, c, l.Mailbox) {
			subject, _, _ := strings.Cut(string(m.Raw), "\r\n")
			subject = strings.TrimPrefix(subject, "Subject: ")
			state[l.Mailbox] = append(state[l.Mailbox], subject)
			if slices.Contains(m.Flags, imap.FlagFlagged) {
				state[flagged+l.Mailbox] = append(state[flagged+l.Mailbox], subject)
			}
		}
	}
	return state
}

func number(i int) string { return fmt.Sprint("number ", i+1) }

// changeActs returns what is done. Names of folders are those that the server a has.
func changeActs(a harness.Account) []changeAct {
	from, to := a.Mailbox(faultFolder), a.Mailbox("After")
	create := func(folders ...string) func(t *testing.T, s server) {
		return func(t *testing.T, s server) {
			c := s.Client(t)
			for i := range changesEach {
				for _, f := range folders {
					name := a.Mailbox(fmt.Sprint(f, " ", i))
					harness.Must(t, c.Create(name, nil).Wait())
					if f != "Empty" {
						harness.Deliver(t, c, name, harness.Letter(fmt.Sprint("in ", f, " ", i)), time.Now())
					}
				}
			}
		}
	}
	nothing := func(*testing.T, server) {}
	return []changeAct{
		{"mv", nothing, func(mnt, _ string, i int) []string {
			return []string{"mv", filepath.Join(mnt, faultFolder, fmt.Sprint(i+1)), filepath.Join(mnt, "After")}
		}, func(state serverState, i int, done bool) string {
			here, there := state.count(from, number(i)), state.count(to, number(i))
			if i == 0 { // After has another one with this subject
				there--
			}
			if here+there != 1 || done && there != 1 {
				return fmt.Sprintf("%d times where it was, %d times where it was moved", here, there)
			}
			return ""
		}},
		{"cp in", nothing, func(mnt, local string, i int) []string {
			return []string{"cp", filepath.Join(local, fmt.Sprint(i, ".eml")), filepath.Join(mnt, "After", fmt.Sprint(i, ".eml"))}
		}, func(state serverState, i int, done bool) string {
			if there := state.count(to, fmt.Sprint("local ", i)); there > 1 || done && there != 1 {
				return fmt.Sprintf("%d times where it was copied", there)
			}
			return ""
		}},
		{"cp within", nothing, func(mnt, _ string, i int) []string {
			return []string{"cp", filepath.Join(mnt, faultFolder, fmt.Sprint(i+2), "message.eml"), filepath.Join(mnt, "After", fmt.Sprint(i, ".eml"))}
		}, func(state serverState, i int, done bool) string {
			here, there := state.count(from, number(i+1)), state.count(to, number(i+1))
			if here != 1 || there > 1 || done && there != 1 {
				return fmt.Sprintf("%d times where it was, %d times where it was copied", here, there)
			}
			return ""
		}},
		{"flag", nothing, func(mnt, _ string, i int) []string {
			return []string{"sh", "-c", `echo +Flagged | cp /dev/stdin "$0"`, filepath.Join(mnt, faultFolder, fmt.Sprint(i+1), "flags")}
		}, func(state serverState, i int, done bool) string {
			here, has := state.count(from, number(i)), state.count(flagged+from, number(i))
			if here != 1 || done && has != 1 {
				return fmt.Sprintf("it is %d times there, and %d times flagged", here, has)
			}
			return ""
		}},
		{"mkdir", nothing, func(mnt, _ string, i int) []string {
			return []string{"mkdir", filepath.Join(mnt, fmt.Sprint("Made ", i))}
		}, func(state serverState, i int, done bool) string {
			if done && !state.has(a.Mailbox(fmt.Sprint("Made ", i))) {
				return "it is not there"
			}
			return ""
		}},
		{"mv of a folder", create("Old"), func(mnt, _ string, i int) []string {
			return []string{"mv", filepath.Join(mnt, fmt.Sprint("Old ", i)), filepath.Join(mnt, fmt.Sprint("New ", i))}
		}, func(state serverState, i int, done bool) string {
			before, after := a.Mailbox(fmt.Sprint("Old ", i)), a.Mailbox(fmt.Sprint("New ", i))
			here, there := state.count(before, fmt.Sprint("in Old ", i)), state.count(after, fmt.Sprint("in Old ", i))
			if here+there != 1 || state.has(before) && state.has(after) || done && there != 1 {
				return fmt.Sprintf("its mail is %d times where it was, %d times where it was moved", here, there)
			}
			return ""
		}},
		{"rmdir", create("Empty", "Full"), func(mnt, _ string, i int) []string {
			return []string{"rmdir", filepath.Join(mnt, fmt.Sprint("Empty ", i))}
		}, func(state serverState, i int, done bool) string {
			if state.count(a.Mailbox(fmt.Sprint("Full ", i)), fmt.Sprint("in Full ", i)) != 1 {
				return "the mail of another folder is lost"
			}
			if done && state.has(a.Mailbox(fmt.Sprint("Empty ", i))) {
				return "it is still there"
			}
			return ""
		}},
		{"rmdir of what is full", create("Full"), func(mnt, _ string, i int) []string {
			return []string{"rmdir", filepath.Join(mnt, fmt.Sprint("Full ", i))}
		}, func(state serverState, i int, done bool) string {
			if done || state.count(a.Mailbox(fmt.Sprint("Full ", i)), fmt.Sprint("in Full ", i)) != 1 {
				return "its mail is lost"
			}
			return ""
		}},
	}
}

// cutSent ends each connection when so many bytes were sent to the server, as in the middle
// of a message.
const cutSent = "cut after N sent"

var changeFaults = append(slices.Clip(faults), fault{name: cutSent, lasts: time.Second, strike: func(server, *line) error { return nil }})

// changeTally is a cell of the table.
type changeTally struct{ runs, struck, done, failed, wrong int }

func TestChangeFaults(t *testing.T) {
	harness.Need(t, "mv", "cp", "mkdir", "rmdir")
	forEachRealServer(t, testChangeFaults)
}

func testChangeFaults(t *testing.T, start func(t *testing.T) server) {
	var mu sync.Mutex
	cells := map[string]*changeTally{}
	// Each act meets each fault on one of the servers, or on all.
	cuts, all := 2, os.Getenv(allFaults) != ""
	if all {
		cuts = allFaultCuts
	}
	turn := slices.Index([]string{"dovecot", "cyrus", "courier"}, filepath.Base(t.Name()))
	acts := changeActs(start(t).Account)
	t.Run("matrix", func(t *testing.T) {
		for i, act := range acts {
			// What the act takes from the server, without any fault.
			r := &changeRun{act: act}
			r.run(t, start(t), fault{}, 0)
			if r.failed > 0 && act.name != "rmdir of what is full" {
				t.Errorf("%s: %d fail without a fault: %s", act.name, r.failed, r.said)
			}
			for j, f := range changeFaults {
				if !all && (i+j+turn)%3 != 0 {
					continue
				}
				places := []int64{r.taken / 2}
				switch f.name {
				case cutSent:
					places = []int64{1500, 9000}
				case cutAfter:
					places = nil
					for i := range int64(cuts) {
						places = append(places, 1+(2*i+1)*r.taken/int64(2*cuts))
					}
				}
				for _, at := range places {
					t.Run(fmt.Sprintf("%s/%s/%d", act.name, f.name, at), func(t *testing.T) {
						t.Parallel()
						r := &changeRun{act: act}
						r.run(t, start(t), f, at)
						mu.Lock()
						defer mu.Unlock()
						key := act.name + "|" + f.name
						c := cells[key]
						if c == nil {
							c = &changeTally{}
							cells[key] = c
						}
						c.runs++
						if r.struck {
							c.struck++
						}
						c.done, c.failed, c.wrong = c.done+r.done, c.failed+r.failed, c.wrong+r.wrong
					})
				}
			}
		}
	})
	t.Logf("%-22s %-18s %4s %6s %5s %6s %5s", "act", "fault", "runs", "struck", "done", "failed", "wrong")
	for _, act := range acts {
		for _, f := range changeFaults {
			if c := cells[act.name+"|"+f.name]; c != nil {
				t.Logf("%-22s %-18s %4d %6d %5d %6d %5d", act.name, f.name, c.runs, c.struck, c.done, c.failed, c.wrong)
			}
		}
	}
}

// changeRun is one act with one fault.
type changeRun struct {
	act                 changeAct
	taken               int64 // bytes from the server
	struck              bool
	done, failed, wrong int
	said                string
}

func (r *changeRun) run(t *testing.T, s server, f fault, at int64) {
	r.act.prepare(t, s)
	l := newLine(t, s.Account)
	connections := "4"
	switch f.name {
	case "reset":
		l.resettable(t)
	case cutAfter, "":
		connections = "1"
	}
	root := harness.Mount(t, l.Account, "--timeout", faultTimeout.String(), "--connections", connections)
	mnt, local := l.Top(root), t.TempDir()
	for i := range changesEach {
		raw := fmt.Sprintf("Subject: local %d\r\nMessage-ID: <local%[1]d@example.org>\r\n\r\n%s\r\n", i, strings.Repeat("Some more of it.\r\n", 200))
		harness.Must(t, os.WriteFile(filepath.Join(local, fmt.Sprint(i, ".eml")), []byte(raw), 0o600))
	}
	before := l.wire.count()
	var tripped <-chan struct{}
	var placed chan<- struct{}
	switch f.name {
	case "":
	case cutSent:
		harness.Must(t, l.disturb("limit_data", "upstream", fmt.Sprintf(`"bytes": %d`, at)))
	case cutAfter:
		harness.Must(t, l.disturb("limit_data", "downstream", fmt.Sprintf(`"bytes": %d`, at)))
		tripped, placed = l.wire.arm(at)
	default:
		tripped, placed = l.wire.arm(at)
	}
	said := make([]bool, changesEach) // that it is done
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range changesEach {
			ctx, cancel := context.WithTimeout(t.Context(), harness.Within)
			args := r.act.command(mnt, local, i)
			out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
			if ctx.Err() != nil {
				t.Errorf("%q does not end", args)
			}
			cancel()
			if said[i] = err == nil; err != nil {
				r.said += string(out)
			}
		}
	}()
	if f.name != "" {
		if tripped != nil {
			select {
			case <-tripped:
				r.struck = true
			case <-ended:
				l.wire.disarm()
			}
			harness.Must(t, f.strike(s, l))
			close(placed)
		}
		<-time.After(f.lasts)
		l.heal(t)
		if f.end != nil {
			harness.Must(t, f.end(s, l))
		}
	}
	<-ended
	r.taken = l.wire.count() - before
	for _, done := range said {
		if done {
			r.done++
		} else {
			r.failed++
		}
	}
	// What was on its way when a program gave up may still be done, or taken back.
	wrong := func() (list []string) {
		state := stateOf(t, s)
		for i, done := range said {
			if what := r.act.check(state, i, done); what != "" {
				list = append(list, fmt.Sprintf("%s %d, done: %v: %s", r.act.name, i, done, what))
			}
		}
		return list
	}
	for deadline := time.Now().Add(settles); len(wrong()) > 0 && time.Now().Before(deadline); {
		<-time.After(200 * time.Millisecond)
	}
	harness.Unmount(t, root)
	list := wrong()
	if r.wrong = len(list); r.wrong > 0 {
		t.Errorf("%s; the programs said:\n%s", strings.Join(list, "\n"), r.said)
	}
	state := stateOf(t, s)
	if got := len(state[s.Mailbox(faultFolder)]) + len(state[s.Mailbox("After")]); got < faultMessages+1 {
		t.Errorf("%d messages are left of %d", got, faultMessages+1)
	}
	if !slices.Contains(state[s.Mailbox("Large")], "number 1") {
		t.Error("the message of Large is lost")
	}
}
