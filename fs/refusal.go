package fs

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"imapfs/mail"
)

// Where a file manager shows "Operation not permitted", the log says what cannot be done,
// why, and what can. The words are here; of what the server refuses they are its own.

// refusal says why the mount does not do something, and what can be done.
type refusal struct {
	why   string
	errno syscall.Errno
}

func (r *refusal) Error() string { return r.why }

var (
	errFixed     = &refusal{"what is in a message cannot be changed; copy it to elsewhere, and change the copy", syscall.EPERM}
	errFull      = &refusal{"nothing can be put into a message; a new one is a file *.eml that is put into a folder", syscall.EPERM}
	errNoPlace   = &refusal{"a folder takes messages, folders and files *.eml; a message is moved as a whole, and what is in it can be copied to elsewhere", syscall.EPERM}
	errOwner     = &refusal{"all that is here belongs to who has mounted it; -o allow_other and --umask let others in", syscall.EPERM}
	errFlagsFile = &refusal{`the file of the flags is there as long as the message; an empty line takes the flags away: echo > flags`, syscall.EPERM}
	errTells     = &refusal{"this file only tells; read it", syscall.EPERM}
	errShows     = &refusal{"it still shows files; rm -r, or a file manager's delete, deletes a message", syscall.ENOTEMPTY}
	errUnsent    = &refusal{"a file that is no message yet is in it; delete that, or call it *.eml", syscall.ENOTEMPTY}

	errNumber    = &refusal{"the name of a message ends in its number, which the server gives, and stays; it can be moved to another folder", syscall.EPERM}
	errNewNumber = &refusal{"a message is moved to another folder under its own number, and the server gives a new one; no folder has this name: mkdir makes it, if that was meant", syscall.EPERM}
	errNoMailbox = &refusal{"this folder holds only folders; messages can be put into those", syscall.EPERM}
	errFolder    = &refusal{"there is a folder of this name; choose another name, or put it into that folder", syscall.EEXIST}
	errTaken     = &refusal{"there is a folder of this name; choose another name, like x.eml", syscall.EPERM}
	errDirectory = &refusal{"this is the name of a message's directory; a new message is a file *.eml: cp INBOX/483/message.eml Archive/x.eml", syscall.EPERM}
	errSent      = &refusal{"it is a message by now; move its directory", syscall.EPERM}
	errName      = &refusal{"only messages can be put into a folder, as files *.eml that begin with a header", syscall.EINVAL}
	errHeader    = &refusal{"it does not begin with a header, so it is no message; the first line of one is like Subject: hello", syscall.EINVAL}

	errInTrash   = &refusal{"it is in the trash already; rm -r, or a file manager's delete, deletes it for good", syscall.EPERM}
	errNotTrash  = &refusal{"only whole messages can be put into the trash; an empty folder is deleted with rmdir, one with all in it with rm -r", syscall.EPERM}
	errTrashStay = &refusal{"the directories of the trash stay; what is in them can be deleted", syscall.EPERM}

	errLikeMessage = &refusal{"this is how a message is called; a folder can have this name with .folder behind it, and a message is moved with mv, or copied as a file: cp INBOX/483/message.eml Archive/x.eml", syscall.EPERM}
	errDotFolder   = &refusal{"folders with a dot in front are what file managers make for themselves; choose a name without", syscall.EPERM}
	errFolderName  = &refusal{"a mailbox cannot have this name, or would be shown by another one; choose another name", syscall.EINVAL}
)

// remedies are what can be done where the server refuses. The first one counts.
var remedies = []struct {
	err error
	can string
}{
	{mail.ErrReadOnly, "what is there can be read, and copied to elsewhere"},
	{mail.ErrUnsupported, "it can be copied, cp INBOX/483/message.eml Archive/x.eml; deleting is left to another mail program"},
	{mail.ErrExists, "choose another name"},
	{mail.ErrInUse, "what is in it can be moved and deleted"},
	{mail.ErrNoRoom, "it takes mail again when some is deleted, also from the trash"},
	{mail.ErrTooLarge, "a smaller one can be put there, as with an attachment less"},
	{mail.ErrFlag, "flags are words like +Flagged -Seen, or Seen Answered for all that there is to be"},
	{mail.ErrRefused, "nothing was changed"},
}

// isRefused tells whether err is that somebody does not want what was to be done.
func isRefused(err error) bool {
	if _, ok := errors.AsType[*refusal](err); ok || errors.Is(err, mail.ErrForbidden) || errors.Is(err, mail.ErrNoMessage) {
		return true
	}
	return remedyFor(err) != ""
}

func remedyFor(err error) string {
	for _, r := range remedies {
		if errors.Is(err, r.err) {
			return r.can
		}
	}
	return ""
}

// unsurprising is what programs deal with, or say in words that are plain.
var unsurprising = []syscall.Errno{syscall.ENOENT, syscall.ENOTEMPTY, syscall.ESTALE, syscall.ETIMEDOUT, syscall.EINTR}

// outcome is errno for what was to change something. What is refused is shown on the
// desktop too, if that is wanted.
func (fsys *FS) outcome(verb, object string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if can := remedyFor(err); can != "" {
		err = withRemedy{err, can}
	}
	errno := fsys.errno(verb, object, err)
	if isRefused(err) && !slices.Contains(unsurprising, errno) && fsys.opt.Refused != nil {
		fsys.opt.Refused("Cannot "+verb+" "+object, err.Error())
	}
	return errno
}

type withRemedy struct {
	error
	can string
}

func (r withRemedy) Error() string { return r.error.Error() + "; " + r.can }
func (r withRemedy) Unwrap() error { return r.error }

// decline refuses what programs try by themselves, and go on without.
func (fsys *FS) decline(verb, object string, r *refusal) syscall.Errno {
	fsys.failures.log(slog.LevelInfo, verb, object, r.errno, r)
	return r.errno
}

// Of failures of one kind so many different lines are logged in that time, so that a loop
// does not fill the log. The others are counted, and with -v they are all there.
const (
	mostFailures    = 5
	failuresCounted = time.Minute
)

// failures bounds what is logged of what has failed.
type failures struct {
	out *slog.Logger

	mu    sync.Mutex // guards what follows
	kinds map[kindOfFailure]*failuresOfKind
}

// kindOfFailure is a verb with what it failed with; why is "" where the mount has not
// refused it.
type kindOfFailure struct {
	verb  string
	errno syscall.Errno
	why   string
}

// failuresOfKind is what has failed of late.
type failuresOfKind struct {
	lines []string
	more  int // and were not logged
	end   *time.Timer
}

func (fs *failures) log(level slog.Level, verb, object string, errno syscall.Errno, err error) {
	kind, line := kindOfFailure{verb: verb, errno: errno}, object+": "+err.Error()
	if r, ok := errors.AsType[*refusal](err); ok {
		kind.why = r.why
	}
	fs.mu.Lock()
	k := fs.kinds[kind]
	if k == nil {
		k = &failuresOfKind{end: time.AfterFunc(failuresCounted, func() { fs.endOf(kind) })}
		fs.kinds[kind] = k
	}
	if len(k.lines) == mostFailures || slices.Contains(k.lines, line) {
		k.more++
		level = slog.LevelDebug
	} else {
		k.lines = append(k.lines, line)
	}
	fs.mu.Unlock()
	fs.out.Log(context.Background(), level, "cannot "+verb+" "+object, "errno", errno.Error(), "error", err)
}

// endOf begins anew, and tells how many were not logged.
func (fs *failures) endOf(kind kindOfFailure) {
	fs.mu.Lock()
	k := fs.kinds[kind]
	delete(fs.kinds, kind)
	fs.mu.Unlock()
	if k != nil && k.more > 0 {
		fs.out.Warn("cannot "+kind.verb+", as before", "errno", kind.errno.Error(), "error", kind.why, "times", k.more)
	}
}

// close tells what was not logged yet.
func (fs *failures) close() {
	fs.mu.Lock()
	kinds := maps.Clone(fs.kinds)
	fs.mu.Unlock()
	for kind, k := range kinds {
		k.end.Stop()
		fs.endOf(kind)
	}
}
