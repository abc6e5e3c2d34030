package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

func TestErrno(t *testing.T) {
	fsys := newFS(t, &fakemail.Server{}, 0)
	for _, test := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0},
		{context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
		{mail.ErrTimeout, syscall.ETIMEDOUT},
		{mail.ErrNotFound, syscall.ENOENT},
		{mail.ErrStale, syscall.ESTALE},
		{mail.ErrReadOnly, syscall.EACCES},
		{mail.ErrRefused, syscall.EIO},
		{mail.ErrUnsupported, syscall.ENOTSUP},
		{errors.New("connection reset"), syscall.EIO},
	} {
		if got := fsys.errno("try", "it", test.err); got != test.want {
			t.Errorf("%v is %v, want %v", test.err, got, test.want)
		}
		if test.err == nil {
			continue
		}
		if got := fsys.errno("try", "it", fmt.Errorf("fetch: %w", test.err)); got != test.want {
			t.Errorf("%v, wrapped, is %v, want %v", test.err, got, test.want)
		}
	}
}
