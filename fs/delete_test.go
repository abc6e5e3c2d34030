package fs

import (
	"context"
	"syscall"
	"testing"

	"imapfs/mail"
)

func TestDeletionGoesOnWithoutItsCaller(t *testing.T) {
	f := &fakeMail{validity: 1, messages: map[uint32]fakeMessage{7: {raw: smallMessage}}}
	fsys := newFS(t, f, 0)
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}
	n := &messageNode{fsys: fsys, id: id}
	f.mu.Lock() // the server does not answer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if errno := fsys.delete(ctx, id); errno != syscall.EINTR {
		t.Errorf("an interrupted deletion gives %v, want EINTR", errno)
	}
	if n.isDeleted() {
		t.Error("deleted before the server has said so")
	}
	f.mu.Unlock()
	eventually(t, "the message is known to be deleted", n.isDeleted)
	if errno := n.Unlink(t.Context(), headersName); errno != 0 {
		t.Errorf("the rest of the rm -r: %v", errno)
	}
}

func TestRefusedDeletionChangesNothing(t *testing.T) {
	f := &fakeMail{validity: 1, messages: map[uint32]fakeMessage{7: {raw: smallMessage}}, refuses: mail.ErrRefused}
	fsys := newFS(t, f, 0)
	n := &messageNode{fsys: fsys, id: mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}}
	if errno := n.Unlink(t.Context(), bodyName); errno != syscall.EIO {
		t.Errorf("a refused deletion gives %v, want EIO", errno)
	}
	if n.isGoing() || len(f.messages) != 1 {
		t.Error("something has changed")
	}
}
