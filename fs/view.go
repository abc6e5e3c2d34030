package fs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/mail"
)

// named is an entry in the directory of a mailbox that the server does not know by this
// name.
type named struct{ mailbox, name string }

// view is the messages of a mailbox as a directory shows them: each in a directory
// of its own, whose name tells its UID. It is listed by the name that Options.Names makes,
// and its number leads there too. What is read, hidden or
// deleted of a message is kept by mail.ID, so it is the same however one has come
// to it. Only the inodes are others, because Linux gives a directory one name.
type view struct {
	fsys    *FS
	mailbox string  // "" for none
	search  *search // only what this finds; nil for all
}

// listing returns all messages of the mailbox.
func (v view) listing(ctx context.Context) (mail.Listing, error) {
	if v.mailbox == "" {
		return mail.Listing{}, nil
	}
	return v.fsys.mail.Messages(ctx, v.mailbox)
}

// found returns the messages that the query has found when that is enough, or complete, of
// those that are there. ctx is the library's.
func (v view) found(ctx context.Context, enough func(uids []uint32) bool) (l mail.Listing, complete bool, err error) {
	call, finish := v.fsys.call(ctx)
	defer finish()
	all, err := v.listing(call)
	if err != nil || len(all.UIDs) == 0 {
		return all, true, err
	}
	f, err := v.fsys.searchIn(v.mailbox, v.search, &all)
	if err == nil {
		l, complete, err = f.wait(ctx, v.fsys, enough)
	}
	if err == nil && len(l.UIDs) > 0 && l.UIDValidity != all.UIDValidity {
		err = mail.ErrStale
	}
	return mail.Listing{UIDValidity: all.UIDValidity, UIDs: both(l.UIDs, all.UIDs)}, complete, err
}

// listingFor returns as many of the messages as are needed to know that there is one of this
// name. ctx is the library's.
func (v view) listingFor(ctx context.Context, name string) (mail.Listing, error) {
	if v.search == nil {
		ctx, finish := v.fsys.call(ctx)
		defer finish()
		return v.listing(ctx)
	}
	uid, _ := v.fsys.parseName(name)
	l, _, err := v.found(ctx, upTo(uid))
	return l, err
}

// id returns the message of l with this UID.
func (v view) id(l mail.Listing, uid uint32) mail.ID {
	return mail.ID{Folder: v.mailbox, UIDValidity: l.UIDValidity, UID: uid}
}

// find returns the message of l that has this name, or is called so for a while because it
// was moved there, and how it is called; mail.ErrNotFound for none. A name has to be right
// as a whole: under a new UIDVALIDITY the number in it is that of another message.
func (v view) find(ctx context.Context, l mail.Listing, name string) (mail.ID, calling, error) {
	if uid, ok := mail.ParseNumber(name); ok && l.Has(uid) {
		return v.id(l, uid), byNumber, nil
	}
	if uid, ok := v.fsys.parseName(name); ok && l.Has(uid) {
		e, err := v.fsys.mail.Envelope(ctx, v.id(l, uid))
		if err != nil && !errors.Is(err, mail.ErrNotFound) {
			return mail.ID{}, 0, err
		}
		if err == nil && v.nameOf(uid, e) == name {
			return v.id(l, uid), byName, nil
		}
	}
	if id, ok := v.fsys.leaving.find(v.mailbox, name); ok && v.search == nil && id.UIDValidity == l.UIDValidity && l.Has(id.UID) {
		return id, byOldName, nil
	}
	return mail.ID{}, 0, mail.ErrNotFound
}

// calling is how a message is called.
type calling int

const (
	byNumber  calling = iota
	byName            // as Options.Names has it
	byOldName         // what it was called when it was moved
)

// mayBe tells whether a message can have this name, without asking for any.
func (v view) mayBe(name string) bool {
	_, numbered := v.fsys.parseName(name)
	_, moved := v.fsys.leaving.find(v.mailbox, name)
	return v.mailbox != "" && (numbered || moved)
}

// nameOf is what a message with this envelope is called.
func (v view) nameOf(uid uint32, e mail.Envelope) string {
	path, _ := v.fsys.folders.Find(v.mailbox)
	if f := v.fsys.folders.At(path); f != nil && (f.SpecialUse == `\Sent` || f.SpecialUse == `\Drafts`) && v.mailbox == f.Mailbox() {
		e = e.Sent()
	}
	return v.fsys.opt.Names.Name(uid, e)
}

// byName returns the messages of a folder in the order of their names; nil if these are not known.
func (fsys *FS) byName(mailbox string, l mail.Listing) []uint32 {
	m := view{fsys: fsys, mailbox: mailbox}.messages(l)
	names := make(map[uint32]string, len(l.UIDs))
	for i, uid := range l.UIDs {
		name, errno := m.name(context.Background(), i)
		if errno != 0 {
			return nil
		}
		names[uid] = name
	}
	return slices.SortedFunc(slices.Values(l.UIDs), func(a, b uint32) int { return strings.Compare(names[a], names[b]) })
}

// inLog is a name in a folder for the log, in which nothing of a mail may be: of a message it
// is the number.
func (fsys *FS) inLog(name string) string {
	if uid, ok := fsys.parseName(name); ok {
		return mail.Number(uid)
	}
	return name
}

// parseName returns the UID in a name that looks like one of a message.
func (fsys *FS) parseName(name string) (uid uint32, ok bool) {
	if fsys.opt.Names.IsByNumber() {
		return mail.ParseNumber(name)
	}
	return mail.ParseName(name)
}

// numbers makes the inode numbers of a message as it is called here.
func (v view) numbers(id mail.ID, how calling, name string) numbers {
	life := v.fsys.leaving.life(id)
	switch {
	case v.search != nil:
		return numbersOf(fmt.Sprintf("found %d %d %d %s %d %s %s", life, how, len(id.Folder), id.Folder, len(v.search.where), v.search.where, v.search.text), id.UIDValidity)
	case how == byOldName:
		return numbersOf("moved "+id.Folder+"\x00"+name, id.UIDValidity)
	case life > 0:
		return numbersOf(fmt.Sprintf("messages again %d %d %s", life, how, id.Folder), id.UIDValidity)
	case how == byName:
		return numbersOf("named "+id.Folder, id.UIDValidity)
	}
	return messageNumbers(id)
}

// lookup answers a LOOKUP of a message in dir.
func (v view) lookup(ctx context.Context, dir *gofs.Inode, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if !v.mayBe(name) {
		return nil, syscall.ENOENT
	}
	l, err := v.listingFor(ctx, name)
	var id mail.ID
	var how calling
	if err == nil {
		ctx, finish := v.fsys.call(ctx)
		defer finish()
		id, how, err = v.find(ctx, l, name)
	}
	if err != nil {
		// Under a new UIDVALIDITY there may be a message of this number, and
		// nobody would tell the kernel so.
		out.SetEntryTimeout(onTheWay)
		return nil, v.fsys.errno("look up", path.Join(v.fsys.shown(v.mailbox), v.fsys.inLog(name)), err)
	}
	n := v.fsys.messageWith(id, v.numbers(id, how, name))
	n.fillEntry(out, n.number(), n.size(), true)
	if how == byOldName {
		out.SetEntryTimeout(onTheWay)
	}
	inode := dir.NewInode(ctx, n, n.number())
	if how == byName && v.search == nil {
		v.fsys.given.note(id, name, inode)
	}
	return inode, 0
}

// list adds the messages to a listing.
func (v view) list(ctx context.Context, to *listing) syscall.Errno {
	ctx, finish := v.fsys.call(ctx)
	defer finish()
	l, err := v.listing(ctx)
	if err != nil {
		return v.fsys.errno("list", v.fsys.shown(v.mailbox), err)
	}
	to.messages = v.messages(l)
	return 0
}

func (v view) messages(l mail.Listing) messages {
	how := byName
	if v.fsys.opt.Names.IsByNumber() {
		how = byNumber
	}
	return messages{view: v, Listing: l, numbers: v.numbers(v.id(l, 0), how, "")}
}

// messages is those of a listing.
type messages struct {
	mail.Listing
	view    view
	numbers numbers

	envelopes []mail.Envelope // of those from first on
	first     int
}

// name returns what the message at an index is called.
func (m *messages) name(ctx context.Context, i int) (string, syscall.Errno) {
	fsys, uid := m.view.fsys, m.UIDs[i]
	if fsys.opt.Names.IsByNumber() {
		return mail.Number(uid), 0
	}
	if i < m.first || i >= m.first+len(m.envelopes) {
		ctx, finish := fsys.call(ctx)
		defer finish()
		all, err := fsys.mail.Envelopes(ctx, m.view.mailbox, m.Listing, i)
		if err != nil {
			return "", fsys.errno("list", fsys.shown(m.view.mailbox), err)
		}
		m.first, m.envelopes = i, all
	}
	return m.view.nameOf(uid, m.envelopes[i-m.first]), 0
}

// entry returns that of the message at an index.
func (m *messages) entry(ctx context.Context, i int) (*fuse.DirEntry, syscall.Errno) {
	name, errno := m.name(ctx, i)
	if errno != 0 {
		return nil, errno
	}
	uid := m.UIDs[i]
	return &fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: m.numbers.of(uid, kindMessage, syscall.S_IFDIR).Ino, Off: uidOffset + uint64(uid)}, 0
}

// messageIn returns the message that the kernel knows by this name in a directory,
// nil if there is none.
func messageIn(dir *gofs.Inode, name string) *messageNode {
	inode := dir.GetChild(name)
	if inode == nil {
		return nil
	}
	child, _ := inode.Operations().(*messageNode) // or it is a folder
	return child
}

// nodes returns what the kernel knows of a message in its folder.
func (fsys *FS) nodes(id mail.ID) (known []*messageNode) {
	folder := fsys.inodeOf(id.Folder)
	if folder == nil {
		return nil
	}
	for _, name := range fsys.namesOf(id) {
		if n := messageIn(folder, name); n != nil && n.content.ID() == id {
			known = append(known, n)
		}
	}
	return known
}

// namesOf returns by what the kernel may know a message in its folder.
func (fsys *FS) namesOf(id mail.ID) []string {
	names := []string{mail.Number(id.UID)}
	if name, ok := fsys.given.find(id); ok {
		names = append(names, name)
	}
	return names
}

// given is the names, other than their numbers, by which the kernel knows messages: when one
// has gone the server does not tell any more how it was called.
type given struct {
	mu sync.Mutex // guards what follows
	of map[mail.ID]givenName
}

type givenName struct {
	name string
	node gofs.InodeEmbedder
}

func (g *given) note(id mail.ID, name string, inode *gofs.Inode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of == nil {
		g.of = make(map[mail.ID]givenName)
	}
	g.of[id] = givenName{name, inode.Operations()}
}

func (g *given) find(id mail.ID) (name string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, ok := g.of[id]
	return n.name, ok
}

// forget is told that the kernel has forgotten a node.
func (g *given) forget(id mail.ID, node gofs.InodeEmbedder) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[id].node == node {
		delete(g.of, id)
	}
}
