package fs

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// TestSlipIsDoneInTime has what is written wait for a server that says nothing: whoever
// closes the file does not wait for ever.
func TestSlipIsDoneInTime(t *testing.T) {
	fsys, err := newFSOf(&fakemail.Server{Validity: 1}, 1<<20, Options{Timeout: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	n := &slipNode{fsys: fsys, do: func(ctx context.Context, _ string) syscall.Errno {
		<-ctx.Done()
		return fsys.errno("wait", "it", context.Cause(ctx))
	}}
	if _, errno := n.Write(context.Background(), nil, []byte("x"), 0); errno != 0 {
		t.Fatal(errno)
	}
	want := fsys.errno("wait", "it", mail.ErrTimeout)
	if errno := n.Flush(context.Background(), nil); errno != want {
		t.Errorf("%v, want %v", errno, want)
	}
}
