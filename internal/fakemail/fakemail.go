// Package fakemail is a mail server whose every answer a test decides.
package fakemail

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"imapfs/mail"
	"imapfs/query"
)

// Server is such a server. It implements fs.Mail and content.Server.
type Server struct {
	Mailboxes []mail.Folder                         // nil for Inbox
	Fails     func(section string, off int64) error // what becomes of a Fetch
	Searches  func(first uint32)                    // is told of a Search, and can keep it; nil for nobody

	sync.Mutex // guards what follows, and Mailboxes where they change
	Validity   uint32
	Mail       map[uint32]Message
	Deleted    []mail.ID
	Refuses    error // of Delete
}

// Message is a message, by its UID in each mailbox.
type Message struct {
	Claimed int64 // RFC822.SIZE, as the server tells it
	Raw     []byte
	Root    *mail.Part        // nil: that of Raw
	Parts   map[string][]byte // of sections that are not to be found in Raw
	Date    time.Time         // INTERNALDATE of what was appended
	Flags   mail.Flags
}

// Inbox is the mailboxes of a server that has only one.
var Inbox = []mail.Folder{{Name: "INBOX", Delim: '/', Selectable: true}}

// Folders implements fs.Mail.
func (f *Server) Folders() []mail.Folder {
	f.Lock()
	defer f.Unlock()
	if f.Mailboxes == nil {
		return Inbox
	}
	return slices.Clone(f.Mailboxes)
}

// Messages implements fs.Mail.
func (f *Server) Messages(context.Context, string) (mail.Listing, error) {
	f.Lock()
	defer f.Unlock()
	l := mail.Listing{UIDValidity: f.Validity}
	for uid := range f.Mail {
		l.UIDs = append(l.UIDs, uid)
	}
	slices.Sort(l.UIDs)
	return l, nil
}

// Known implements content.Server.
func (f *Server) Known(id mail.ID) (mail.Attr, bool, error) {
	attr, err := f.Attr(context.Background(), id)
	return attr, err == nil, err
}

// Envelope implements fs.Mail.
func (f *Server) Envelope(_ context.Context, id mail.ID) (mail.Envelope, error) {
	f.Lock()
	defer f.Unlock()
	m, ok := f.Mail[id.UID]
	if !ok {
		return mail.Envelope{}, mail.ErrNotFound
	}
	return mail.ParseEnvelope(m.Raw, m.Date), nil
}

// Envelopes implements fs.Mail.
func (f *Server) Envelopes(ctx context.Context, folder string, l mail.Listing, from int) (all []mail.Envelope, err error) {
	for _, uid := range l.UIDs[from:] {
		e, _ := f.Envelope(ctx, mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid})
		all = append(all, e)
	}
	return all, nil
}

// ListEach implements fs.Mail.
func (f *Server) ListEach(context.Context, []string) error { return nil }

// IsListed implements fs.Mail.
func (f *Server) IsListed(string) bool { return true }

// Search implements fs.Mail. It finds every message.
func (f *Server) Search(ctx context.Context, folder string, _, first, last uint32, _ query.Query) ([]uint32, error) {
	if f.Searches != nil {
		f.Searches(first)
	}
	l, err := f.Messages(ctx, folder)
	return l.UIDs[l.After(first-1):l.After(last)], err
}

// SearchEach implements fs.Mail. It leaves each folder to Search.
func (f *Server) SearchEach(context.Context, []string, query.Query, func(string, mail.Listing, uint32)) error {
	return nil
}

// Rights implements fs.Mail.
func (f *Server) Rights(string) mail.Rights {
	return mail.Rights{Insert: true, Create: true, Delete: true, Flag: true}
}

// Flags implements fs.Mail.
func (f *Server) Flags(_ context.Context, id mail.ID) (mail.Flags, error) {
	f.Lock()
	defer f.Unlock()
	m, ok := f.Mail[id.UID]
	if !ok {
		return nil, mail.ErrNotFound
	}
	return m.Flags, nil
}

// Trash implements fs.Changer.
func (f *Server) Trash() string { return "" }

// FolderFlags implements fs.Mail.
func (f *Server) FolderFlags(context.Context, string) (all []mail.MessageFlags, err error) {
	f.Lock()
	defer f.Unlock()
	for _, uid := range slices.Sorted(maps.Keys(f.Mail)) {
		all = append(all, mail.MessageFlags{UID: uid, Flags: f.Mail[uid].Flags})
	}
	return all, nil
}

// SetFlags implements fs.Changer.
func (f *Server) SetFlags(_ context.Context, _ string, _ uint32, uids []uint32, c mail.FlagChange) error {
	f.Lock()
	defer f.Unlock()
	for _, uid := range uids {
		m, ok := f.Mail[uid]
		if !ok {
			return mail.ErrNotFound
		}
		add, remove := c.Of(m.Flags)
		m.Flags = slices.DeleteFunc(append(slices.Clone(m.Flags), add...), remove.Has)
		f.Mail[uid] = m
	}
	return f.Refuses
}

// Usage implements fs.Mail.
func (f *Server) Usage() (u mail.Usage) {
	f.Lock()
	defer f.Unlock()
	for _, m := range f.Mail {
		u.Bytes += m.Claimed
	}
	u.Messages = len(f.Mail)
	return u
}

// Describe implements content.Server.
func (f *Server) Describe(string, mail.Listing) error { return nil }

// FetchStarts implements content.Server.
func (f *Server) FetchStarts(folder string, l mail.Listing, n int64, take func(uint32, []byte)) error {
	for _, uid := range l.UIDs {
		b, err := f.Fetch(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}, "", 0, n)
		if err != nil {
			return err
		}
		take(uid, b)
	}
	return nil
}

func (f *Server) message(id mail.ID) (Message, error) {
	f.Lock()
	defer f.Unlock()
	m, ok := f.Mail[id.UID]
	switch {
	case id.UIDValidity != f.Validity:
		return m, mail.ErrStale
	case !ok:
		return m, mail.ErrNotFound
	}
	return m, nil
}

// Attr implements fs.Mail.
func (f *Server) Attr(_ context.Context, id mail.ID) (mail.Attr, error) {
	m, err := f.message(id)
	return mail.Attr{Size: m.Claimed, Date: time.Unix(1e9, 0)}, err
}

// Newest implements fs.Mail.
func (f *Server) Newest(string) (date time.Time, isKnown bool) { return time.Unix(1e9, 0), false }

// Dates implements fs.Mail.
func (f *Server) Dates(_ context.Context, folders []string) (map[string]time.Time, error) {
	dates := make(map[string]time.Time)
	for _, folder := range folders {
		dates[folder], _ = f.Newest(folder)
	}
	return dates, nil
}

// Found implements content.Server.
func (f *Server) Found(mail.ID, *mail.Part) {}

// DescribeParts implements content.Server.
func (f *Server) DescribeParts(string, mail.Listing) error { return nil }

// Structure implements content.Server.
func (f *Server) Structure(_ context.Context, id mail.ID) (*mail.Part, error) {
	m, err := f.message(id)
	if err != nil {
		return nil, err
	}
	if m.Root != nil {
		return m.Root, nil
	}
	return mail.Parse(m.Raw), nil
}

// Fetch implements content.Server.
func (f *Server) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	if f.Fails != nil {
		if err := f.Fails(section, off); err != nil {
			return nil, err
		}
	}
	m, err := f.message(id)
	if err != nil {
		return nil, err
	}
	b, ok := m.Parts[section]
	switch {
	case ok:
	case section == "HEADER":
		b = mail.SplitHeader(m.Raw)
	default:
		if b, ok = mail.Parse(m.Raw).Bytes(m.Raw, section); !ok {
			return nil, fmt.Errorf("no section %s", section)
		}
	}
	b = b[min(off, int64(len(b))):]
	if n >= 0 {
		b = b[:min(n, int64(len(b)))]
	}
	return slices.Clone(b), nil
}

// Delete implements fs.Mail.
func (f *Server) Delete(_ context.Context, id mail.ID) error {
	if _, err := f.message(id); err != nil {
		return err
	}
	f.Lock()
	defer f.Unlock()
	if f.Refuses != nil {
		return f.Refuses
	}
	delete(f.Mail, id.UID)
	f.Deleted = append(f.Deleted, id)
	return nil
}

// Move implements fs.Changer: all mailboxes have the same messages, so it is Copy and
// then Delete.
func (f *Server) Move(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	moved, err := f.Copy(ctx, id, to)
	if err == nil {
		err = f.Delete(ctx, id)
	}
	return moved, err
}

// Copy implements fs.Changer.
func (f *Server) Copy(_ context.Context, id mail.ID, to string) (mail.ID, error) {
	m, err := f.message(id)
	if err != nil {
		return mail.ID{}, err
	}
	return f.add(to, m)
}

// Append implements fs.Changer.
func (f *Server) Append(_ context.Context, to string, l mail.Letter) (mail.ID, error) {
	raw := make([]byte, l.Size)
	if _, err := l.Content.ReadAt(raw, 0); err != nil && err != io.EOF {
		return mail.ID{}, err
	}
	return f.add(to, Message{Claimed: l.Size, Raw: raw, Date: l.Date})
}

// Discard implements fs.Changer.
func (f *Server) Discard(ctx context.Context, id mail.ID) error { return f.Delete(ctx, id) }

func (f *Server) add(to string, m Message) (mail.ID, error) {
	f.Lock()
	defer f.Unlock()
	if f.Refuses != nil {
		return mail.ID{}, f.Refuses
	}
	uid := uint32(1)
	for other := range f.Mail {
		uid = max(uid, other+1)
	}
	f.Mail[uid] = m
	return mail.ID{Folder: to, UIDValidity: f.Validity, UID: uid}, nil
}

// CreateFolder implements fs.Changer.
func (f *Server) CreateFolder(_ context.Context, parent, component string) error {
	return f.arrange(func(list []mail.Folder) []mail.Folder {
		return append(list, mail.Folder{Name: join(parent, component), Delim: '/', Selectable: true})
	})
}

// RenameFolder implements fs.Changer.
func (f *Server) RenameFolder(_ context.Context, from, parent, component string) error {
	return f.arrange(func(list []mail.Folder) []mail.Folder {
		for i, folder := range list {
			if rest, ok := strings.CutPrefix(folder.FullName()+"/", from+"/"); ok {
				list[i].Renamed = strings.TrimSuffix(join(parent, component)+"/"+rest, "/")
			}
		}
		return list
	})
}

// DeleteFolder implements fs.Changer.
func (f *Server) DeleteFolder(_ context.Context, name string) error {
	return f.arrange(func(list []mail.Folder) []mail.Folder {
		return slices.DeleteFunc(list, func(folder mail.Folder) bool { return folder.FullName() == name })
	})
}

func (f *Server) arrange(change func([]mail.Folder) []mail.Folder) error {
	list := slices.Clone(f.Folders())
	f.Lock()
	defer f.Unlock()
	if f.Refuses == nil {
		f.Mailboxes = change(list)
	}
	return f.Refuses
}

func join(parent, component string) string { return strings.TrimPrefix(parent+"/"+component, "/") }
