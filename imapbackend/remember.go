package imapbackend

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"slices"
	"time"

	"imapfs/mail"
)

// Store keeps byte strings across restarts. It may forget any of them at any
// time, and never returns a wrong one. It is safe for concurrent use.
type Store interface {
	Get(key string) ([]byte, bool)
	// Put returns before the value is safe, but may wait for others.
	Put(key string, value []byte)
	// Delete forgets all keys that begin with prefix. It waits for nothing.
	Delete(prefix string)
}

// forgetful is the Store of those who have none.
type forgetful struct{}

func (forgetful) Get(string) ([]byte, bool) { return nil, false }
func (forgetful) Put(string, []byte)        {}
func (forgetful) Delete(string)             {}

// The keys in the store. Names of folders hold no NUL (RFC 9051 §9).
const (
	foldersKey = "folders"
	wiresKey   = "wires" // see names.go
)

func listingKey(folder string) string { return "listing\x00" + folder + "\x00" }

func attrsPrefix(folder string) string { return "attrs\x00" + folder + "\x00" }

func attrsKey(folder string, validity, chunk uint32) string {
	return string(be32(be32([]byte(attrsPrefix(folder)), validity), chunk))
}

func structurePrefix(folder string) string { return "structure2\x00" + folder + "\x00" }

func structureKey(id mail.ID) string {
	return string(be32(be32(be32([]byte(structurePrefix(id.Folder)), id.UIDValidity), id.UID), mail.Version))
}

// Of flags: those of messages by chunks, as attributes; and up to which change they are.
func flagsPrefix(folder string) string { return "flags\x00" + folder + "\x00" }

func flagsKey(folder string, validity uint32) string {
	return string(be32([]byte(flagsPrefix(folder)), validity))
}

func flagsChunkKey(folder string, validity, chunk uint32) string {
	return string(be32([]byte(flagsKey(folder, validity)), chunk))
}

// Of envelopes: those of messages by chunks, too.
func envelopesPrefix(folder string) string { return "envelopes\x00" + folder + "\x00" }

func envelopesKey(folder string, validity, chunk uint32) string {
	return string(be32(be32(be32([]byte(envelopesPrefix(folder)), validity), chunk), mail.Version))
}

var be32 = binary.BigEndian.AppendUint32

// encode turns v into bytes. gob keeps names in any charset as they are.
func encode(v any) []byte {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		panic(err) // only for a type that it cannot write
	}
	return b.Bytes()
}

func decode(b []byte, v any) bool { return gob.NewDecoder(bytes.NewReader(b)).Decode(v) == nil }

// recallFolders takes the mailboxes from the store, and tells whether there are
// some.
func (b *Backend) recallFolders() bool {
	var list []mail.Folder
	if raw, ok := b.store.Get(foldersKey); !ok || !decode(raw, &list) || len(list) == 0 {
		return false
	}
	var wires map[string]string
	if raw, ok := b.store.Get(wiresKey); ok {
		decode(raw, &wires)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.list, b.wires = list, wires
	return true
}

// recall takes what was known of the folder when imapfs ran last from the store. It
// is run once, without f.mu: the disk may be slow.
func (f *folder) recall() {
	raw, ok := f.b.store.Get(listingKey(f.name))
	if !ok {
		return
	}
	validity, uidNext, uids, err := decodeListing(raw)
	if err != nil {
		return
	}
	all := make([]attr, len(uids))
	for i := 0; i < len(uids); {
		chunk := uids[i] / attrsChunk
		end := i + after(uids[i:], chunk)
		if raw, ok := f.b.store.Get(attrsKey(f.name, validity, chunk)); ok {
			decodeAttrs(raw, uids[i:end], all[i:end])
		}
		i = end
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.source == fromNowhere {
		f.source, f.validity, f.uidNext, f.uids, f.attrs = fromStore, validity, uidNext, uids, all
	}
}

// after returns the index of the first UID behind the chunk.
func after(uids []uint32, chunk uint32) int {
	i, _ := slices.BinarySearchFunc(uids, chunk, func(uid, chunk uint32) int {
		if uid/attrsChunk <= chunk {
			return -1
		}
		return 1
	})
	return i
}

// saveEvery is how long changes are collected before they are stored.
const saveEvery = time.Second

// saver stores what has changed. It ends with the backend, after the last
// change.
func (b *Backend) saver() {
	for closing := false; !closing; {
		select {
		case <-b.unsaved:
			b.sleep(saveEvery)
		case <-b.ctx.Done():
			closing = true
		}
		for _, f := range b.used() {
			f.save()
		}
	}
}

// changed notes that the listing has to be stored. It is called with f.mu held.
func (f *folder) changed() {
	f.dirty = true
	f.b.saveSoon()
}

// changedAttr notes that the attributes of a message have to be stored. It is
// called with f.mu held.
func (f *folder) changedAttr(uid uint32) {
	if f.dirtyAttrs == nil {
		f.dirtyAttrs = make(map[uint32]bool)
	}
	f.dirtyAttrs[uid/attrsChunk] = true
	f.b.saveSoon()
}

func (b *Backend) saveSoon() {
	select {
	case b.unsaved <- struct{}{}:
	default:
	}
}

// toStore is a value for the store.
type toStore struct {
	key   string
	value []byte
}

// save stores what has changed. The store may be slow, so nobody waits for f.mu
// meanwhile.
func (f *folder) save() {
	var entries []toStore
	f.mu.Lock()
	if f.source != fromNowhere {
		// The listing last: attributes without it do no harm.
		for chunk := range f.dirtyAttrs {
			i := 0
			if chunk > 0 {
				i = after(f.uids, chunk-1)
			}
			end := after(f.uids, chunk)
			entries = append(entries, toStore{attrsKey(f.name, f.validity, chunk), encodeAttrs(f.uids[i:end], f.attrs[i:end])})
		}
		if f.dirty {
			entries = append(entries, toStore{listingKey(f.name), encodeListing(f.validity, f.uidNext, f.uids)})
		}
		f.dirty, f.dirtyAttrs = false, nil
		entries = f.saveFlags(entries)
		entries = f.saveEnvelopes(entries)
	}
	f.mu.Unlock()
	for _, e := range entries {
		f.b.store.Put(e.key, e.value)
	}
}

// forgetStored takes all that is stored of the folder out of the store.
func (f *folder) forgetStored() {
	f.b.store.Delete(listingKey(f.name))
	f.b.store.Delete(attrsPrefix(f.name))
	f.b.store.Delete(structurePrefix(f.name))
	f.b.store.Delete(envelopesPrefix(f.name))
	f.forgetFlags()
}

var errStored = errors.New("not as it was stored")

// encodeListing writes UIDs as runs: how many are left out, how many follow.
func encodeListing(validity, uidNext uint32, uids []uint32) []byte {
	b := be32(be32(nil, validity), uidNext)
	for i, end := 0, uint32(0); i < len(uids); {
		n := 1
		for i+n < len(uids) && uids[i+n] == uids[i]+uint32(n) {
			n++
		}
		b = binary.AppendUvarint(b, uint64(uids[i]-end))
		b = binary.AppendUvarint(b, uint64(n))
		end = uids[i] + uint32(n)
		i += n
	}
	return b
}

func decodeListing(b []byte) (validity, uidNext uint32, uids []uint32, err error) {
	if len(b) < 8 {
		return 0, 0, nil, errStored
	}
	validity, uidNext = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	b = b[8:]
	for end := uint64(0); len(b) > 0; {
		gap, i := binary.Uvarint(b)
		n, j := binary.Uvarint(b[max(i, 0):])
		if i <= 0 || j <= 0 || gap > 1<<32 || n > 1<<32 || end+gap+n > 1<<32 {
			return 0, 0, nil, errStored
		}
		b = b[i+j:]
		uids = slices.Grow(uids, int(n))
		for uid := end + gap; uid < end+gap+n; uid++ {
			uids = append(uids, uint32(uid))
		}
		end += gap + n
	}
	return validity, uidNext, uids, nil
}

// attrsChunk is for how many UIDs in a row attributes are stored together.
const attrsChunk = 1024

// encodeAttrs writes what is known of messages: UID and date as difference to
// the one before, size in bytes.
func encodeAttrs(uids []uint32, all []attr) []byte {
	var b []byte
	var uid uint32
	var date int64
	for i, k := range all {
		if !k.isKnown() || k.size() == 0 && k.date == 0 {
			continue // or the server does not tell it, which may change
		}
		b = binary.AppendUvarint(b, uint64(uids[i]-uid))
		b = binary.AppendVarint(b, k.date-date)
		b = binary.AppendUvarint(b, uint64(k.size()))
		uid, date = uids[i], k.date
	}
	return b
}

// decodeAttrs fills in what is known of the messages with these UIDs.
func decodeAttrs(b []byte, uids []uint32, all []attr) {
	var uid, date int64
	for len(b) > 0 {
		gap, i := binary.Uvarint(b)
		later, j := binary.Varint(b[max(i, 0):])
		size, k := binary.Uvarint(b[max(i, 0)+max(j, 0):])
		if i <= 0 || j <= 0 || k <= 0 || gap > 1<<32 || size > 1<<62 {
			return
		}
		b = b[i+j+k:]
		uid, date = uid+int64(gap), date+later
		if at, found := slices.BinarySearchFunc(uids, uid, func(a uint32, uid int64) int { return int(int64(a) - uid) }); found {
			all[at] = newAttr(int64(size), date)
		}
	}
}
