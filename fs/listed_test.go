package fs

import (
	"errors"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// TestListingLoadsNothing lists a message and its attachments where OPEN is to be
// spared, which wants exact sizes. What is not here is only named: it is loaded
// when somebody looks it up.
func TestListingLoadsNothing(t *testing.T) {
	raw, _ := bigMessage()
	loads := 0
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{7: {Raw: raw, Claimed: int64(len(raw))}}, Fails: func(section string, _ int64) error {
		loads++
		return errors.New("loading " + section)
	}}
	fsys := newFS(t, f, 0)
	fsys.onlyExact.Store(true)
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}
	n := fsys.messageWith(id, messageNumbers(id))
	for _, dir := range []struct {
		name string
		open func() (any, uint32, syscall.Errno)
		want int
	}{
		{"the message", func() (any, uint32, syscall.Errno) { return n.OpendirHandle(t.Context(), 0) }, 2},
		{"attachments", func() (any, uint32, syscall.Errno) {
			return n.newAttachments().OpendirHandle(t.Context(), 0)
		}, 1},
	} {
		handle, _, errno := dir.open()
		if errno != 0 {
			t.Fatal(errno)
		}
		l, files := handle.(*listing), 0
		for {
			e, errno := l.Readdirent(t.Context())
			if e == nil || errno != 0 {
				break
			}
			if e.Mode&syscall.S_IFMT == syscall.S_IFDIR {
				continue
			}
			files++
			if _, errno := l.Lookup(t.Context(), e.Name, &fuse.EntryOut{}); errno != syscall.ENOENT {
				t.Errorf("%s: %s is looked up with %v, want only a name", dir.name, e.Name, errno)
			}
		}
		if files != dir.want || loads > 0 {
			t.Errorf("%s: %d files, want %d; %d loads, want none", dir.name, files, dir.want, loads)
		}
	}
}
