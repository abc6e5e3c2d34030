package content

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// aheadMail is fakeMail with n small messages that notes what it is asked for.
type aheadMail struct {
	*fakemail.Server

	starts  [][]uint32 // UIDs of each FetchStarts; guarded by Server's lock, as what follows
	singles []uint32   // UIDs of each Fetch
	came    chan uint32
	refuse  bool
}

func newAheadMail(n int) *aheadMail {
	f := &fakemail.Server{Mailboxes: fakemail.Inbox, Validity: 1, Mail: make(map[uint32]fakemail.Message)}
	for uid := range uint32(n) {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\ntext of %d\r\n%01000d\r\n", uid+1, uid+1, 0)
		f.Mail[uid+1] = fakemail.Message{Claimed: int64(len(raw)), Raw: raw}
	}
	return &aheadMail{Server: f, came: make(chan uint32, n)}
}

func (f *aheadMail) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	f.Lock()
	f.singles = append(f.singles, id.UID)
	f.Unlock()
	time.Sleep(100 * time.Microsecond) // no server answers at once
	return f.Server.Fetch(id, section, off, n)
}

func (f *aheadMail) FetchStarts(folder string, l mail.Listing, n int64, take func(uint32, []byte)) error {
	f.Lock()
	f.starts = append(f.starts, slices.Clone(l.UIDs))
	refuse := f.refuse
	f.Unlock()
	if refuse {
		return mail.ErrTimeout
	}
	return f.Server.FetchStarts(folder, l, n, func(uid uint32, b []byte) {
		take(uid, b)
		f.came <- uid
	})
}

func (f *aheadMail) asked() (singles, ahead []uint32) {
	f.Lock()
	defer f.Unlock()
	return slices.Clone(f.singles), slices.Concat(f.starts...)
}

// open reads a message's text like a program does.
func open(t *testing.T, s *Store, uid uint32) {
	t.Helper()
	p, err := s.Message(mail.ID{Folder: "INBOX", UIDValidity: 1, UID: uid}).parse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("text of %d\n", uid); string(p.body()[:len(want)]) != want {
		t.Fatalf("message %d: %q", uid, p.body())
	}
}

func TestWalkIsReadAhead(t *testing.T) {
	const n = 2000
	f := newAheadMail(n)
	s := newStore(t, f, 64<<20)
	for uid := range uint32(n) {
		open(t, s, uid+1)
	}
	singles, ahead := f.asked()
	// The first ones, and some that the reader came to at the same moment.
	if len(singles) > n/2 {
		t.Errorf("%d messages were fetched one by one", len(singles))
	}
	slices.Sort(ahead)
	if len(slices.Compact(slices.Clone(ahead))) != len(ahead) || len(ahead)+len(singles) != n {
		t.Errorf("%d messages were read ahead and %d not, want %d together, none twice", len(ahead), len(singles), n)
	}
	if f.Lock(); len(f.starts) > n/10 {
		t.Errorf("%d commands for %d messages", len(f.starts), n)
	}
	f.Unlock()
}

// TestWalkByNameIsReadAhead reads in the order in which a shell has names, that of text.
func TestWalkByNameIsReadAhead(t *testing.T) {
	const n = 2000
	byName := func(_ string, l mail.Listing) []uint32 {
		return slices.SortedFunc(slices.Values(l.UIDs), func(a, b uint32) int { return strings.Compare(mail.Number(a), mail.Number(b)) })
	}
	f := newAheadMail(n)
	s := newStore(t, f, 64<<20)
	s.ByName(byName)
	l, err := f.Messages(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range byName("INBOX", l) {
		open(t, s, uid)
	}
	singles, ahead := f.asked()
	if len(singles) > n/2 {
		t.Errorf("%d messages were fetched one by one", len(singles))
	}
	slices.Sort(ahead)
	if len(slices.Compact(slices.Clone(ahead))) != len(ahead) || len(ahead)+len(singles) != n {
		t.Errorf("%d messages were read ahead and %d not, want %d together, none twice", len(ahead), len(singles), n)
	}
}

func TestReadingAheadIsBounded(t *testing.T) {
	f := newAheadMail(2000) // 2 MB
	s := newStore(t, f, 64<<20)
	for uid := range uint32(aheadRun) {
		open(t, s, uid+1)
	}
	<-f.came
	// The reader has stopped. All that was begun comes to its end.
	for s.walks.busy() {
		runtime.Gosched()
	}
	if _, ahead := f.asked(); len(ahead)*1000 > aheadFirst {
		t.Errorf("%d messages of 1000 bytes were read ahead, want no more than %d bytes", len(ahead), aheadFirst)
	}
}

func TestRandomAccessReadsNothingBeside(t *testing.T) {
	const n = 2000
	f := newAheadMail(n)
	s := newStore(t, f, 64<<20)
	r := rand.New(rand.NewPCG(1, 2))
	var want []uint32
	for range 300 {
		uid := r.Uint32N(n) + 1
		open(t, s, uid)
		if !slices.Contains(want, uid) {
			want = append(want, uid)
		}
	}
	singles, ahead := f.asked()
	if len(ahead) > 0 || !slices.Equal(singles, want) {
		t.Errorf("%d messages were read ahead; read were %d, want %d", len(ahead), len(singles), len(want))
	}
}

func TestWalkGoesOnAfterAnError(t *testing.T) {
	const n = 300
	f := newAheadMail(n)
	f.refuse = true
	s := newStore(t, f, 64<<20)
	for uid := range uint32(n / 2) {
		open(t, s, uid+1)
	}
	f.Lock()
	f.refuse = false
	f.Unlock()
	for s.walks.busy() {
		runtime.Gosched()
	}
	for uid := range uint32(2 * aheadRun) {
		open(t, s, n/2+uid+1)
	}
	<-f.came
}

// busy tells whether anything is still being read ahead.
func (w *walks) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.recent {
		if r.filling || r.making || r.flight > 0 {
			return true
		}
	}
	return false
}
