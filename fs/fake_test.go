package fs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"imapfs/cache"
	"imapfs/mail"
)

// fakeMail is a server whose every answer a test decides.
type fakeMail struct {
	folders []mail.Folder
	fails   func(section string, off int64) error // what becomes of a Fetch

	mu       sync.Mutex // guards what follows
	validity uint32
	messages map[uint32]fakeMessage
	deleted  []mail.ID
	refuses  error // of Delete
}

type fakeMessage struct {
	claimed int64 // RFC822.SIZE, as the server tells it
	raw     []byte
	root    *mail.Part        // nil: that of raw
	parts   map[string][]byte // of sections that are not to be found in raw
}

func (f *fakeMail) Folders() []mail.Folder {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.folders == nil {
		return inbox
	}
	return slices.Clone(f.folders)
}

func (f *fakeMail) Messages(context.Context, string) (mail.Listing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := mail.Listing{UIDValidity: f.validity}
	for uid := range f.messages {
		l.UIDs = append(l.UIDs, uid)
	}
	slices.Sort(l.UIDs)
	return l, nil
}

func (f *fakeMail) Known(id mail.ID) (mail.Attr, bool, error) {
	attr, err := f.Attr(context.Background(), id)
	return attr, err == nil, err
}

func (f *fakeMail) Usage() (messages int, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		bytes += m.claimed
	}
	return len(f.messages), bytes
}

func (f *fakeMail) Describe(string, mail.Listing) error { return nil }

func (f *fakeMail) FetchStarts(folder string, l mail.Listing, n int64, take func(uint32, []byte)) error {
	for _, uid := range l.UIDs {
		b, err := f.Fetch(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}, "", 0, n)
		if err != nil {
			return err
		}
		take(uid, b)
	}
	return nil
}

func (f *fakeMail) message(id mail.ID) (fakeMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.messages[id.UID]
	switch {
	case id.UIDValidity != f.validity:
		return m, mail.ErrStale
	case !ok:
		return m, mail.ErrNotFound
	}
	return m, nil
}

func (f *fakeMail) Attr(_ context.Context, id mail.ID) (mail.Attr, error) {
	m, err := f.message(id)
	return mail.Attr{Size: m.claimed, Date: time.Unix(1e9, 0)}, err
}

func (f *fakeMail) Found(mail.ID, *mail.Part) {}

func (f *fakeMail) Structure(_ context.Context, id mail.ID) (*mail.Part, error) {
	m, err := f.message(id)
	if err != nil {
		return nil, err
	}
	if m.root != nil {
		return m.root, nil
	}
	return mail.Parse(m.raw), nil
}

func (f *fakeMail) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	if f.fails != nil {
		if err := f.fails(section, off); err != nil {
			return nil, err
		}
	}
	m, err := f.message(id)
	if err != nil {
		return nil, err
	}
	b, ok := m.parts[section]
	switch {
	case ok:
	case section == "HEADER":
		b = mail.SplitHeader(m.raw)
	default:
		if b, ok = mail.Parse(m.raw).Bytes(m.raw, section); !ok {
			return nil, fmt.Errorf("no section %s", section)
		}
	}
	b = b[min(off, int64(len(b))):]
	if n >= 0 {
		b = b[:min(n, int64(len(b)))]
	}
	return slices.Clone(b), nil
}

func (f *fakeMail) Delete(_ context.Context, id mail.ID) error {
	if _, err := f.message(id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses != nil {
		return f.refuses
	}
	delete(f.messages, id.UID)
	f.deleted = append(f.deleted, id)
	return nil
}

var inbox = []mail.Folder{{Name: "INBOX", Delim: '/', Selectable: true}}

// newFS returns a file system of fake mail that is not mounted.
func newFS(t testing.TB, f Mail, budget int64) *FS {
	t.Helper()
	fsys, err := New(f, cache.New(budget, nil), Options{Timeout: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}
