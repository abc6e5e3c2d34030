package imapbackend

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"imapfs/mail"
)

// memory is a Store.
type memory struct {
	mu     sync.Mutex // guards values
	values map[string][]byte
}

func newMemory() *memory { return &memory{values: make(map[string][]byte)} }

func (m *memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	return value, ok
}

func (m *memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = value
}

func (m *memory) Delete(prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.values {
		if strings.HasPrefix(key, prefix) {
			delete(m.values, key)
		}
	}
}

// box is a folder whose state a test can change.
type box struct {
	validity, uidNext int
	uids              string // as in ESEARCH
	count             int
}

func (b *box) script() *script {
	return &script{answer: func(tag, command string) string {
		switch word, _, _ := strings.Cut(strings.TrimPrefix(command, "UID "), " "); word {
		case "SELECT":
			return fmt.Sprintf("* %d EXISTS\r\n* OK [UIDVALIDITY %d] x\r\n* OK [UIDNEXT %d] x\r\n%s OK done\r\n", b.count, b.validity, b.uidNext, tag)
		case "SEARCH":
			return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL %s\r\n%s OK done\r\n", tag, b.uids, tag)
		case "FETCH":
			if strings.HasPrefix(command, "UID FETCH 5 ") { // the one that has come
				return line(5, goodStructure, goodDate) + tag + " OK done\r\n"
			}
		}
		return ""
	}}
}

// filled returns a store in which an earlier run has left all of b.
func filled(t *testing.T, b *box) *memory {
	t.Helper()
	store := newMemory()
	cfg := b.script().start(t)
	cfg.Store = store
	backend := listed(t, cfg)
	for uid := range uint32(3) {
		if _, err := backend.Attr(t.Context(), msg(uid+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := backend.Structure(t.Context(), msg(uid+1)); err != nil {
			t.Fatal(err)
		}
	}
	backend.Close()
	return store
}

func remembering(t *testing.T, b *box, store Store) (*Backend, *script) {
	t.Helper()
	s := b.script()
	cfg := s.start(t)
	cfg.Store = store
	return connect(t, cfg), s
}

func TestRemountOfAnUnchangedFolder(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := filled(t, box)
	b, s := remembering(t, box, store)
	l, err := b.Messages(t.Context(), "INBOX")
	if want := (mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2, 3}}); err != nil || !reflect.DeepEqual(l, want) {
		t.Fatalf("got %v, %v", l, err)
	}
	attr, err := b.Attr(t.Context(), msg(2))
	if err != nil || attr.Size != 20 || attr.Date.Unix() != time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC).Unix() {
		t.Errorf("got %v, %v", attr, err)
	}
	root, err := b.Structure(t.Context(), msg(2))
	if err != nil || root.Type != "text/html" {
		t.Errorf("got %v, %v", root, err)
	}
	if n := s.count("SELECT"); n != 1 {
		t.Errorf("%d SELECTs, want 1", n)
	}
	if n := s.count("UID"); n != 0 {
		t.Errorf("%d commands about messages, want none", n)
	}
}

func TestRemountOfAChangedFolder(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := filled(t, box)
	box.uidNext, box.uids = 6, "1,3,5"
	b, s := remembering(t, box, store)
	changes := make(chan mail.Change, 10)
	b.OnChange(func(c mail.Change) { changes <- c })
	l, err := b.Messages(t.Context(), "INBOX")
	if want := (mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 3, 5}}); err != nil || !reflect.DeepEqual(l, want) {
		t.Fatalf("got %v, %v", l, err)
	}
	if c, want := <-changes, (mail.Change{Folder: "INBOX", UIDValidity: 7, Added: []uint32{5}, Removed: []uint32{2}}); !reflect.DeepEqual(c, want) {
		t.Errorf("got %v, want %v", c, want)
	}
	if _, known, err := b.Known(msg(3)); !known || err != nil {
		t.Errorf("what was known of a message is forgotten: %v", err)
	}
	if _, ok := store.Get(structureKey(msg(2))); ok {
		t.Error("the structure of an expunged message is kept")
	}
	if n := s.count("UID SEARCH"); n != 1 {
		t.Errorf("%d SEARCHes, want 1", n)
	}
}

func TestRemountAfterUIDValidityHasChanged(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := filled(t, box)
	box.validity = 8
	b, _ := remembering(t, box, store)
	l, err := b.Messages(t.Context(), "INBOX")
	if want := (mail.Listing{UIDValidity: 8, UIDs: []uint32{1, 2, 3}}); err != nil || !reflect.DeepEqual(l, want) {
		t.Fatalf("got %v, %v", l, err)
	}
	if _, known, _ := b.Known(mail.ID{Folder: "INBOX", UIDValidity: 8, UID: 2}); known {
		t.Error("the attributes of another message are known")
	}
	if _, ok := store.Get(structureKey(msg(2))); ok {
		t.Error("the structures under the old UIDVALIDITY are kept")
	}
}

func TestOffline(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := filled(t, box)
	store.Delete(attrsPrefix("INBOX")) // nothing but the listing
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	cfg := config(addr, "anna", "secret")
	cfg.Store = store
	b := connect(t, cfg)
	if folders := b.Folders(); len(folders) != 1 || folders[0].Name != "INBOX" {
		t.Errorf("got %v", folders)
	}
	l, err := b.Messages(t.Context(), "INBOX")
	if want := (mail.Listing{UIDValidity: 7, UIDs: []uint32{1, 2, 3}}); err != nil || !reflect.DeepEqual(l, want) {
		t.Fatalf("got %v, %v", l, err)
	}
	if _, err := b.Structure(t.Context(), msg(2)); err != nil {
		t.Error(err)
	}
	for what, f := range map[string]func() error{
		"attributes": func() error { _, err := b.Attr(t.Context(), msg(2)); return err },
		"content":    func() error { _, err := b.Fetch(msg(2), "", 0, -1); return err },
		"deletion":   func() error { return b.Delete(t.Context(), msg(2)) },
		"listing":    func() error { _, err := b.Messages(t.Context(), "other"); return err },
	} {
		if err := f(); !errors.Is(err, errAway) {
			t.Errorf("%s: got %v, want %v", what, err, errAway)
		}
	}
	b.Close()

	// Without anything remembered there is nothing to show.
	cfg.Store = newMemory()
	if b, err := Connect(t.Context(), cfg); err == nil {
		b.Close()
		t.Error("connected to nobody")
	}
}

// A wrong password is no reason to show what is remembered.
func TestRememberedButRefused(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := filled(t, box)
	s := box.script()
	usual := s.answer
	s.answer = func(tag, command string) string {
		if strings.HasPrefix(command, "LOGIN") || strings.HasPrefix(command, "AUTHENTICATE") {
			return tag + " NO [AUTHENTICATIONFAILED] no\r\n"
		}
		return usual(tag, command)
	}
	cfg := s.start(t)
	cfg.Store = store
	b, err := Connect(t.Context(), cfg)
	if err == nil {
		b.Close()
	}
	if _, refused := errors.AsType[*LoginError](err); !refused {
		t.Errorf("got %v, want a LoginError", err)
	}
}

func TestStoredForms(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var uids []uint32
		var all []attr
		for uid := uint32(rnd.IntN(5)); len(uids) < rnd.IntN(3000); uid += 1 + uint32(rnd.IntN(3))*uint32(rnd.IntN(1000)) {
			uids = append(uids, uid)
			k := newAttr(rnd.Int64N(1e9)-1, rnd.Int64N(1e10)-1e9)
			if rnd.IntN(3) == 0 {
				k = attr{}
			}
			all = append(all, k)
		}
		b := encodeListing(7, 9, uids)
		validity, uidNext, got, err := decodeListing(b)
		if err != nil || validity != 7 || uidNext != 9 || len(got) != len(uids) || len(uids) > 0 && !reflect.DeepEqual(got, uids) {
			t.Fatalf("%v became %v, %v", uids, got, err)
		}
		back := make([]attr, len(uids))
		attrs := encodeAttrs(uids, all)
		decodeAttrs(attrs, uids, back)
		for i := range all {
			if all[i].isKnown() && all[i] != back[i] || back[i].isKnown() && !all[i].isKnown() {
				t.Fatalf("%v became %v", all[i], back[i])
			}
		}
		// Nothing that is cut makes it fall over.
		decodeListing(b[:rnd.IntN(len(b)+1)])
		decodeAttrs(attrs[:rnd.IntN(len(attrs)+1)], uids, back)
	}
	if _, _, uids, err := decodeListing(encodeListing(1, 0, []uint32{1, 1<<32 - 1})); err != nil || len(uids) != 2 {
		t.Errorf("got %v, %v", uids, err)
	}
}

// stuck is a Store whose Put of a listing waits.
type stuck struct {
	*memory
	arrived chan struct{} // one for each
	free    chan struct{} // closed to let them go
}

func (s *stuck) Put(key string, value []byte) {
	if strings.HasPrefix(key, "listing") {
		s.arrived <- struct{}{}
		<-s.free
	}
	s.memory.Put(key, value)
}

func TestSlowDiskKeepsNobodyWaiting(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := &stuck{memory: newMemory(), arrived: make(chan struct{}, 10), free: make(chan struct{})}
	b, _ := remembering(t, box, store)
	defer close(store.free)
	if _, err := b.Messages(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	<-store.arrived
	soon(t, "listing while the disk is slow", func() {
		if _, err := b.Messages(t.Context(), "INBOX"); err != nil {
			t.Error(err)
		}
	})
}

// TestNeighbourIsRemembered renumbers INBOX. What is known of folders whose name
// begins with that is kept.
func TestNeighbourIsRemembered(t *testing.T) {
	store := newMemory()
	renewed := box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	begin := func() *Backend {
		s := renewed.script()
		usual := s.answer
		s.answer = func(tag, command string) string {
			switch {
			case strings.HasPrefix(command, "LIST"):
				return "* LIST () \"/\" INBOX\r\n* LIST () \"/\" INBOX2\r\n* LIST () \"/\" INBOX/Receipts\r\n" + tag + " OK done\r\n"
			case strings.HasPrefix(command, "SELECT") && !strings.HasSuffix(command, "INBOX"):
				return s.usual(tag, command) // of validity 7
			}
			return usual(tag, command)
		}
		cfg := s.start(t)
		cfg.Store = store
		return connect(t, cfg)
	}
	folders := []string{"INBOX", "INBOX2", "INBOX/Receipts"}
	b := begin()
	for _, folder := range folders {
		if _, err := b.Messages(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Attr(t.Context(), mail.ID{Folder: folder, UIDValidity: 7, UID: 2}); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	renewed.validity = 8
	b = begin()
	if _, err := b.Messages(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	b.Close()
	for _, folder := range folders {
		_, listing := store.Get(listingKey(folder))
		attrs := false
		for key := range store.values {
			attrs = attrs || strings.HasPrefix(key, attrsPrefix(folder))
		}
		if want := folder != "INBOX"; attrs != want || want && !listing {
			t.Errorf("%s: listing %v, attributes %v", folder, listing, attrs)
		}
	}
}
