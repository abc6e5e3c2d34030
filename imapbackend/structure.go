package imapbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/cache"
	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// structuresKept bounds the BODYSTRUCTUREs in memory, in bytes: those of some
// 10,000 usual messages. They are counted by weight, because a stranger can
// send a message of thousands of parts, or with parameters as long as he likes.
const structuresKept = 16 << 20

// newStructures keeps the MIME trees that were used last.
func newStructures() *cache.Weighted[mail.ID, *mail.Part] {
	return cache.NewWeighted(structuresKept, func(_ mail.ID, root *mail.Part) int64 { return weight(root) })
}

// weight is about what a tree takes in memory, in bytes.
func weight(p *mail.Part) int64 {
	n := int64(300 + len(p.Section) + len(p.ContentID) + len(p.Filename))
	for key, value := range p.Params {
		n += int64(100 + len(key) + len(value))
	}
	for _, c := range p.Children {
		n += weight(c)
	}
	return n
}

// Structure returns the MIME tree of a message, from BODYSTRUCTURE (RFC 9051
// §7.5.2). If it is unsure, or could not be had, the message itself has to be
// looked at. For who goes through a folder in order, the next ones are asked for in
// time.
func (b *Backend) Structure(ctx context.Context, id mail.ID) (*mail.Part, error) {
	f := b.folder(id.Folder)
	for range 3 {
		if root, ok := b.structures.Get(id); ok {
			f.mu.Lock()
			// Who reads the messages too gets them whole before he comes that far.
			f.goOn(&f.structureWindow, mostStructures, id, "structures ", f.loadStructures)
			f.mu.Unlock()
			return root, nil
		}
		if b.recallStructure(id) {
			continue
		}
		asked, err := b.doFor(ctx, "structures "+id.Folder, func() error { return f.loadStructures(id) })
		if err != nil && asked {
			return nil, err
		}
	}
	// Others pushed it out again and again: ask for it alone.
	var root *mail.Part
	err := b.do(ctx, "structure "+id.String(), func() error {
		if err := f.loadStructures(id); err != nil {
			return err
		}
		root, _ = b.structures.Get(id)
		return nil
	})
	if err == nil && root == nil {
		err = fmt.Errorf("structure of %s: %w", id, mail.ErrNotFound)
	}
	return root, err
}

// DescribeParts makes the MIME trees of all these messages known, in one command: for
// Structure, that may be asked for each of them next.
func (b *Backend) DescribeParts(folder string, l mail.Listing) error {
	var unknown []uint32
	for _, uid := range l.UIDs {
		id := mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}
		if b.knownStructure(id) == nil && b.folder(folder).trouble(id, structuring) == nil {
			unknown = append(unknown, uid)
		}
	}
	_, _, err := b.folder(folder).askForStructures(l.UIDValidity, unknown)
	return err
}

func (f *folder) loadStructures(id mail.ID) error {
	if err := f.trouble(id, structuring); err != nil {
		f.b.structures.Add(id, &mail.Part{Section: "1", Unsure: true})
		return nil
	}
	uids, err := f.batch(id, &f.structureWindow, mostStructures, func(i int) bool {
		return !f.b.structures.Contains(mail.ID{Folder: f.name, UIDValidity: id.UIDValidity, UID: f.uids[i]})
	})
	if err != nil {
		return err
	}
	gone, failed, err := f.askForStructures(id.UIDValidity, uids)
	if gone[id.UID] {
		return fmt.Errorf("%s: %w", id, mail.ErrNotFound)
	}
	if failed[id.UID] != nil {
		return nil
	}
	return err
}

// askForStructures asks for the MIME trees of messages, and returns those that are gone, and those
// of which the server does not tell it.
func (f *folder) askForStructures(validity uint32, uids []uint32) (gone map[uint32]bool, failed map[uint32]error, err error) {
	if len(uids) == 0 {
		return nil, nil, nil
	}
	options := &imap.FetchOptions{}
	askForStructure(options)
	gone, failed, err = f.fetchEach(validity, uids, options, func(m *wire.Message) bool {
		f.setStructure(validity, m)
		return true
	})
	f.settleTroubles(validity, structuring, uids, failed)
	for uid, why := range failed {
		f.b.log.Info("the server does not tell the parts of a message", "folder", f.b.fullName(f.name), "uid", uid, "error", why)
		f.b.structures.Add(mail.ID{Folder: f.name, UIDValidity: validity, UID: uid}, &mail.Part{Section: "1", Unsure: true})
	}
	return gone, failed, err
}

// askForStructure has a FETCH ask for the MIME tree, and for those fields of the
// header that show whether it can be believed.
func askForStructure(options *imap.FetchOptions) {
	options.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	options.BodySection = []*imap.FetchItemBodySection{{
		Specifier: imap.PartSpecifierHeader, Peek: true,
		HeaderFields: []string{"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID"},
	}}
}

// mostHeaderFields is how many bytes of these fields are read.
const mostHeaderFields = 64 << 10

// setStructure takes in the MIME tree of a message. Servers read MIME in their own
// ways; one tree is true, which is that of mail.Parse. So the server's is believed
// only if the header, read here, says the same of the message as a whole.
func (f *folder) setStructure(validity uint32, m *wire.Message) {
	root := m.Structure
	if root == nil {
		root = &mail.Part{Section: "1"}
	}
	i := slices.IndexFunc(m.Sections, func(s wire.Section) bool { return strings.HasPrefix(s.Name, headerFields) })
	root.Unsure = root.Unsure || m.Structure == nil || i < 0 || m.Sections[i].Content == nil || root.IsDoubtful(m.Sections[i].Content)
	f.b.setStructure(mail.ID{Folder: f.name, UIDValidity: validity, UID: m.UID}, root)
}

// setStructure keeps the MIME tree of a message.
func (b *Backend) setStructure(id mail.ID, root *mail.Part) {
	b.structures.Add(id, root)
	b.store.Put(structureKey(id), encode(root))
}

// Found is told of the tree that is in the content of a message. If the server has
// told another one, that is forgotten: the tree stays the same after a restart.
func (b *Backend) Found(id mail.ID, root *mail.Part) {
	if told, ok := b.structures.Get(id); ok && (told.Unsure || !told.Same(root)) {
		b.log.Debug("a message is not what the server says that it is", "folder", b.fullName(id.Folder), "uid", id.UID)
		b.setStructure(id, root)
	}
}

// knownStructure returns the MIME tree of a message if it is known, else nil.
func (b *Backend) knownStructure(id mail.ID) *mail.Part {
	if !b.structures.Contains(id) {
		b.recallStructure(id)
	}
	root, _ := b.structures.Get(id)
	return root
}

// recallStructure takes a MIME tree from the store.
func (b *Backend) recallStructure(id mail.ID) bool {
	root := new(mail.Part)
	raw, ok := b.store.Get(structureKey(id))
	if !ok || !decode(raw, root) {
		return false
	}
	b.structures.Add(id, root)
	return true
}
