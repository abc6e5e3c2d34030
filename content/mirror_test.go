package content

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"imapfs/cache"
	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// newMirrored returns the content of fake mail with a cache on disk.
func newMirrored(t *testing.T, server Server, budget int64) *Store {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	disk, err := cache.OpenDisk(t.TempDir(), budget, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return New(server, cache.New(4<<20, disk), log)
}

// newTestMirror returns a mirror of all folders that nobody runs.
func newTestMirror(s *Store) *mirror {
	return s.newMirror(func(mail.Folder) bool { return true }, func() {})
}

// runMirror runs the mirror until it is complete, or rests for another reason.
func runMirror(t *testing.T, s *Store) Progress {
	t.Helper()
	m := newTestMirror(s)
	m.rest(m.run(t.Context()))
	return m.progress
}

func letters(n int) *fakemail.Server {
	f := &fakemail.Server{Validity: 1, Mail: make(map[uint32]fakemail.Message)}
	for uid := range uint32(n) {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", uid+1, strings.Repeat("x", 5000))
		f.Mail[uid+1] = fakemail.Message{Claimed: int64(len(raw)), Raw: raw}
	}
	return f
}

// waiting is mail that is described while a reader waits for a message, and
// that the mirror may fetch only when he has it.
type waiting struct {
	*fakemail.Server
	t      *testing.T
	store  *Store
	served atomic.Bool
}

func (w *waiting) Describe(string, mail.Listing) error {
	w.store.busy.begin()
	go func() {
		w.served.Store(true)
		w.store.busy.end()
	}()
	return nil
}

func (w *waiting) FetchStarts(folder string, l mail.Listing, n int64, take func(uint32, []byte)) error {
	if !w.served.Load() {
		w.t.Error("the mirror fetches while somebody waits")
	}
	return w.Server.FetchStarts(folder, l, n, take)
}

func TestMirrorLeavesTheLineToReaders(t *testing.T) {
	for range 20 {
		w := &waiting{Server: letters(20), t: t}
		w.store = newMirrored(t, w, 10<<20)
		if p := runMirror(t, w.store); !p.Complete || p.Here != 20 {
			t.Fatalf("%+v", p)
		}
	}
}

func TestMirrorThatDoesNotFit(t *testing.T) {
	s := newMirrored(t, letters(1000), 1<<20)
	p := runMirror(t, s)
	if p.Complete || !strings.Contains(p.Error, "--disk-cache-size") || p.Here == 0 {
		t.Errorf("%+v", p)
	}
	if used := s.cache.Disk().Used(); used > 1<<20 {
		t.Errorf("%d bytes on the disk", used)
	}
}

// TestMirrorOfBrokenMail has a large message in which the server sees other
// parts than Parse does: each file is still what the server gives.
func TestMirrorOfBrokenMail(t *testing.T) {
	attachment := strings.Repeat("0123456789abcdef\r\n", 20_000)
	raw := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/x\r\n\r\n" + attachment + "\r\n--b--\r\n"
	for name, change := range map[string]func(m *fakemail.Message){
		"agreed":       func(*fakemail.Message) {},
		"another size": func(m *fakemail.Message) { m.Root.Children[1].Size -= 100; m.Parts["2"] = []byte("other bytes") },
		"another type": func(m *fakemail.Message) { m.Root.Children[1].Type = "audio/x"; m.Parts["2"] = []byte("other bytes") },
		"a lying size": func(m *fakemail.Message) { m.Claimed += 5000 },
	} {
		t.Run(name, func(t *testing.T) {
			m := fakemail.Message{Claimed: int64(len(raw)), Raw: []byte(raw), Root: mail.Parse([]byte(raw)), Parts: make(map[string][]byte)}
			change(&m)
			f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{1: m}}
			s := newMirrored(t, f, 10<<20)
			if p := runMirror(t, s); !p.Complete || p.Here != 1 {
				t.Fatalf("%+v", p)
			}
			f.Fails = func(string, int64) error { return io.ErrUnexpectedEOF } // the server is away
			n := s.Message(mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1})
			want := map[Kind]string{Headers: "Subject: x\n", Body: "text\n", Raw: raw, Attachment: attachment}
			if other := m.Parts["2"]; other != nil {
				want[Attachment] = string(other)
			}
			for _, file := range n.files(m.Root) {
				size, err := file.Size(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c, err := file.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.Read(t.Context(), make([]byte, len(raw)+1), 0)
				if err != nil || size != int64(len(got)) || !strings.HasPrefix(string(got), want[file.Kind]) {
					t.Errorf("file of kind %d: %d bytes of %d, %v: %.60q", file.Kind, len(got), size, err, got)
				}
			}
		})
	}
}

func TestMirrorOnADiskThatCannotBeWritten(t *testing.T) {
	s := newMirrored(t, letters(20), 10<<20)
	s.cache.Disk().Close()
	m := newTestMirror(s)
	err := m.run(t.Context())
	if m.rest(err); !errors.Is(err, errUnwritten) || m.progress.Complete || m.progress.Here > 0 || len(m.dirty) == 0 {
		t.Errorf("%v, %+v", err, m.progress)
	}
}

// What a reader has in memory alone is not mirrored yet.
func TestMirrorKeepsWhatIsInMemory(t *testing.T) {
	f := letters(1)
	s := newMirrored(t, f, 10<<20)
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}
	key := startKey(id)
	if _, err := s.cache.Get(t.Context(), key, func() ([]byte, error) { return f.Mail[1].Raw, nil }); err != nil {
		t.Fatal(err)
	}
	disk := s.cache.Disk()
	disk.Delete("") // as if it had been too busy
	if p := runMirror(t, s); !p.Complete || !disk.Has(key) {
		t.Errorf("it is not on the disk: %+v", p)
	}
}

// crowd notes how much of large messages is in memory at once: from the first
// fetch of one until it is mirrored.
type crowd struct {
	*fakemail.Server
	store *Store

	mu    sync.Mutex // guards what follows
	begun map[uint32]bool
	most  int64
}

func (c *crowd) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	c.mu.Lock()
	c.begun[id.UID] = true
	sum := int64(0)
	for uid := range c.begun {
		if c.store.cache.Disk().Has(layoutKey(mail.ID{Folder: id.Folder, UIDValidity: id.UIDValidity, UID: uid})) {
			delete(c.begun, uid)
		} else {
			sum += c.Mail[uid].Claimed
		}
	}
	c.most = max(c.most, sum)
	c.mu.Unlock()
	return c.Server.Fetch(id, section, off, n)
}

// TestMirrorStaysWithinTheCache mirrors large messages with a small cache in
// memory: no more of them are taken apart at once than half of it has room for,
// twice each.
func TestMirrorStaysWithinTheCache(t *testing.T) {
	const each = 900 << 10
	f := &fakemail.Server{Validity: 1, Mail: make(map[uint32]fakemail.Message)}
	for uid := range uint32(12) {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", uid+1, strings.Repeat("All work and no play\r\n", each/22))
		f.Mail[uid+1] = fakemail.Message{Claimed: int64(len(raw)), Raw: raw}
	}
	c := &crowd{Server: f, begun: make(map[uint32]bool)}
	c.store = newMirrored(t, c, 64<<20)
	if c.store.mostWhole() < each {
		t.Fatal("these messages are not kept whole")
	}
	if p := runMirror(t, c.store); !p.Complete || p.Here != 12 {
		t.Fatalf("%+v", p)
	}
	if room := c.store.cache.Budget() / 2; c.most == 0 || 2*c.most > room {
		t.Errorf("%d bytes of messages at once, twice; there is room for %d", c.most, room)
	}
}

// TestRenewedOnItsWay renumbers a folder while a message of it is fetched, to be
// read or to be mirrored. What comes is not kept, but the new one is.
func TestRenewedOnItsWay(t *testing.T) {
	for _, mirrored := range []bool{false, true} {
		f := letters(1)
		s := newMirrored(t, f, 10<<20)
		id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}
		f.Fails = func(string, int64) error {
			s.Changed(mail.Change{Folder: "INBOX", Renewed: true, Was: 1})
			return nil
		}
		n := s.Message(id)
		n.copied = mirrored
		if _, err := n.piece(t.Context(), "", 0, wholeSize); err != nil {
			t.Fatal(err)
		}
		f.Fails, f.Validity = nil, 2
		if p := runMirror(t, s); !p.Complete {
			t.Fatalf("%+v", p)
		}
		disk := s.cache.Disk()
		disk.Flush()
		if disk.Has(startKey(id)) {
			t.Errorf("mirrored %v: a message of the old folder is kept", mirrored)
		}
		if id.UIDValidity = 2; !disk.Has(startKey(id)) {
			t.Errorf("mirrored %v: the message of the new folder is not kept", mirrored)
		}
	}
}

// Each message counts once, however often the server refuses it.
func TestMirrorCountsRefusedMessagesOnce(t *testing.T) {
	f := letters(3)
	for uid, m := range f.Mail {
		m.Claimed = wholeSize // so that each is asked for by itself
		f.Mail[uid] = m
	}
	f.Fails = func(string, int64) error { return mail.ErrRefused }
	s := newMirrored(t, f, 10<<20)
	m := newTestMirror(s)
	for range 3 {
		m.changed("INBOX")
		m.rest(m.run(t.Context()))
		if p := m.progress; p.Complete || p.Messages != p.Here+p.NotAvailable {
			t.Fatalf("%+v", p)
		}
	}
	f.Fails = nil
	m.changed("INBOX")
	m.rest(m.run(t.Context()))
	if p := m.progress; !p.Complete || p.Here != 3 || p.Messages != 3 {
		t.Errorf("%+v", p)
	}
}
