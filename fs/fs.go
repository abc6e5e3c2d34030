// Package fs shows mail to the kernel as a file system.
//
// FUSE turns each system call on the mount into a request: LOOKUP finds a name
// in a directory, GETATTR is stat, READDIR lists, OPEN and READ read, UNLINK and
// RMDIR delete, FORGET says that the kernel has no more use for an inode. The
// go-fuse library hands a request to the node that it is about. There is one
// kind of node for each kind of thing in the tree, with a file each: folder,
// message, file, attachments, letter (what somebody writes into a folder), slip (a
// short text that is new each time: status, flags), trash, search and found (queries and
// what they find), control (what the mount tells of itself). They answer in the kernel's order and know what it was told; what
// a file holds is the business of package content, which folders there are that of
// package tree.
//
// The kernel keeps what it is told: names and attributes for as long as the
// answer says, listings and file pages until they are declared void. Mail does
// not change, so nearly everything is given out for long, and what does change
// (messages come and go) is told to the kernel by notification (notify.go).
//
// A LOOKUP waits for nothing but the list of messages, because the kernel asks
// for each directory of a path: attributes that are not known yet are given out
// as ones that it may not keep, and GETATTR, which only stat needs, waits for
// them. So a cat costs one round trip, that of OPEN.
//
// The one thing that is not known beforehand is the size of a file which has
// to be decoded first. Until it has been loaded its size is an estimate; opening
// the file takes that back and loads the file (file.go, told.go), and from then on
// the size is exact. Programs that trust a size from before are told none (believers.go).
//
// Locks: each of told, given, results, dates, handle, slip, leaving, letters, spool, trash, notifier, changes, call,
// arranging, failures, readers, believers and usage has one, which is taken alone, but that
// under usage's the mail is asked for its counts, and under that of arranging for its
// folders, which are in memory, under letters' the notifier is given something to do, and
// under a spool's its file is used; under trash.keeping, before trash.mu, what is in the
// trash is kept. Else nothing is asked of a disk or a network under one, and no notification
// is sent.
package fs

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"imapfs/content"
	"imapfs/mail"
	"imapfs/query"
	"imapfs/tree"
)

// Mail is what the file system itself asks of a mail account; what is in the files
// is asked for by package content. Errors are those of package mail, an error of
// ctx, or anything else for a server that cannot be reached. A method whose ctx ends
// returns soon; the work goes on for whoever asks next.
type Mail interface {
	Changer
	// Folders returns the mailboxes that are known, without waiting.
	Folders() []mail.Folder
	// Messages returns the messages of a folder.
	Messages(ctx context.Context, folder string) (mail.Listing, error)
	// Envelope returns what a person knows a message by, the zero one if the server does not
	// tell.
	Envelope(ctx context.Context, id mail.ID) (mail.Envelope, error)
	// Envelopes returns that of the messages l.UIDs[from:] of a folder, of some of them at
	// least.
	Envelopes(ctx context.Context, folder string, l mail.Listing, from int) ([]mail.Envelope, error)
	// Attr returns the attributes of a message.
	Attr(ctx context.Context, id mail.ID) (mail.Attr, error)
	// ListEach has Messages know those of many folders, as far as the server lets somebody in,
	// and the attributes of the first and the last message of each.
	ListEach(ctx context.Context, folders []string) error
	// IsListed tells whether Messages knows the messages of a folder as they are now.
	IsListed(folder string) bool
	// Search returns which of the messages of a folder with UIDs from first to last a query
	// finds; mail.ErrUnsupported if the server cannot be asked for what is in it.
	Search(ctx context.Context, folder string, validity, first, last uint32, q query.Query) ([]uint32, error)
	// SearchEach asks for what a query finds in folders that are not listed, and tells of each
	// as it comes: which messages, and the highest UID that there was, as far as is known. Some
	// may be left out.
	SearchEach(ctx context.Context, folders []string, q query.Query, found func(folder string, l mail.Listing, newest uint32)) error
	// Newest returns the date of the newest message of a folder, as far as is known, and
	// whether that is the one of now.
	Newest(folder string) (date time.Time, isKnown bool)
	// Dates returns it of folders of which it is not known, of those that have messages.
	Dates(ctx context.Context, folders []string) (map[string]time.Time, error)
	// Rights returns what may be done in a folder, as far as is known.
	Rights(folder string) mail.Rights
	// Flags returns the flags of a message.
	Flags(ctx context.Context, id mail.ID) (mail.Flags, error)
	// FolderFlags returns the flags of all messages of a folder of which they are told.
	FolderFlags(ctx context.Context, folder string) ([]mail.MessageFlags, error)
	// Usage returns how much mail there is, without waiting.
	Usage() mail.Usage
}

// Changer changes what is on the server. A method returns nil only when the server has
// done it. What has failed has changed nothing, unless the error is of the network: then
// it may be done later, but never twice.
type Changer interface {
	// Delete removes a message: for good, or to where removed messages go.
	Delete(ctx context.Context, id mail.ID) error
	// Move takes a message to another mailbox, and returns which one it is there; its
	// UID is 0 if that is not known.
	Move(ctx context.Context, id mail.ID, to string) (mail.ID, error)
	// Copy is Move that leaves the message where it is too.
	Copy(ctx context.Context, id mail.ID, to string) (mail.ID, error)
	// Append puts a new message into a mailbox, and returns which one it is, as Move.
	Append(ctx context.Context, to string, l mail.Letter) (mail.ID, error)
	// Discard deletes a message for good, whatever Delete does: one that Append has
	// made, of which there is a better one.
	Discard(ctx context.Context, id mail.ID) error

	// Trash returns the mailbox for what is moved to the trash, "" for none.
	Trash() string
	// SetFlags changes the flags of messages of one folder, all of them or none for a
	// reason that is known before.
	SetFlags(ctx context.Context, folder string, validity uint32, uids []uint32, c mail.FlagChange) error

	// The following name folders as the server does now (mail.Folder.FullName), also
	// levels of the hierarchy that it does not list. Folders has the change when they
	// return, and nobody is told of it.

	// CreateFolder makes a mailbox: component is its name in parent, "" for the top.
	CreateFolder(ctx context.Context, parent, component string) error
	// RenameFolder makes it the name of a folder that is there, with all that is in it.
	// What is known by mail.Folder.Name, that of an ID, holds on.
	RenameFolder(ctx context.Context, from, parent, component string) error
	// DeleteFolder deletes a mailbox in which there is nothing: mail.ErrNotEmpty.
	DeleteFolder(ctx context.Context, name string) error
}

// Options says how the tree looks.
type Options struct {
	Folder   string // show only this folder; "" for all
	ReadOnly bool
	ShowRaw  bool // list message.eml
	ShowHTML bool // list body.html
	Names    mail.Naming
	MarkRead bool   // mark what a person reads (markread.go)
	UID, GID uint32 // owner of everything
	Umask    uint32 // permission bits to take away
	Timeout  time.Duration
	Keeper   Keeper                 // nil for none
	Status   func() []byte          // what .imapfs/status holds; nil for no such file
	Refused  func(what, why string) // is told what somebody wanted and cannot be done, and may not wait; nil for nobody
	Log      *slog.Logger
}

// FS is a file system of one mail account.
type FS struct {
	mail    Mail
	content *content.Store
	folders *tree.Tree
	opt     Options
	log     *slog.Logger
	start   time.Time // of the mount: the date of what has none

	root     *folderNode
	leaving  leaving
	given    given
	found    results
	searches chan struct{} // holds one for each search that is under way
	dates    dates
	notes    notifier
	changes  changes // of messages in a folder
	flagged  changes // of their flags
	letters  letters
	trash    trash
	readers  readers

	arranging arranging
	failures  failures

	snapshots atomic.Uint32 // files that were made for one LOOKUP, so far (slip.go)
	usage     usage

	believers believers
	onlyExact atomic.Bool // no size is an estimate any more (spare.go)
	noOpen    atomic.Bool // and OPEN is not wanted
}

// New returns the file system of the account m, with the content of its messages.
// It fails if Options.Folder is not there.
func New(m Mail, store *content.Store, opt Options) (*FS, error) {
	folders, err := tree.New(m.Folders(), opt.Folder)
	if err != nil {
		return nil, err
	}
	fsys := &FS{mail: m, content: store, folders: folders, opt: opt, log: opt.Log, start: time.Now(), searches: make(chan struct{}, searchedAtOnce)}
	fsys.root = &folderNode{fsys: fsys}
	fsys.leaving.void = fsys.voidListings
	fsys.letters.fsys = fsys
	store.ByName(fsys.byName)
	fsys.failures.out, fsys.failures.kinds = opt.Log, make(map[kindOfFailure]*failuresOfKind)
	fsys.notes.init()
	if fsys.opt.Keeper == nil {
		fsys.opt.Keeper = forgetful{}
	}
	fsys.trash.recall(fsys.opt.Keeper)
	return fsys, nil
}

// Mirror keeps a complete copy in the cache on disk, of the folders that are shown
// and wanted, until ctx ends. wants is nil for all.
func (fsys *FS) Mirror(ctx context.Context, wants func(mail.Folder) bool) {
	fsys.content.Mirror(ctx, func(f mail.Folder) bool {
		_, shown := fsys.folders.Find(f.Name)
		return shown && (wants == nil || wants(f))
	}, func() {
		if wants == nil {
			fsys.spareOpen()
		}
	})
}

// MirrorProgress tells how far the mirror is; false if there is none.
func (fsys *FS) MirrorProgress() (content.Progress, bool) {
	p, ok := fsys.content.MirrorProgress()
	p.Spared = fsys.noOpen.Load()
	return p, ok
}
