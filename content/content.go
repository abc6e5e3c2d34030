// Package content turns messages into the bytes of their files, and knows
// nothing of the kernel.
//
// A small message is fetched whole, which one round trip does, and all of its
// files are made of that (parsed.go). Of a large one only what somebody reads is
// fetched: the header, the text, or an attachment piece by piece (stream.go). How
// long a file is can only be known once it has been decoded; until then there is
// an estimate (file.go). What comes next for somebody who goes through a folder is
// fetched ahead of him (ahead.go), and a mirror fetches everything (mirror.go).
//
// Messages are named by mail.ID alone, so it does not matter in which directory, and
// under which name, somebody has found one: its bytes are fetched once.
//
// Locks: walks.mu, mirror.mu and those of File, stream and busy are taken one at a
// time. Under mirror.mu the list of mailboxes is asked for, which is in memory;
// under the others nothing is asked of anybody. Message.moving is held while the server
// moves the message: only who does not find it waits for that.
package content

import (
	"context"
	"log/slog"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"imapfs/cache"
	"imapfs/mail"
)

// Server is what is asked of a mail server to read mail. Errors are those of
// package mail, an error of ctx, or anything else for a server that cannot be
// reached. A method whose ctx ends returns soon; the work goes on for whoever
// asks next.
type Server interface {
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
	// DescribeParts makes the MIME trees of all these messages known, in one command.
	DescribeParts(folder string, l mail.Listing) error
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
}

// Store has the content of one account's messages: from memory, from the disk, or
// from the server. It is safe for concurrent use.
type Store struct {
	server Server
	cache  *cache.Cache
	log    *slog.Logger

	sizes  *lru.Cache[fileKey, int64]   // exact sizes of files loaded so far
	parsed *lru.Cache[mail.ID, *parsed] // small messages
	walks  walks
	busy   busy
	mirror atomic.Pointer[mirror] // nil for none
}

// New returns the content of what server has, kept in c.
func New(server Server, c *cache.Cache, log *slog.Logger) *Store {
	s := &Store{server: server, cache: c, log: log}
	s.sizes, _ = lru.New[fileKey, int64](sizesKept) // fails for a size below one only
	s.parsed, _ = lru.New[mail.ID, *parsed](parsedKept)
	s.walks.store = s
	return s
}

// Close ends reading ahead. The mirror ends with its context.
func (s *Store) Close() { s.walks.close() }

// ByName has messages put into the order of their names by f, for who reads them in that order. It is
// set before anybody reads.
func (s *Store) ByName(f func(folder string, l mail.Listing) []uint32) { s.walks.byName = f }

// DescribeParts is for who looks into all of these messages, which may be about a thousand. What
// fails comes back when he does.
func (s *Store) DescribeParts(folder string, l mail.Listing) {
	if err := s.server.DescribeParts(folder, l); err != nil {
		s.log.Info("cannot ask for the parts of messages together", "folder", folder, "messages", len(l.UIDs), "error", err)
	}
}

// Ordered notes that somebody has listed some messages of a folder, and may read them in this
// order.
func (s *Store) Ordered(folder string, l mail.Listing) { s.walks.ordered(folder, l) }

// Changed takes in what the server has reported: what is cached of messages that
// are gone for good is dropped, and the mirror looks for what is new.
func (s *Store) Changed(c mail.Change) {
	if m := s.mirror.Load(); m != nil {
		m.changed(c.Folder)
	}
	disk := s.cache.Disk()
	if c.Renewed {
		disk.Delete(folderPrefix(c.Folder))
		disk.Forget(validityPrefix(c.Folder, c.Was)) // and what is on its way
	}
	s.forgetTexts(c.Folder, c.UIDValidity, c.Removed)
	for _, uid := range c.Removed {
		disk.Forget(messagePrefix(mail.ID{Folder: c.Folder, UIDValidity: c.UIDValidity, UID: uid}))
	}
}

// moved has what is cached of a message go along with it.
func (s *Store) moved(from, to mail.ID) {
	s.cache.Move(messagePrefix(from), messagePrefix(to))
	if p, ok := s.parsed.Get(from); ok {
		s.parsed.Add(to, p)
		s.parsed.Remove(from)
	}
	for _, k := range s.sizes.Keys() {
		if k.id != from {
			continue
		}
		if size, ok := s.sizes.Peek(k); ok {
			s.sizes.Remove(k)
			k.id = to
			s.sizes.Add(k, size)
		}
	}
}

// ForgetFolders drops what is cached of folders that are gone, also while there
// was no mount.
func (s *Store) ForgetFolders() {
	there := make(map[string]bool)
	for _, f := range s.server.Folders() {
		there[f.Name] = f.Selectable
	}
	disk := s.cache.Disk()
	for _, folder := range disk.Names(mailPrefix) {
		if !there[folder] {
			disk.Delete(folderPrefix(folder))
		}
	}
}
