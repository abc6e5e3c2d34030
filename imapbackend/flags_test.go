package imapbackend

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// seesFlags waits until a message has these flags as far as is known here.
func seesFlags(t *testing.T, b *Backend, n int, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("message %d has %q", n, want), func() bool {
		got, err := b.Flags(t.Context(), msg(uint32(n)))
		return err == nil && got.String() == want
	})
}

func change(text string) mail.FlagChange {
	c, err := mail.ParseFlagChange(text)
	if err != nil {
		panic(err)
	}
	return c
}

// TestSetFlags has a server answer in all ways. An error means that the flags are not all
// as they were to be.
func TestSetFlags(t *testing.T) {
	const adds = `UID STORE 2 +FLAGS.SILENT`
	for name, c := range map[string]struct {
		text  string
		twist twist
		want  string
		err   error
	}{
		"added":              {"+Seen +work", nil, `\Seen work`, nil},
		"whole":              {"Seen", nil, `\Seen`, nil},
		"refused":            {"+Seen", refusing(adds, ""), "old", mail.ErrRefused},
		"not done":           {"+Seen", at(0, adds, func(tag string, _ func() string) string { return tag + " OK done\r\n" }), "old", mail.ErrReadOnly},
		"lost before":        {"+Seen", lostAt(1, adds, false), `old \Seen`, nil},
		"lost behind":        {"+Seen", lostAt(1, adds, true), `old \Seen`, nil},
		"lost for ever":      {"+Seen", lostAt(9, adds, false), "old", errBroken},
		"is not kept":        {"+Flagged", nil, "old", mail.ErrForbidden},
		"deleted":            {"+Deleted", nil, "old", mail.ErrForbidden},
		"whole with deleted": {"Seen Deleted", nil, "old", mail.ErrForbidden},
		"gone":               {"+Seen", at(0, "UID FETCH 2 ", func(tag string, _ func() string) string { return tag + " OK\r\n" }), `old \Seen`, mail.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount("UIDPLUS")
			a.boxes["INBOX"].messages[2].flags = " old"
			a.twist = func(tag, command string, do func() string) string {
				answer := ""
				if c.twist != nil {
					answer = c.twist(tag, command, do)
				} else {
					answer = do()
				}
				return strings.ReplaceAll(answer, `(\Deleted \Seen)`, `(\Deleted \Seen \*)`)
			}
			b := listed(t, a.start(t))
			err := b.SetFlags(t.Context(), "INBOX", 7, []uint32{2}, change(c.text))
			if !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if got := strings.TrimSpace(a.boxes["INBOX"].messages[2].flags); got != c.want && !(c.text == "+Seen +work" && strings.HasPrefix(got, "old ")) {
				t.Errorf("the server has %q, want %q", got, c.want)
			}
		})
	}
}

// TestFlagsReported has the server report changed flags without saying of which message:
// they are asked for, and what is reported is taken for that of no other.
func TestFlagsReported(t *testing.T) {
	for _, caps := range []string{"", "CONDSTORE"} {
		a := newAccount(caps)
		since := 0   // commands that ask for what has changed
		others := "" // what another client does while an answer is on its way
		a.twist = func(tag, command string, do func() string) string {
			if tag != "" && strings.HasPrefix(command, "UID FETCH") && strings.Contains(command, "FLAGS") {
				report := others
				if others = ""; report != "" {
					a.boxes["INBOX"].messages[1].flags = ` \Flagged`
				}
				if strings.Contains(command, "CHANGEDSINCE 5)") {
					since++
					return "* 1 FETCH (UID 1 FLAGS (\\Flagged) MODSEQ (9))\r\n" + tag + " OK done\r\n"
				}
				answer := report + do()
				if caps != "" {
					answer = strings.ReplaceAll(answer, "FLAGS (", "MODSEQ (5) FLAGS (")
				}
				return answer
			}
			return do()
		}
		b := listed(t, a.start(t))
		seesFlags(t, b, 1, "")
		a.mu.Lock()
		others = "* 1 FETCH (FLAGS (\\Flagged))\r\n"
		a.mu.Unlock()
		seesFlags(t, b, 2, "")
		seesFlags(t, b, 1, "Flagged")
		a.mu.Lock()
		if (since > 0) != (caps != "") {
			t.Errorf("%q: asked %d times for what has changed since", caps, since)
		}
		a.mu.Unlock()
		if err := b.folder("INBOX").agreesFlags(map[uint32]string{1: "Flagged", 2: "", 3: ""}); err != nil {
			t.Error(err)
		}
	}
}

// TestFlagsReportedForNothing has the server report changed flags whenever it is asked for
// them. It is asked ever more seldom.
func TestFlagsReportedForNothing(t *testing.T) {
	a := newAccount("")
	asked := 0
	a.twist = func(tag, command string, do func() string) string {
		if tag == "" || !strings.HasPrefix(command, "UID FETCH") || !strings.Contains(command, "FLAGS") {
			return do()
		}
		asked++
		return "* 1 FETCH (FLAGS ())\r\n" + do()
	}
	b := listed(t, a.start(t))
	seesFlags(t, b, 1, "")
	seesFlags(t, b, 2, "")
	f := b.folder("INBOX")
	eventually(t, "the pause grows", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.flags.pause >= 8*flagsPause
	})
	a.mu.Lock()
	n := asked
	a.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	// It doubles each time; where the test is slow it has gone on.
	if most := 5 + bits.Len64(uint64(f.flags.pause/flagsPause)); n > most {
		t.Errorf("asked %d times, for a pause of %v", n, f.flags.pause)
	}
}

// agreesFlags compares the flags that are known.
func (f *folder) agreesFlags(want map[uint32]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, number := range f.flags.of {
		words, isWanted := want[f.uids[i]]
		if known := number != 0; known != isWanted || known && f.flags.sets[number-1].String() != words {
			return fmt.Errorf("of message %d is known %d of %q, want %q, %t", f.uids[i], number, f.flags.sets, words, isWanted)
		}
	}
	return nil
}

// TestFolderFlags asks for the flags of a folder of a server that does not tell them all at
// once, and never those of one message. What can be told is there, and nothing is asked for
// without a pause.
func TestFolderFlags(t *testing.T) {
	a := newAccount("")
	a.boxes["INBOX"].messages[3].flags = ` \Seen`
	asked := 0
	a.twist = func(tag, command string, do func() string) string {
		if tag == "" || !strings.HasPrefix(command, "UID FETCH") || !strings.Contains(command, "FLAGS") {
			return do()
		}
		asked++
		if set := strings.Fields(command)[2]; set != "1" && set != "3" {
			return tag + " NO internal error\r\n"
		}
		return do()
	}
	b := listed(t, a.start(t))
	for range 3 {
		all, err := b.FolderFlags(t.Context(), "INBOX")
		if got := fmt.Sprint(all, err); got != "[{1 } {3 Seen}] <nil>" {
			t.Errorf("got %s", got)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if asked > 6 {
		t.Errorf("asked %d times", asked)
	}
}

// TestAskable divides UIDs so that all are there, in sets that fit into a line.
func TestAskable(t *testing.T) {
	for _, step := range []uint32{1, 2} {
		var uids []uint32
		for n := range uint32(50_001) {
			uids = append(uids, 4_000_000_000+n*step)
		}
		batches := askable(uids, false)
		var all []imap.UID
		for _, b := range batches {
			nums, _ := b.Nums()
			if all = append(all, nums...); len(b.String()) > 8000 || len(nums) > mostFlags || len(nums) == 0 {
				t.Fatalf("step %d: %d messages in %d bytes", step, len(nums), len(b.String()))
			}
		}
		if !slices.EqualFunc(all, uids, func(a imap.UID, b uint32) bool { return uint32(a) == b }) {
			t.Errorf("step %d: not the same", step)
		}
		if changed := askable(uids, true); len(changed) != 1 || !changed[0].Contains(imap.UID(uids[0])) || !changed[0].Contains(imap.UID(uids[len(uids)-1])) {
			t.Errorf("step %d: for what has changed %v", step, changed)
		}
		if most := 50_001/mostFlags + 1; step == 1 && len(batches) > most {
			t.Errorf("%d batches, want %d", len(batches), most)
		}
	}
	if len(askable(nil, false))+len(askable(nil, true)) > 0 {
		t.Error("none are some")
	}
}

// TestFlagsStored writes flags down and reads them again, also those of other UIDs, and
// of what is broken.
func TestFlagsStored(t *testing.T) {
	var g flagged
	uids := []uint32{3, 4, 5, 9, 10, 1023}
	of := []uint32{g.number(nil), 0, g.number(mail.Flags{"Seen"}), g.number(mail.Flags{"Seen"}), g.number(mail.Flags{"Seen", "work"}), 0}
	raw := g.encode(uids, of)
	for _, now := range [][]uint32{uids, {1, 3, 5, 6, 10}, {4}, nil} {
		var h flagged
		got := make([]uint32, len(now))
		h.decode(raw, now, got)
		for i, uid := range now {
			want := "unknown"
			if at := slices.Index(uids, uid); at >= 0 && of[at] != 0 {
				want = g.sets[of[at]-1].String()
			}
			have := "unknown"
			if got[i] != 0 {
				have = h.sets[got[i]-1].String()
			}
			if have != want {
				t.Errorf("%d: %q, want %q", uid, have, want)
			}
		}
	}
	for n := range raw {
		var h flagged
		h.decode(raw[:n], uids, make([]uint32, len(uids)))
		broken := slices.Clone(raw)
		broken[n] ^= 0xff
		h.decode(broken, uids, make([]uint32, len(uids)))
	}
}
