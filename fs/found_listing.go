package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
	"imapfs/tree"
)

// foundListing is an open directory of what a query finds: folders, as soon as it is known that
// something is found in them, and messages, as they are found. Each answer has at least one entry,
// and what else is known then; the kernel asks for more. As in a listing the
// offset behind a folder is its index, counted in all folders, and that behind a message is made of
// its UID.
type foundListing struct {
	node     *foundNode
	folder   *tree.Folder
	names    []string // of the folders in it, if the search is deep
	of       inFolders
	messages messages
	complete bool // there will be no more of them

	next  int    // index into names
	uid   uint32 // of the last message
	some  bool   // there was an entry
	asked context.Context
	given bool // there was one in the answer to asked
}

var _ interface {
	gofs.FileReaddirenter
	gofs.FileSeekdirer
} = (*foundListing)(nil)

func (l *foundListing) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if ctx != l.asked { // the library makes one for each request
		l.asked, l.given = ctx, false
	}
	e, errno := l.entry(ctx)
	if e != nil {
		l.given, l.some = true, true
	}
	return e, errno
}

// entry returns the next entry, nil if there is none, or none yet and there was one in this answer.
func (l *foundListing) entry(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	fsys := l.node.fsys
	for ; l.next < len(l.names); l.next++ {
		c := l.folder.Children[l.names[l.next]]
		some, known, err := l.of.inAny(ctx, fsys, c, l.given)
		switch {
		case err != nil && !isShut(err):
			return nil, fsys.errno("search", fsys.shown(c.Mailbox()), err)
		case !known:
			return nil, 0
		case some:
			l.next++
			id := (&foundNode{key: c.Key, search: l.node.search, deep: true}).number()
			return &fuse.DirEntry{Name: l.names[l.next-1], Mode: syscall.S_IFDIR, Ino: id.Ino, Off: uint64(l.next)}, 0
		}
	}
	if l.folder.Mailbox() != "" {
		e, errno := l.message(ctx)
		if e != nil || errno != 0 || !l.complete {
			return e, errno
		}
	}
	err := l.of.refused(l.node, l.folder)
	if l.some || l.uid > 0 {
		return nil, 0
	}
	if err != nil {
		return nil, fsys.errno("search", l.node.shown(l.folder), err)
	}
	e := dot(l.node.number())
	e.Off = endOffset
	l.uid = 1<<32 - 1
	return &e, 0
}

// endOffset is behind all messages.
const endOffset = uidOffset + 1<<32 - 1

// message returns the next message, nil if there is none, or none yet.
func (l *foundListing) message(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	m := &l.messages
	for {
		if i := m.After(l.uid); i < len(m.UIDs) {
			e, errno := m.entry(ctx, i)
			if errno == 0 {
				l.uid = m.UIDs[i]
			}
			return e, errno
		}
		if l.complete {
			return nil, 0
		}
		enough := upTo(l.uid + 1)
		if l.given {
			enough = func([]uint32) bool { return true }
		}
		found, complete, err := m.view.found(ctx, enough)
		if err != nil {
			if l.node.deep && isShut(err) {
				err = nil // the others have theirs
				complete = true
			} else {
				return nil, l.node.fsys.errno("search", l.node.shown(l.folder), err)
			}
		}
		*m, l.complete = m.view.messages(found), complete
		if complete {
			m.view.fsys.content.Ordered(m.view.mailbox, found)
		} else if l.given && m.After(l.uid) == len(m.UIDs) {
			return nil, 0
		}
	}
}

func (l *foundListing) Seekdir(_ context.Context, off uint64) syscall.Errno {
	l.some = off > 0
	switch {
	case off > endOffset:
		return syscall.EINVAL
	case off > uidOffset:
		l.next, l.uid = len(l.names), uint32(off-uidOffset)
	default:
		l.next, l.uid = int(min(off, uint64(len(l.names)))), 0
	}
	return 0
}

// inFolders is what a query finds in folders, by mailbox.
type inFolders map[string]*found

// begin has the query asked in f and all that is in it.
func (s *search) begin(ctx context.Context, fsys *FS, f *tree.Folder) (inFolders, error) {
	ctx, finish := fsys.call(ctx)
	defer finish()
	var all []string
	var each func(f *tree.Folder)
	each = func(f *tree.Folder) {
		for _, name := range f.Names() { // in the order in which they are shown
			each(f.Children[name])
		}
		if f.Mailbox() != "" {
			all = append(all, f.Mailbox())
		}
	}
	each(f)
	return fsys.searchAll(ctx, all, s)
}

// inAny tells whether anything is found in f or in what is in it. Without waiting, known is false if
// nobody knows it yet. A folder that the server does not let anybody into has nothing.
func (in inFolders) inAny(ctx context.Context, fsys *FS, f *tree.Folder, withoutWaiting bool) (some, known bool, err error) {
	known = true
	if found := in[f.Mailbox()]; found != nil {
		if withoutWaiting {
			l, complete, ferr := found.now()
			known = complete || ferr != nil || someOf(l.UIDs)
		}
		if known {
			some, err = found.isThere(ctx, fsys, f.Mailbox())
		}
	}
	for _, name := range f.Names() {
		if some || err != nil && !isShut(err) {
			break
		}
		var isKnown bool
		if some, isKnown, err = in.inAny(ctx, fsys, f.Children[name], withoutWaiting); !isKnown {
			known = false
		}
	}
	return some, known || some, err
}

// isThere waits until anything is found that is still there, or nothing will be.
func (f *found) isThere(ctx context.Context, fsys *FS, mailbox string) (bool, error) {
	isThere := someOf
	if fsys.mail.IsListed(mailbox) {
		all, err := fsys.mail.Messages(ctx, mailbox)
		if err != nil {
			return false, err
		}
		isThere = func(uids []uint32) bool { return len(both(uids, all.UIDs)) > 0 }
	}
	l, _, err := f.wait(ctx, fsys, isThere)
	return err == nil && isThere(l.UIDs), err
}

// refused returns why nothing is found: because the server lets nobody into any of the folders. Where
// it is some of them it says so in the log.
func (in inFolders) refused(n *foundNode, f *tree.Folder) (refused error) {
	searched := len(in) == 0
	for _, found := range in {
		if _, _, err := found.now(); isShut(err) {
			refused = err
		} else {
			searched = true
		}
	}
	if searched && refused != nil {
		n.fsys.failures.log(slog.LevelWarn, "search in some folders of", n.shown(f), syscall.EIO, refused)
		return nil
	}
	return refused
}

// isShut tells whether err says that the server lets nobody into a folder.
func isShut(err error) bool {
	return errors.Is(err, mail.ErrRefused) || errors.Is(err, mail.ErrNotFound)
}
