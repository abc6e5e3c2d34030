package fs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

// The names of what tells and takes flags: the file of each message and that of each folder,
// found by name and not listed, and that of the mount, which takes many messages at once. No
// folder can be made whose name begins with a dot.
const (
	flagsName       = "flags"
	FolderFlagsName = ".flags"
	flagsOfAllName  = "flag"
	kindFlags       = content.Kind(7) // in inode numbers; never listed
)

// FlagPath is where a mount takes the flags of many messages, from its root: see FlagSlip.
const FlagPath = controlName + "/" + flagsOfAllName

// FlagSlip is what is written there: what is to become of the flags, and the paths of
// messages from the root of the mount.
func FlagSlip(change string, paths []string) string {
	return change + "\x00" + strings.Join(paths, "\x00")
}

// lookupFlags answers a LOOKUP of a message's flags: a line of words, which says what they
// are to be when it is written.
func (n *messageNode) lookupFlags(ctx context.Context, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	flags, err := n.fsys.mail.Flags(ctx, n.content.ID())
	if err != nil {
		return nil, n.errno("tell the flags of", err)
	}
	at := n.content.ID()
	id := n.fsys.anew(messageNumbers(at).of(at.UID, kindFlags, syscall.S_IFREG))
	slip := &slipNode{fsys: n.fsys, about: "the flags of " + n.path(), text: content.Loaded(flags.String() + "\n")}
	date, _ := n.date()
	n.fsys.fill(&slip.attr, id, date, 0)
	if !n.fsys.mail.Rights(n.content.ID().Folder).Flag {
		slip.attr.Mode &^= writeBits
	}
	slip.check = func(text string) syscall.Errno {
		c, err := mail.ParseFlagChange(text)
		if err == nil && !c.Whole && c.Add.Has("Deleted") {
			err = fmt.Errorf(`\Deleted is set by deleting: %w`, mail.ErrForbidden)
		}
		return n.fsys.outcome("change the flags of", n.path(), err)
	}
	slip.do = func(ctx context.Context, text string) syscall.Errno {
		c, err := mail.ParseFlagChange(text)
		if err == nil {
			at := n.content.ID()
			err = n.fsys.setFlags(ctx, at.Folder, at.UIDValidity, []uint32{at.UID}, c)
		}
		return n.fsys.outcome("change the flags of", n.path(), err)
	}
	return slip.add(ctx, n.EmbeddedInode(), id, out), 0
}

// flagsKept is how long the kernel keeps the flags of a folder, of whose changes it is told.
// Who asks it again and again is heard of then: the server is asked for changes for as long
// as somebody wants to know of them.
const flagsKept = 5 * time.Second

// lookupFlags answers a LOOKUP of the flags of a folder: a line for each message, with its
// number and the words. Its date is that of the last change since the mount began.
func (v view) lookupFlags(ctx context.Context, dir *gofs.Inode, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	ctx, finish := v.fsys.call(ctx)
	defer finish()
	date := v.fsys.flagged.at(v.mailbox, v.fsys.start)
	if came := v.fsys.changes.at(v.mailbox, v.fsys.start); came.After(date) {
		date = came
	}
	all, err := v.fsys.mail.FolderFlags(ctx, v.mailbox)
	if err != nil {
		return nil, v.fsys.errno("look up the flags of", v.fsys.shown(v.mailbox), err)
	}
	var text []byte
	for _, m := range all {
		text = append(text, mail.Number(m.UID)...)
		for _, word := range m.Flags {
			text = append(append(text, ' '), word...)
		}
		text = append(text, '\n')
	}
	id := v.fsys.anew(numbersOf("flags "+v.mailbox, 0).of(0, kindFlags, syscall.S_IFREG))
	slip := &slipNode{fsys: v.fsys, about: "the flags of " + v.fsys.shown(v.mailbox), text: text}
	v.fsys.fill(&slip.attr, id, date, 0)
	slip.attr.Mode &^= writeBits
	inode := slip.add(ctx, dir, id, out)
	out.SetEntryTimeout(flagsKept)
	out.SetAttrTimeout(flagsKept)
	return inode, 0
}

// setFlags changes the flags of messages of one folder.
func (fsys *FS) setFlags(ctx context.Context, mailbox string, validity uint32, uids []uint32, c mail.FlagChange) error {
	if !c.Whole && len(c.Add)+len(c.Remove) == 0 {
		return nil
	}
	return change(ctx, func() error {
		return fsys.mail.SetFlags(context.Background(), mailbox, validity, uids, c)
	})
}

// flagMany does what a FlagSlip says: with one command for each folder, as far as the
// server takes it.
func (fsys *FS) flagMany(ctx context.Context, text string) syscall.Errno {
	paths := strings.Split(text, "\x00")
	c, err := mail.ParseFlagChange(paths[0])
	if err != nil {
		return fsys.outcome("change the flags of", "messages", err)
	}
	type folder struct {
		mailbox  string
		validity uint32
	}
	uids := make(map[folder][]uint32)
	for _, path := range paths[1:] {
		id, err := fsys.messageAt(ctx, path)
		if err != nil {
			return fsys.outcome("change the flags of", path, err)
		}
		f := folder{id.Folder, id.UIDValidity}
		uids[f] = append(uids[f], id.UID)
	}
	var failed syscall.Errno
	for f, uids := range uids {
		if err := fsys.setFlags(ctx, f.mailbox, f.validity, uids, c); err != nil {
			failed = fsys.outcome("change the flags of", "messages in "+fsys.shown(f.mailbox), err)
		}
	}
	return failed
}

// errNoMessageThere says that a path is none of a message.
var errNoMessageThere = fmt.Errorf("this is no message: %w", mail.ErrNoMessage)

// messageAt returns the message with a path from the root of the mount.
func (fsys *FS) messageAt(ctx context.Context, path string) (mail.ID, error) {
	names := strings.Split(path, "/")
	if i := slices.Index(names, SearchName); i >= 0 && i+2 < len(names) {
		names = slices.Delete(names, i, i+2) // a view is not where the message is
	}
	folder, name := fsys.folders.At(names[:len(names)-1]), names[len(names)-1]
	if folder == nil || folder.Mailbox() == "" {
		return mail.ID{}, errNoMessageThere
	}
	v := view{fsys: fsys, mailbox: folder.Mailbox()}
	l, err := v.listing(ctx)
	if err != nil {
		return mail.ID{}, err
	}
	id, _, err := v.find(ctx, l, name)
	return id, err
}
