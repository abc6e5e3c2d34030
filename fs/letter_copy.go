package fs

import (
	"context"
	"io"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"imapfs/content"
)

var _ gofs.NodeCopyFileRanger = (*fileNode)(nil)

// CopyFileRange notes that a letter gets the content of this message.eml, for which
// the server can be asked instead of sending it. All else, as a copy that does not go
// from the beginning on, is refused: the kernel reads and writes it then.
func (n *fileNode) CopyFileRange(ctx context.Context, _ gofs.FileHandle, offIn uint64, _ *gofs.Inode, to gofs.FileHandle, offOut, length, _ uint64) (uint32, syscall.Errno) {
	h, ok := to.(*letterHandle)
	if !ok || n.content.Kind != content.Raw || offIn != offOut {
		return 0, syscall.ENOTSUP
	}
	ctx, finish := n.message.fsys.call(ctx)
	defer finish()
	size, err := n.content.Size(ctx)
	if err != nil {
		return 0, n.message.errno("tell the size of a file of", err)
	}
	l := h.letter
	if err := l.take(ctx); err != nil {
		return 0, n.message.errno("copy", err)
	}
	off, count := int64(offIn), int64(0)
	errno := syscall.ENOTSUP
	l.give(func() {
		begins := off == 0 && l.source == nil && l.changes == 0
		goesOn := l.source != nil && l.source == n && off == l.copied
		if (begins || goesOn) && l.broken == nil {
			count = min(int64(length), max(size-off, 0), 1<<30)
			errno = 0
		}
		if count > 0 {
			l.source, l.copied = n, off+count
			l.changed(h)
		}
	})
	return uint32(count), errno
}

// copyOf returns the message.eml of which the content is so many bytes, nil for none.
func (l *letter) copyOf() (source *fileNode, copied int64) {
	l.fsys.letters.mu.Lock()
	defer l.fsys.letters.mu.Unlock()
	return l.source, l.copied
}

// fetchCopied brings what was only noted into the spool. The caller has the turn.
func (l *letter) fetchCopied(ctx context.Context) error {
	source, copied := l.copyOf()
	if source == nil {
		return nil
	}
	block := make([]byte, 256<<10)
	for off := int64(0); off < copied; {
		b, err := source.readTo(ctx, block, off, copied)
		if err == nil && len(b) == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == nil {
			_, err = l.spool.WriteAt(b, off)
		}
		if err != nil {
			return err
		}
		off += int64(len(b))
	}
	l.fsys.letters.mu.Lock()
	defer l.fsys.letters.mu.Unlock()
	l.source, l.copied = nil, 0
	return nil
}

// readTo returns len(dest) bytes of the file from offset off, none from end on.
func (n *fileNode) readTo(ctx context.Context, dest []byte, off, end int64) ([]byte, error) {
	dest = dest[:min(int64(len(dest)), max(end-off, 0))]
	if len(dest) == 0 {
		return nil, nil
	}
	b, err := n.content.Load(ctx)
	if err != nil {
		return nil, err
	}
	return b.Read(ctx, dest, off)
}

// isCopy tells whether so many bytes of the file are all of the message, and the date
// its own; zero is any.
func (n *fileNode) isCopy(ctx context.Context, copied int64, date time.Time) (bool, error) {
	size, err := n.content.Size(ctx)
	if err != nil || size != copied || date.IsZero() {
		return err == nil && size == copied, err
	}
	attr, err := n.message.content.Attr(ctx)
	return err == nil && attr.Date.Unix() == date.Unix(), err
}
