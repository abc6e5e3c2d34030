package fs

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

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
	fakemail.Server
	listing mail.Listing
}

func (f *listOnly) Messages(context.Context, string) (mail.Listing, error) { return f.listing, nil }

func (f *listOnly) Known(mail.ID) (mail.Attr, bool, error) {
	return mail.Attr{Size: 1, Date: time.Unix(1e9, 0)}, true, nil
}
