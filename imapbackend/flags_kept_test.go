package imapbackend

import (
	"fmt"
	"strings"
	"testing"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// counting has the account's server count changes (CONDSTORE). known is what the
// connection knows of: changes with a higher count are those of other clients.
type counting struct {
	*account
	of      map[uint32]int // MODSEQ
	highest int
	known   int
	refuses bool // CHANGEDSINCE
}

func newCounting() *counting {
	c := &counting{account: newAccount("CONDSTORE"), of: make(map[uint32]int), highest: 5, known: 99}
	c.twist = func(tag, command string, do func() string) string {
		answer := do()
		switch {
		case tag == "":
		case strings.HasPrefix(command, "SELECT"):
			return fmt.Sprintf("* OK [HIGHESTMODSEQ %d] x\r\n%s", c.highest, answer)
		case strings.HasPrefix(command, "UID FETCH") && strings.Contains(command, "FLAGS"):
			since, found := 0, strings.Index(command, "CHANGEDSINCE ")
			if found >= 0 {
				fmt.Sscanf(command[found:], "CHANGEDSINCE %d", &since)
				if c.refuses {
					return tag + " NO not now\r\n"
				}
			}
			var some strings.Builder
			for line := range strings.Lines(answer) {
				var n, uid uint32
				if fmt.Sscanf(line, "* %d FETCH (UID %d ", &n, &uid); uid == 0 {
					some.WriteString(line)
				} else if of := max(c.of[uid], 1); since == 0 || of > since && of <= c.known {
					some.WriteString(strings.Replace(line, "FLAGS (", fmt.Sprintf("MODSEQ (%d) FLAGS (", of), 1))
				}
			}
			return some.String()
		}
		return answer
	}
	return c
}

// flag has another client change the flags of a message.
func (c *counting) flag(uid uint32, flags string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.highest++
	c.of[uid] = c.highest
	c.boxes["INBOX"].messages[uid].flags = flags
}

func (c *counting) has(t *testing.T, b *Backend, uid uint32, want string) {
	t.Helper()
	if got, err := b.Flags(t.Context(), msg(uid)); err != nil || got.String() != want {
		t.Errorf("message %d has %q, %v; want %q", uid, got, err, want)
	}
}

// TestFlagsAfterRemount has flags change after a mount has selected the folder, and before
// anybody asks there: of that no report is waited for.
func TestFlagsAfterRemount(t *testing.T) {
	c := newCounting()
	cfg := c.start(t)
	cfg.Store = newMemory()
	c.of[1], c.of[2] = 5, 5
	b := listed(t, cfg)
	c.has(t, b, 1, "")
	c.has(t, b, 2, "")
	b.Close()
	b = listed(t, cfg)
	c.flag(1, ` \Seen`)
	c.has(t, b, 1, "Seen")
	c.has(t, b, 2, "")
}

// TestFlagsStoredAnew has the server refuse to tell what has changed. What it tells then
// instead is stored too.
func TestFlagsStoredAnew(t *testing.T) {
	c := newCounting()
	cfg := c.start(t)
	cfg.Store = newMemory()
	b := listed(t, cfg)
	c.has(t, b, 1, "")
	b.folder("INBOX").save()
	c.flag(1, ` \Seen`)
	c.mu.Lock()
	c.highest, c.of[1] = 5, 5 // as SELECT has told
	c.refuses = true
	c.mu.Unlock()
	f := b.folder("INBOX")
	if err := f.refreshFlags(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.refuses = false
	c.mu.Unlock()
	b.Close()
	b = listed(t, cfg)
	c.has(t, b, 1, "Seen")
}

// TestFlagsToldElsewhere has a connection be told of a change of which the one that is
// asked does not know yet. It is not missed.
func TestFlagsToldElsewhere(t *testing.T) {
	c := newCounting()
	b := listed(t, c.start(t))
	f := b.folder("INBOX")
	c.has(t, b, 1, "")
	c.mu.Lock()
	c.known = 5
	c.mu.Unlock()
	c.flag(1, ` \Seen`)
	f.countedFlags(6)
	if err := f.askForChangedFlags(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.known = 6
	c.mu.Unlock()
	f.mu.Lock()
	f.flagsSoon()
	f.mu.Unlock()
	seesFlags(t, b, 1, "Seen")
}

// TestFlagsLearntMeanwhile has flags of another message become known while it is asked
// what has changed: of that one it was not asked.
func TestFlagsLearntMeanwhile(t *testing.T) {
	c := newCounting()
	b := listed(t, c.start(t))
	f := b.folder("INBOX")
	c.has(t, b, 1, "")
	usual, first := c.twist, true
	c.mu.Lock()
	c.twist = func(tag, command string, do func() string) string {
		if !first || !strings.Contains(command, "CHANGEDSINCE") {
			return usual(tag, command, do)
		}
		first = false
		f.mu.Lock()
		f.flags.stale = false
		f.mu.Unlock()
		f.setFlags(7, wireFlags(2)) // by another connection
		c.highest += 2
		c.of[2], c.of[1] = c.highest-1, c.highest
		c.boxes["INBOX"].messages[2].flags, c.boxes["INBOX"].messages[1].flags = ` \Seen`, ` \Seen`
		return usual(tag, command, do)
	}
	c.mu.Unlock()
	if err := f.askForChangedFlags(); err != nil {
		t.Fatal(err)
	}
	c.has(t, b, 1, "Seen")
	f.mu.Lock()
	f.flags.stale = true // that of message 2 is reported
	f.mu.Unlock()
	c.has(t, b, 2, "Seen")
}

// TestManySets has more sets of flags stored than are told apart in memory.
func TestManySets(t *testing.T) {
	const chunks = mostFlagSets/attrsChunk + 2
	var g flagged
	g.number(nil) // so that it is the middle of a chunk where they are too many
	for chunk := range uint32(chunks) {
		var one flagged
		uids, of := make([]uint32, attrsChunk), make([]uint32, attrsChunk)
		for i := range uids {
			uids[i] = chunk*attrsChunk + uint32(i)
			of[i] = one.number(mail.Flags{fmt.Sprint("k", uids[i])})
		}
		got := make([]uint32, attrsChunk)
		g.decode(one.encode(uids, of), uids, got)
		for i, n := range got {
			if words := g.sets[n-1].String(); words != fmt.Sprint("k", uids[i]) {
				t.Fatalf("%d: %s", uids[i], words)
			}
		}
	}
}

func wireFlags(uid uint32) *wire.Message { return &wire.Message{UID: uid, HasFlags: true, ModSeq: 1} }
