package fs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// letterNode is a file that somebody writes into a folder. A message is what its name
// says, *.eml, and its content: it goes to the server when its writer closes it, and
// close says what the server has said (letter_send.go). Programs that write under
// another name and rename at the end get the answer there.
type letterNode struct {
	gofs.Inode
	letter *letter
}

var _ interface {
	gofs.NodeGetattrer
	gofs.NodeSetattrer
	gofs.NodeOpener
	gofs.NodeReader
	gofs.NodeWriter
	gofs.NodeFlusher
	gofs.NodeFsyncer
	gofs.NodeReleaser
} = (*letterNode)(nil)

// letterHandle is a letter that somebody has open.
type letterHandle struct {
	letter *letter
	writes bool // it is open for writing

	// letters.mu guards what follows.
	writer     writer
	unfinished bool // something was written that the writer has not closed since
}

// takes returns where a file of this name can be, and why nowhere.
func (n *folderNode) takes(name string) (named, error) {
	f := n.now()
	_, isMessage := n.fsys.parseName(name)
	switch {
	case f == nil:
		return named{}, mail.ErrNotFound
	case f.Mailbox() == "":
		return named{}, errNoMailbox
	case isMessage:
		return named{}, errDirectory
	case f.Children[name] != nil, name == controlName && n.key == "", name == SearchName:
		return named{}, errTaken
	}
	return named{f.Mailbox(), name}, nil
}

// Create begins a letter.
func (n *folderNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	at, err := n.takes(name)
	if err != nil {
		return nil, nil, 0, n.fsys.outcome("put the file", n.pathOf(name), err)
	}
	l := n.fsys.letters.add(at)
	h := l.handle(ctx, flags)
	return l.entry(ctx, n.EmbeddedInode(), out), h, 0, 0
}

// lookupLetter answers a LOOKUP of a file that is being written into the folder of a
// mailbox; nil if there is none. The kernel may keep none of it.
func (n *folderNode) lookupLetter(ctx context.Context, mailbox, name string, out *fuse.EntryOut) *gofs.Inode {
	l := n.fsys.letters.find(named{mailbox, name})
	if l == nil {
		return nil
	}
	return l.entry(ctx, n.EmbeddedInode(), out)
}

func (l *letter) entry(ctx context.Context, dir *gofs.Inode, out *fuse.EntryOut) *gofs.Inode {
	l.fill(&out.Attr)
	return dir.NewInode(ctx, &letterNode{letter: l}, l.number)
}

func (l *letter) fill(out *fuse.Attr) {
	size := l.size()
	l.fsys.letters.mu.Lock()
	perm, date := l.perm, l.date
	l.fsys.letters.mu.Unlock()
	l.fsys.fill(out, l.number, date, size)
	if perm != 0 {
		out.Mode = out.Mode&^0o777 | perm
	}
}

// size returns how long the content is, in bytes.
func (l *letter) size() int64 {
	if source, copied := l.copyOf(); source != nil {
		return copied
	}
	return l.spool.size()
}

// Unlink takes away the name of a file that is or was being written. What was not sent
// is not sent then; what was is a message, which goes only when its directory does.
func (n *folderNode) Unlink(_ context.Context, name string) syscall.Errno {
	f := n.now()
	if f == nil {
		return syscall.ENOENT
	}
	ls := &n.fsys.letters
	l := ls.find(named{f.Mailbox(), name})
	if l == nil {
		return syscall.ENOENT
	}
	ls.mu.Lock()
	l.removed = true
	free := ls.forget(l)
	ls.mu.Unlock()
	release(free)
	return 0
}

// Fsync implements gofs.NodeFsyncer for those who wait for a name that they have
// written: by then it is where it will be.
func (n *folderNode) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno { return 0 }

func (l *letter) handle(ctx context.Context, flags uint32) *letterHandle {
	h := &letterHandle{letter: l, writes: flags&syscall.O_ACCMODE != syscall.O_RDONLY}
	if h.writes {
		h.writer = writerOf(ctx)
	}
	return h
}

// Open implements gofs.NodeOpener.
func (n *letterNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	gone := false
	n.letter.update(func() {
		if gone = n.letter.gone && n.letter.handles == 0; !gone {
			n.letter.handles++
		}
	})
	if gone {
		return nil, 0, syscall.ESTALE // the kernel looks the name up again
	}
	return n.letter.handle(ctx, flags), fuse.FOPEN_KEEP_CACHE, 0
}

// handle is what a request is about, also where OPEN was spared.
func (n *letterNode) handle(f gofs.FileHandle) *letterHandle {
	if h, ok := f.(*letterHandle); ok {
		return h
	}
	return n.letter.orphan
}

// Getattr implements gofs.NodeGetattrer.
func (n *letterNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.letter.fill(&out.Attr)
	return 0
}

// Setattr changes the size, the date and the permissions, and lets all else be. A date
// that is set becomes that of the message.
func (n *letterNode) Setattr(ctx context.Context, f gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	l := n.letter
	if size, ok := in.GetSize(); ok {
		if errno := l.truncate(ctx, n.handle(f), int64(size)); errno != 0 {
			return errno
		}
	}
	l.update(func() {
		if date, ok := in.GetMTime(); ok {
			l.date, l.dated = date, in.Valid&fuse.FATTR_MTIME_NOW == 0
		}
		if mode, ok := in.GetMode(); ok {
			l.perm = mode & 0o777
		}
	})
	l.fill(&out.Attr)
	return 0
}

// Read implements gofs.NodeReader.
func (n *letterNode) Read(ctx context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	ctx, finish := n.letter.fsys.call(ctx)
	defer finish()
	b, err := n.letter.read(ctx, dest, off)
	if err != nil {
		return nil, n.letter.errno("read", n.letter.String(), err)
	}
	return fuse.ReadResultData(b), 0
}

// read returns len(dest) bytes from offset off, fewer only at the end.
func (l *letter) read(ctx context.Context, dest []byte, off int64) ([]byte, error) {
	if source, copied := l.copyOf(); source != nil {
		return source.readTo(ctx, dest, off, copied)
	}
	count, err := l.spool.ReadAt(dest, off)
	if err == io.EOF {
		err = nil
	}
	return dest[:count], err
}

// Write implements gofs.NodeWriter.
func (n *letterNode) Write(ctx context.Context, f gofs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	count := 0
	errno := n.letter.change(ctx, n.handle(f), func() (err error) {
		count, err = n.letter.spool.WriteAt(data, off)
		return err
	})
	if count > 0 {
		errno = 0 // the rest will fail by itself
	}
	return uint32(count), errno
}

// truncate makes the content size bytes long. Who empties what was sent begins another
// letter.
func (l *letter) truncate(ctx context.Context, h *letterHandle, size int64) syscall.Errno {
	if size == l.size() {
		return 0
	}
	if size > 0 {
		return l.change(ctx, h, func() error { return l.spool.Truncate(size) })
	}
	ctx, finish := l.fsys.call(ctx)
	defer finish()
	if err := l.take(ctx); err != nil {
		return l.fsys.errno("write", l.String(), err)
	}
	err := l.spool.Truncate(0)
	l.give(func() {
		l.source, l.copied, l.broken = nil, 0, nil
		l.changes, l.answered, l.answer, l.sent = 0, 0, nil, nil
		l.date, l.dated = time.Now(), false
	})
	return l.errno("write", l.String(), err)
}

// change has f change the content, for a handle.
func (l *letter) change(ctx context.Context, h *letterHandle, f func() error) syscall.Errno {
	if h == l.orphan {
		w := writerOf(ctx)
		l.update(func() { h.writer = w })
	}
	ctx, finish := l.fsys.call(ctx)
	defer finish()
	if err := l.take(ctx); err != nil {
		return l.fsys.errno("write", l.String(), err)
	}
	err := l.fetchCopied(ctx)
	if err == nil {
		err = f()
	}
	l.give(func() {
		l.changed(h)
		if err != nil && l.broken == nil {
			l.broken = err
		}
	})
	return l.errno("write", l.String(), err)
}

// changed notes that the content has changed. The caller holds letters.mu and the turn.
func (l *letter) changed(h *letterHandle) {
	l.changes++
	l.date, l.dated = time.Now(), false
	if !h.unfinished {
		h.unfinished = true
		l.unfinished++
	}
}

// Fsync implements gofs.NodeFsyncer. Only close can send: nobody knows before whether
// this is all.
func (n *letterNode) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno { return 0 }

// errno is that of an error of a letter, whose own are errnos already.
func (l *letter) errno(verb, object string, err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		l.fsys.failures.log(slog.LevelWarn, verb, object, errno, errno)
		return errno
	}
	return l.fsys.outcome(verb, object, err)
}

func (l *letter) String() string {
	l.fsys.letters.mu.Lock()
	at := l.at
	l.fsys.letters.mu.Unlock()
	return path.Join(l.fsys.shown(at.mailbox), at.name)
}
