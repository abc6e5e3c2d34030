package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// aheadMail is fakeMail with n small messages that notes what it is asked for.
type aheadMail struct {
	*fakeMail

	mu      sync.Mutex // guards what follows
	starts  [][]uint32 // UIDs of each FetchStarts
	singles []uint32   // UIDs of each Fetch
	came    chan uint32
	refuse  bool
}

func newAheadMail(n int) *aheadMail {
	f := &fakeMail{folders: inbox, validity: 1, messages: make(map[uint32]fakeMessage)}
	for uid := range uint32(n) {
		raw := fmt.Appendf(nil, "Subject: %d\r\n\r\ntext of %d\r\n%01000d\r\n", uid+1, uid+1, 0)
		f.messages[uid+1] = fakeMessage{claimed: int64(len(raw)), raw: raw}
	}
	return &aheadMail{fakeMail: f, came: make(chan uint32, n)}
}

func (f *aheadMail) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	f.mu.Lock()
	f.singles = append(f.singles, id.UID)
	f.mu.Unlock()
	return f.fakeMail.Fetch(id, section, off, n)
}

func (f *aheadMail) FetchStarts(folder string, l mail.Listing, n int64, take func(uint32, []byte)) error {
	f.mu.Lock()
	f.starts = append(f.starts, slices.Clone(l.UIDs))
	refuse := f.refuse
	f.mu.Unlock()
	if refuse {
		return mail.ErrTimeout
	}
	return f.fakeMail.FetchStarts(folder, l, n, func(uid uint32, b []byte) {
		take(uid, b)
		f.came <- uid
	})
}

func (f *aheadMail) asked() (singles, ahead []uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.singles), slices.Concat(f.starts...)
}

// open reads a message's text like a program does.
func open(t *testing.T, fsys *FS, uid uint32) {
	t.Helper()
	n := &messageNode{fsys: fsys, id: mail.ID{Folder: "INBOX", UIDValidity: 1, UID: uid}}
	s, err := n.small(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("text of %d\n", uid); string(s.body()[:len(want)]) != want {
		t.Fatalf("message %d: %q", uid, s.body())
	}
}

func TestWalkIsReadAhead(t *testing.T) {
	const n = 2000
	f := newAheadMail(n)
	fsys := newFS(t, f, 64<<20)
	for uid := range uint32(n) {
		open(t, fsys, uid+1)
	}
	singles, ahead := f.asked()
	// The first ones, and some that the reader came to at the same moment:
	// this server answers in no time at all.
	if len(singles) > n/2 {
		t.Errorf("%d messages were fetched one by one", len(singles))
	}
	slices.Sort(ahead)
	if len(slices.Compact(slices.Clone(ahead))) != len(ahead) || len(ahead)+len(singles) != n {
		t.Errorf("%d messages were read ahead and %d not, want %d together, none twice", len(ahead), len(singles), n)
	}
	if f.mu.Lock(); len(f.starts) > n/10 {
		t.Errorf("%d commands for %d messages", len(f.starts), n)
	}
	f.mu.Unlock()
}

func TestReadingAheadIsBounded(t *testing.T) {
	f := newAheadMail(2000) // 2 MB
	fsys := newFS(t, f, 64<<20)
	for uid := range uint32(aheadRun) {
		open(t, fsys, uid+1)
	}
	<-f.came
	// The reader has stopped. All that was begun comes to its end.
	for fsys.walks.busy() {
		runtime.Gosched()
	}
	if _, ahead := f.asked(); len(ahead)*1000 > aheadFirst {
		t.Errorf("%d messages of 1000 bytes were read ahead, want no more than %d bytes", len(ahead), aheadFirst)
	}
}

func TestRandomAccessReadsNothingBeside(t *testing.T) {
	const n = 2000
	f := newAheadMail(n)
	fsys := newFS(t, f, 64<<20)
	r := rand.New(rand.NewPCG(1, 2))
	var want []uint32
	for range 300 {
		uid := r.Uint32N(n) + 1
		open(t, fsys, uid)
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
	fsys := newFS(t, f, 64<<20)
	for uid := range uint32(n / 2) {
		open(t, fsys, uid+1)
	}
	f.mu.Lock()
	f.refuse = false
	f.mu.Unlock()
	for fsys.walks.busy() {
		runtime.Gosched()
	}
	for uid := range uint32(2 * aheadRun) {
		open(t, fsys, n/2+uid+1)
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

// TestForgottenLeavesNothing looks up each message of a large folder, as ls -l
// does, and lets the kernel forget them.
func TestForgottenLeavesNothing(t *testing.T) {
	const n = 100_000
	f := &listOnly{listing: mail.Listing{UIDValidity: 1}}
	for uid := range uint32(n) {
		f.listing.UIDs = append(f.listing.UIDs, uid+1)
	}
	fsys := newFS(t, f, 1<<20)
	r := fsys.requests()
	var inbox fuse.EntryOut
	if status := r.Lookup(nil, &fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, "INBOX", &inbox); status != fuse.OK {
		t.Fatal(status)
	}
	ids := make([]uint64, n)
	before := heap()
	for i, uid := range f.listing.UIDs {
		var out fuse.EntryOut
		name := fmt.Sprint(uid)
		if status := r.Lookup(nil, &fuse.InHeader{NodeId: inbox.NodeId}, name, &out); status != fuse.OK {
			t.Fatal(status)
		}
		ids[i] = out.NodeId
	}
	t.Logf("%.0f bytes of heap for each message that the kernel knows", float64(heap()-before)/n)
	for _, id := range ids {
		r.Forget(id, 1)
	}
	after := heap()
	each := (float64(after) - float64(before)) / n
	t.Logf("%.0f bytes of heap for each forgotten message", each)
	if each > 100 {
		t.Errorf("%.0f bytes of heap stay for each forgotten message", each)
	}
	runtime.KeepAlive(r)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// listOnly is a server with a long list of messages.
type listOnly struct {
	fakeMail
	listing mail.Listing
}

func (f *listOnly) Messages(context.Context, string) (mail.Listing, error) { return f.listing, nil }

func (f *listOnly) Known(mail.ID) (mail.Attr, bool, error) {
	return mail.Attr{Size: 1, Date: time.Unix(1e9, 0)}, true, nil
}
