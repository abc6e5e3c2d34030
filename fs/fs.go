// Package fs shows mail to the kernel as a file system.
//
// FUSE turns each system call on the mount into a request: LOOKUP finds a name
// in a directory, GETATTR is stat, READDIR lists, OPEN and READ read, UNLINK and
// RMDIR delete, FORGET says that the kernel has no more use for an inode. The
// go-fuse library hands a request to the node that it is about. There is one
// kind of node for each kind of thing in the tree, with a file each: folder,
// message, file, attachments (root.go has the tree of folders).
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
// the file takes that back and loads the file (file.go, content.go), and from
// then on the size is exact.
package fs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"imapfs/cache"
	"imapfs/mail"
)

// Mail is what the file system asks of a mail server. Errors are those of
// package mail, an error of ctx, or anything else for a server that cannot be
// reached. A method whose ctx ends returns soon; the work goes on for whoever
// asks next.
type Mail interface {
	// Folders returns the mailboxes that are known, without waiting.
	Folders() []mail.Folder
	// Messages returns the messages of a folder.
	Messages(ctx context.Context, folder string) (mail.Listing, error)
	// Known returns the attributes of a message if they are known, without
	// asking for them. Its error is mail.ErrNotFound once the message is known
	// to be gone, mail.ErrStale once UIDVALIDITY has changed.
	Known(id mail.ID) (attr mail.Attr, known bool, err error)
	// Attr is Known, but asks if need be.
	Attr(ctx context.Context, id mail.ID) (mail.Attr, error)
	// Describe makes the attributes of all these messages known.
	Describe(folder string, l mail.Listing) error
	// Structure returns the MIME tree of a message as the server tells it. If it
	// is unsure the content has to be looked at.
	Structure(ctx context.Context, id mail.ID) (*mail.Part, error)
	// Found is told of the tree that is in the content of a message.
	Found(id mail.ID, root *mail.Part)
	// Fetch returns up to n bytes (all if n < 0) at offset off of a section:
	// "" for the whole message, "HEADER", or the number of a part. It returns
	// fewer than n only at the end. Attributes that are not known yet come
	// along with the whole message.
	Fetch(id mail.ID, section string, off, n int64) ([]byte, error)
	// FetchStarts fetches the first n bytes of each of these messages, and
	// hands them to take as they come. A message that take was not called for
	// has to be fetched by itself.
	FetchStarts(folder string, l mail.Listing, n int64, take func(uid uint32, start []byte)) error
	// Usage returns how many messages are known of all folders, and the bytes of
	// those whose size is known, without waiting.
	Usage() (messages int, bytes int64)
	// Delete removes a message: for good, or to where removed messages go.
	Delete(ctx context.Context, id mail.ID) error
}

// Options says how the tree looks.
type Options struct {
	Folder   string // show only this folder; "" for all
	ReadOnly bool
	ShowRaw  bool   // list message.eml
	ShowHTML bool   // list body.html
	UID, GID uint32 // owner of everything
	Umask    uint32 // permission bits to take away
	Timeout  time.Duration
	Status   func() []byte // what .imapfs/status holds; nil for no such file
	Log      *slog.Logger
}

// FS is a file system of one mail account.
type FS struct {
	mail  Mail
	cache *cache.Cache
	opt   Options
	log   *slog.Logger
	start time.Time // of the mount: the date of what has none

	sizes  *lru.Cache[gofs.StableAttr, int64] // exact sizes of files loaded so far
	smalls *lru.Cache[mail.ID, *small]
	walks  walks
	busy   busy
	root   *folderNode
	notes  notifier

	snapshots atomic.Uint32 // of the status, so far
	usage     usage

	onlyExact atomic.Bool // no size is an estimate any more (spare.go)
	noOpen    atomic.Bool // and OPEN is not wanted

	mu       sync.Mutex // guards what follows
	mirror   *mirror    // nil for none
	tree     *directory
	changed  map[string]time.Time // when messages last came to or left a mailbox, as far as the kernel was told
	deleting map[mail.ID]bool     // from here, at this moment
}

// sizesKept bounds the exact sizes that are remembered, some 150 bytes each.
const sizesKept = 1 << 16

// New returns the file system. It fails if Options.Folder is not there.
func New(m Mail, c *cache.Cache, opt Options) (*FS, error) {
	sizes, err := lru.New[gofs.StableAttr, int64](sizesKept)
	if err != nil {
		return nil, err
	}
	smalls, err := lru.New[mail.ID, *small](smallsKept)
	if err != nil {
		return nil, err
	}
	fsys := &FS{smalls: smalls, mail: m, cache: c, opt: opt, log: opt.Log, start: time.Now(), sizes: sizes, deleting: make(map[mail.ID]bool), changed: make(map[string]time.Time)}
	fsys.tree, err = buildTree(m.Folders(), opt.Folder)
	if err != nil {
		return nil, err
	}
	fsys.root = &folderNode{fsys: fsys}
	fsys.notes.init()
	fsys.walks.fsys = fsys
	return fsys, nil
}
