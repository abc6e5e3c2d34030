package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"imapfs/mail"
)

// errno is the one place where an error becomes what a program sees. The rest
// of it goes to the log: what cannot be done, as a verb and its object, and why.
func (fsys *FS) errno(verb, object string, err error) syscall.Errno {
	var e syscall.Errno
	refused, isOurs := errors.AsType[*refusal](err)
	switch {
	case err == nil:
		return 0
	case isOurs:
		e = refused.errno
	case errors.Is(err, context.Canceled):
		return syscall.EINTR // the caller was interrupted: nothing to report
	case errors.Is(err, mail.ErrNotFound):
		return syscall.ENOENT
	case errors.Is(err, mail.ErrNotEmpty):
		// Programs try, and empty it then.
		fsys.failures.log(slog.LevelInfo, verb, object, syscall.ENOTEMPTY, err)
		return syscall.ENOTEMPTY
	case errors.Is(err, mail.ErrStale):
		e = syscall.ESTALE
	case errors.Is(err, mail.ErrReadOnly):
		e = syscall.EACCES
	case errors.Is(err, mail.ErrUnsupported):
		e = syscall.ENOTSUP
	case errors.Is(err, mail.ErrExists):
		e = syscall.EEXIST
	case errors.Is(err, mail.ErrForbidden):
		e = syscall.EPERM
	case errors.Is(err, mail.ErrInUse):
		e = syscall.EBUSY
	case errors.Is(err, mail.ErrNoMessage), errors.Is(err, mail.ErrFlag), errors.Is(err, mail.ErrQuery):
		e = syscall.EINVAL
	case errors.Is(err, mail.ErrNoRoom):
		e = syscall.EDQUOT
	case errors.Is(err, mail.ErrTooLarge):
		e = syscall.EFBIG
	case errors.Is(err, mail.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		e = syscall.ETIMEDOUT
	default:
		e = syscall.EIO
	}
	fsys.failures.log(slog.LevelWarn, verb, object, e, err)
	return e
}
