package fs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapfs/cache"
	"imapfs/mail"
)

// mirrorOf returns a file system of fake mail with a cache on disk.
func newMirrored(t *testing.T, f Mail, budget int64) *FS {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	disk, err := cache.OpenDisk(t.TempDir(), budget, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	fsys, err := New(f, cache.New(4<<20, disk), Options{Timeout: time.Minute, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// mirror runs the mirror until it is complete, or rests for another reason.
func runMirror(t *testing.T, fsys *FS, patterns ...string) Progress {
	t.Helper()
	m := newMirror(fsys, patterns)
	m.rest(m.run(t.Context()))
	return m.progress
}

func letters(n int) *fakeMail {
	f := &fakeMail{validity: 1, messages: make(map[uint32]fakeMessage)}
	for uid := range uint32(n) {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", uid+1, strings.Repeat("x", 5000))
		f.messages[uid+1] = fakeMessage{claimed: int64(len(raw)), raw: raw}
	}
	return f
}

// waiting is mail that is described while a reader waits for a message, and
// that the mirror may fetch only when he has it.
type waiting struct {
	*fakeMail
	t      *testing.T
	fsys   *FS
	served atomic.Bool
}

func (w *waiting) Describe(string, mail.Listing) error {
	w.fsys.busy.begin()
	go func() {
		w.served.Store(true)
		w.fsys.busy.end()
	}()
	return nil
}

func (w *waiting) FetchStarts(folder string, l mail.Listing, n int64, take func(uint32, []byte)) error {
	if !w.served.Load() {
		w.t.Error("the mirror fetches while somebody waits")
	}
	return w.fakeMail.FetchStarts(folder, l, n, take)
}

func TestMirrorLeavesTheLineToReaders(t *testing.T) {
	for range 20 {
		w := &waiting{fakeMail: letters(20), t: t}
		w.fsys = newMirrored(t, w, 10<<20)
		if p := runMirror(t, w.fsys); !p.Complete || p.Here != 20 {
			t.Fatalf("%+v", p)
		}
	}
}

func TestMirrorThatDoesNotFit(t *testing.T) {
	fsys := newMirrored(t, letters(1000), 1<<20)
	p := runMirror(t, fsys)
	if p.Complete || !strings.Contains(p.Error, "--disk-cache-size") || p.Here == 0 {
		t.Errorf("%+v", p)
	}
	if used := fsys.cache.Disk().Used(); used > 1<<20 {
		t.Errorf("%d bytes on the disk", used)
	}
}

// TestMirrorOfBrokenMail has a large message in which the server sees other
// parts than Parse does: each file is still what the server gives.
func TestMirrorOfBrokenMail(t *testing.T) {
	attachment := strings.Repeat("0123456789abcdef\r\n", 20_000)
	raw := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/x\r\n\r\n" + attachment + "\r\n--b--\r\n"
	for name, change := range map[string]func(m *fakeMessage){
		"agreed":       func(*fakeMessage) {},
		"another size": func(m *fakeMessage) { m.root.Children[1].Size -= 100; m.parts["2"] = []byte("other bytes") },
		"another type": func(m *fakeMessage) { m.root.Children[1].Type = "audio/x"; m.parts["2"] = []byte("other bytes") },
		"a lying size": func(m *fakeMessage) { m.claimed += 5000 },
	} {
		t.Run(name, func(t *testing.T) {
			m := fakeMessage{claimed: int64(len(raw)), raw: []byte(raw), root: mail.Parse([]byte(raw)), parts: make(map[string][]byte)}
			change(&m)
			f := &fakeMail{validity: 1, messages: map[uint32]fakeMessage{1: m}}
			fsys := newMirrored(t, f, 10<<20)
			if p := runMirror(t, fsys); !p.Complete || p.Here != 1 {
				t.Fatalf("%+v", p)
			}
			f.fails = func(string, int64) error { return io.ErrUnexpectedEOF } // the server is away
			n := &messageNode{fsys: fsys, id: mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}}
			n.numbers = messageNumbers(n.id)
			want := map[kind]string{kindHeaders: "Subject: x\n", kindBody: "text\n", kindRaw: raw, kindAttachment: attachment}
			if other := m.parts["2"]; other != nil {
				want[kindAttachment] = string(other)
			}
			for _, file := range n.files(m.root) {
				size, err := file.exactly(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c, err := file.load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.read(t.Context(), make([]byte, len(raw)+1), 0)
				if err != nil || size != int64(len(got)) || !strings.HasPrefix(string(got), want[file.kind]) {
					t.Errorf("file of kind %d: %d bytes of %d, %v: %.60q", file.kind, len(got), size, err, got)
				}
			}
		})
	}
}

func TestMirrorPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"INBOX", "INBOX", true}, {"INBOX", "INBOX/x", false}, {"*", "a/b", true}, {"Archive/*", "Archive/2024/1", true},
		{"Archive/*", "Archive", false}, {"*x*", "axb", true}, {"*x*", "ab", false}, {"", "", true}, {"a*b*c", "a-b-b-c", true}, {"a*b", "ab-", false},
	} {
		if got := MatchesFolder(c.pattern, c.name); got != c.want {
			t.Errorf("MatchesFolder(%q, %q) is %v", c.pattern, c.name, got)
		}
	}
}

func TestMirrorOnADiskThatCannotBeWritten(t *testing.T) {
	fsys := newMirrored(t, letters(20), 10<<20)
	fsys.cache.Disk().Close()
	m := newMirror(fsys, nil)
	err := m.run(t.Context())
	if m.rest(err); !errors.Is(err, errUnwritten) || m.progress.Complete || m.progress.Here > 0 || len(m.dirty) == 0 {
		t.Errorf("%v, %+v", err, m.progress)
	}
}

// What a reader has in memory alone is not mirrored yet.
func TestMirrorKeepsWhatIsInMemory(t *testing.T) {
	f := letters(1)
	fsys := newMirrored(t, f, 10<<20)
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}
	key := messageKey(id, "", 0, wholeSize)
	if _, err := fsys.cache.Get(t.Context(), key, func() ([]byte, error) { return f.messages[1].raw, nil }); err != nil {
		t.Fatal(err)
	}
	disk := fsys.cache.Disk()
	disk.Delete("") // as if it had been too busy
	if p := runMirror(t, fsys); !p.Complete || !disk.Has(key) {
		t.Errorf("it is not on the disk: %+v", p)
	}
}

// crowd notes how much of large messages is in memory at once: from the first
// fetch of one until it is mirrored.
type crowd struct {
	*fakeMail
	fsys *FS

	mu    sync.Mutex // guards what follows
	begun map[uint32]bool
	most  int64
}

func (c *crowd) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	c.mu.Lock()
	c.begun[id.UID] = true
	sum := int64(0)
	for uid := range c.begun {
		if c.fsys.cache.Disk().Has(layoutKey(mail.ID{Folder: id.Folder, UIDValidity: id.UIDValidity, UID: uid})) {
			delete(c.begun, uid)
		} else {
			sum += c.messages[uid].claimed
		}
	}
	c.most = max(c.most, sum)
	c.mu.Unlock()
	return c.fakeMail.Fetch(id, section, off, n)
}

// TestMirrorStaysWithinTheCache mirrors large messages with a small cache in
// memory: no more of them are taken apart at once than half of it has room for,
// twice each.
func TestMirrorStaysWithinTheCache(t *testing.T) {
	const each = 900 << 10
	f := &fakeMail{validity: 1, messages: make(map[uint32]fakeMessage)}
	for uid := range uint32(12) {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", uid+1, strings.Repeat("All work and no play\r\n", each/22))
		f.messages[uid+1] = fakeMessage{claimed: int64(len(raw)), raw: raw}
	}
	c := &crowd{fakeMail: f, begun: make(map[uint32]bool)}
	c.fsys = newMirrored(t, c, 64<<20)
	if c.fsys.mirrorWhole() < each {
		t.Fatal("these messages are not kept whole")
	}
	if p := runMirror(t, c.fsys); !p.Complete || p.Here != 12 {
		t.Fatalf("%+v", p)
	}
	if room := c.fsys.cache.Budget() / 2; c.most == 0 || 2*c.most > room {
		t.Errorf("%d bytes of messages at once, twice; there is room for %d", c.most, room)
	}
}

// TestRenewedOnItsWay renumbers a folder while a message of it is fetched, to be
// read or to be mirrored. What comes is not kept, but the new one is.
func TestRenewedOnItsWay(t *testing.T) {
	for _, mirrored := range []bool{false, true} {
		f := letters(1)
		fsys := newMirrored(t, f, 10<<20)
		id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}
		f.fails = func(string, int64) error {
			fsys.Changed(mail.Change{Folder: "INBOX", Renewed: true, Was: 1})
			return nil
		}
		n := &messageNode{fsys: fsys, id: id, numbers: messageNumbers(id), mirrored: mirrored}
		if _, err := n.piece(t.Context(), "", 0, wholeSize); err != nil {
			t.Fatal(err)
		}
		f.fails, f.validity = nil, 2
		if p := runMirror(t, fsys); !p.Complete {
			t.Fatalf("%+v", p)
		}
		disk := fsys.cache.Disk()
		disk.Flush()
		if disk.Has(messageKey(id, "", 0, wholeSize)) {
			t.Errorf("mirrored %v: a message of the old folder is kept", mirrored)
		}
		if id.UIDValidity = 2; !disk.Has(messageKey(id, "", 0, wholeSize)) {
			t.Errorf("mirrored %v: the message of the new folder is not kept", mirrored)
		}
	}
}

// Each message counts once, however often the server refuses it.
func TestMirrorCountsRefusedMessagesOnce(t *testing.T) {
	f := letters(3)
	for uid, m := range f.messages {
		m.claimed = wholeSize // so that each is asked for by itself
		f.messages[uid] = m
	}
	f.fails = func(string, int64) error { return mail.ErrRefused }
	fsys := newMirrored(t, f, 10<<20)
	m := newMirror(fsys, nil)
	for range 3 {
		m.changed("INBOX")
		m.rest(m.run(t.Context()))
		if p := m.progress; p.Complete || p.Messages != p.Here+p.NotAvailable {
			t.Fatalf("%+v", p)
		}
	}
	f.fails = nil
	m.changed("INBOX")
	m.rest(m.run(t.Context()))
	if p := m.progress; !p.Complete || p.Here != 3 || p.Messages != 3 {
		t.Errorf("%+v", p)
	}
}
