package fs

import (
	"bytes"
	"context"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// TestNoEstimateIsKeptOfAnOpenFile has a file opened while its size is estimated.
func TestNoEstimateIsKeptOfAnOpenFile(t *testing.T) {
	raw := append([]byte("Subject: large\r\n\r\n"), bytes.Repeat([]byte("x\r\n"), 100_000)...)
	f := &meanwhile{}
	f.Validity, f.Mail = 1, map[uint32]fakemail.Message{7: {Claimed: int64(len(raw)), Raw: raw}}
	id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 7}
	m := newFS(t, f, 64<<20).messageWith(id, messageNumbers(id))
	n := &fileNode{message: m, content: m.content.File(content.Body, nil)}
	n.told.void() // opening it tells the kernel nothing then
	f.happens = func() { n.told.open(0, false, false) }
	var out fuse.AttrOut
	if errno := n.Getattr(t.Context(), nil, &out); errno != 0 {
		t.Fatal(errno)
	}
	if out.Timeout() != 0 {
		t.Errorf("the kernel may keep an estimate for %v while the file is open", out.Timeout())
	}
}

// meanwhile is a server where something happens while it is asked for a structure.
type meanwhile struct {
	fakemail.Server
	happens func()
}

func (f *meanwhile) Structure(ctx context.Context, id mail.ID) (*mail.Part, error) {
	f.happens()
	return f.Server.Structure(ctx, id)
}
