package imapbackend

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/cache"
	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// What a person knows a message by is read here from the fields of its header, as
// headers.txt shows them: an ENVELOPE (RFC 9051 §7.5.2) is three times as long, and each
// server has its own way to read a header. It is kept by chunks of attrsChunk UIDs.

// mostEnvelopes is the largest batch: some 300 kB on the wire.
const mostEnvelopes = 2048

// envelopesAhead is how many batches are asked for before anybody needs them, where somebody
// goes through a folder.
const envelopesAhead = 3

// envelopesKept bounds the envelopes in memory, in bytes: those of some 100,000 messages.
const envelopesKept = 16 << 20

// enveloping is what troubles are about.
const enveloping = "\x00envelope"

// chunkOf names the messages with UIDs of a chunk.
type chunkOf struct {
	folder          string
	validity, chunk uint32
}

// envelopes is what is known of the messages of a chunk. It is never changed.
type envelopes struct {
	uids []uint32 // ascending
	of   []mail.Envelope
}

// newEnvelopes keeps the chunks that were used last.
func newEnvelopes() *cache.Weighted[chunkOf, envelopes] {
	return cache.NewWeighted(envelopesKept, func(_ chunkOf, e envelopes) int64 {
		n := int64(100)
		for _, e := range e.of {
			n += int64(80 + len(e.From) + len(e.To) + len(e.Subject))
		}
		return n
	})
}

// find returns the envelope of a message. One of which the server does not give the header
// is known too, as nothing.
func (e envelopes) find(uid uint32) (mail.Envelope, bool) {
	i, ok := slices.BinarySearch(e.uids, uid)
	if !ok {
		return mail.Envelope{}, false
	}
	return e.of[i], true
}

// with returns e with what is known of further messages, with UIDs in ascending order.
func (e envelopes) with(more envelopes) envelopes {
	var all envelopes
	i := 0
	for j, uid := range more.uids {
		for ; i < len(e.uids) && e.uids[i] < uid; i++ {
			all.uids, all.of = append(all.uids, e.uids[i]), append(all.of, e.of[i])
		}
		if i < len(e.uids) && e.uids[i] == uid {
			i++
		}
		all.uids, all.of = append(all.uids, uid), append(all.of, more.of[j])
	}
	all.uids, all.of = append(all.uids, e.uids[i:]...), append(all.of, e.of[i:]...)
	return all
}

// Envelope returns what a person knows the message by; the zero one if the server does not
// tell.
func (b *Backend) Envelope(ctx context.Context, id mail.ID) (mail.Envelope, error) {
	f := b.folder(id.Folder)
	for range 3 {
		f.mu.Lock()
		_, err := f.check(id)
		f.mu.Unlock()
		if err != nil {
			return mail.Envelope{}, err
		}
		if e, ok := f.envelopesOf(id.UIDValidity, id.UID/attrsChunk).find(id.UID); ok {
			return e, nil
		}
		asked, err := b.doFor(ctx, "envelope "+id.Folder, func() error {
			uids, err := f.batch(id, &f.envelopeWindow, mostEnvelopes, func(i int) bool {
				_, ok := f.keptEnvelopes(id.UIDValidity, f.uids[i]/attrsChunk).find(f.uids[i])
				return !ok
			})
			if err != nil {
				return err
			}
			gone, err := f.loadEnvelopes(id.UIDValidity, uids)
			if gone[id.UID] {
				return fmt.Errorf("%s: %w", id, mail.ErrNotFound)
			}
			return err
		})
		if err != nil && asked {
			return mail.Envelope{}, err
		}
	}
	return mail.Envelope{}, fmt.Errorf("envelope of %s: %w", id, mail.ErrNotFound)
}

// Envelopes returns what a person knows the messages l.UIDs[from:] by, of as many of them
// as come in one batch. Those behind are asked for in time.
func (b *Backend) Envelopes(ctx context.Context, folder string, l mail.Listing, from int) ([]mail.Envelope, error) {
	f := b.folder(folder)
	load := func(ctx context.Context, first int) ([]mail.Envelope, error) {
		uids := l.UIDs[min(first, len(l.UIDs)):min(first+mostEnvelopes, len(l.UIDs))]
		all, unknown := f.someEnvelopes(l.UIDValidity, uids)
		if len(unknown) == 0 {
			return all, nil
		}
		err := b.do(ctx, fmt.Sprintf("envelopes %s/%d %d", folder, l.UIDValidity, uids[0]), func() error {
			_, unknown := f.someEnvelopes(l.UIDValidity, uids) // somebody may have asked in between
			if len(unknown) == 0 {
				return nil
			}
			_, err := f.loadEnvelopes(l.UIDValidity, unknown)
			return err
		})
		if err == nil {
			all, _ = f.someEnvelopes(l.UIDValidity, uids)
		}
		return all, err
	}
	// Wherever somebody begins, the batches are the same: none is asked for twice.
	first := from - from%mostEnvelopes
	for i := 1; i <= envelopesAhead; i++ {
		if next := first + i*mostEnvelopes; next < len(l.UIDs) {
			b.start(func() { load(b.ctx, next) }) // its error comes back when it is needed
		}
	}
	all, err := load(ctx, first)
	if err != nil {
		return nil, err
	}
	return all[from-first:], nil
}

// someEnvelopes returns what is known of messages, and of which nothing is.
func (f *folder) someEnvelopes(validity uint32, uids []uint32) (all []mail.Envelope, unknown []uint32) {
	all = make([]mail.Envelope, len(uids))
	var chunk envelopes
	for i, uid := range uids {
		if i == 0 || uid/attrsChunk != uids[i-1]/attrsChunk {
			chunk = f.envelopesOf(validity, uid/attrsChunk)
		}
		e, ok := chunk.find(uid)
		if !ok {
			unknown = append(unknown, uid)
		}
		all[i] = e
	}
	return all, unknown
}

// keptEnvelopes returns a chunk from memory.
func (f *folder) keptEnvelopes(validity, chunk uint32) envelopes {
	e, _ := f.b.envelopes.Get(chunkOf{f.name, validity, chunk})
	return e
}

// envelopesOf returns a chunk from memory, or from the store.
func (f *folder) envelopesOf(validity, chunk uint32) envelopes {
	if e := f.keptEnvelopes(validity, chunk); len(e.uids) > 0 {
		return e
	}
	raw, ok := f.b.store.Get(envelopesKey(f.name, validity, chunk))
	if !ok {
		return envelopes{}
	}
	e := decodeEnvelopes(raw)
	f.addEnvelopes(validity, chunk, e, false)
	return e
}

// addEnvelopes adds to what is known of a chunk.
func (f *folder) addEnvelopes(validity, chunk uint32, more envelopes, isNew bool) {
	if len(more.uids) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.validity != 0 && f.validity != validity {
		return
	}
	f.b.envelopes.Add(chunkOf{f.name, validity, chunk}, f.keptEnvelopes(validity, chunk).with(more))
	if isNew {
		if f.dirtyEnvelopes == nil {
			f.dirtyEnvelopes = make(map[uint32]bool)
		}
		f.dirtyEnvelopes[chunk] = true
		f.b.saveSoon()
	}
}

// loadEnvelopes asks for the envelopes of messages, and for their attributes along. It
// returns those that are gone.
func (f *folder) loadEnvelopes(validity uint32, uids []uint32) (gone map[uint32]bool, err error) {
	options := &imap.FetchOptions{RFC822Size: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{
		Specifier: imap.PartSpecifierHeader, Peek: true, HeaderFields: []string{"Subject", "From", "To", "Date"},
	}}}
	found := make(map[uint32]mail.Envelope)
	gone, failed, err := f.fetchEach(validity, uids, options, func(m *wire.Message) bool {
		f.setAttrs(validity, m)
		i := slices.IndexFunc(m.Sections, func(s wire.Section) bool { return strings.HasPrefix(s.Name, headerFields) })
		if i < 0 || m.Sections[i].Content == nil {
			return false
		}
		found[m.UID] = mail.ParseEnvelope(m.Sections[i].Content, m.Date)
		return true
	})
	f.settleTroubles(validity, enveloping, uids, failed)
	if err != nil && !isTheirs(err) {
		failed = nil // all is asked for again
	} else if len(failed) > 0 || err != nil {
		f.b.log.Warn("the server does not give the header of some messages, which are called by their numbers", "folder", f.b.fullName(f.name), "messages", len(uids)-len(found)-len(gone))
		for _, uid := range uids {
			if _, ok := found[uid]; !ok && !gone[uid] {
				found[uid] = mail.Envelope{}
			}
		}
		err = nil
	}
	for i := 0; i < len(uids); {
		chunk := uids[i] / attrsChunk
		var more envelopes
		for ; i < len(uids) && uids[i]/attrsChunk == chunk; i++ {
			if e, ok := found[uids[i]]; ok {
				more.uids, more.of = append(more.uids, uids[i]), append(more.of, e)
			}
		}
		f.envelopesOf(validity, chunk) // so that what is stored of it is not lost
		f.addEnvelopes(validity, chunk, more, true)
	}
	return gone, err
}

// saveEnvelopes adds what has to be stored. It is called with f.mu held.
func (f *folder) saveEnvelopes(entries []toStore) []toStore {
	for chunk := range f.dirtyEnvelopes {
		if e := f.keptEnvelopes(f.validity, chunk); len(e.uids) > 0 {
			entries = append(entries, toStore{envelopesKey(f.name, f.validity, chunk), e.encode()})
		}
	}
	f.dirtyEnvelopes = nil
	return entries
}

// encode writes what is known: UID as difference to the one before, date in seconds, and
// the texts with their lengths.
func (e envelopes) encode() []byte {
	var b []byte
	var uid uint32
	var date int64
	for i, e2 := range e.of {
		if e2.IsZero() {
			continue // the server may tell it another time
		}
		b = binary.AppendUvarint(b, uint64(e.uids[i]-uid))
		b = binary.AppendVarint(b, e2.Date.Unix()-date)
		for _, text := range []string{e2.From, e2.To, e2.Subject} {
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
		uid, date = e.uids[i], e2.Date.Unix()
	}
	return b
}

var errCutShort = errors.New("cut short")

// decodeEnvelopes is the inverse of encode, as far as b can be read.
func decodeEnvelopes(raw []byte) (all envelopes) {
	b := string(raw) // one piece of memory for all texts
	var err error
	number := func() (n uint64) {
		for shift := 0; shift < 64; shift += 7 {
			if b == "" {
				break
			}
			c := b[0]
			b = b[1:]
			n |= uint64(c&0x7f) << shift
			if c < 0x80 {
				return n
			}
		}
		err = errCutShort
		return 0
	}
	text := func() string {
		n := number()
		if n > uint64(len(b)) {
			err = errCutShort
			return ""
		}
		s := b[:n]
		b = b[n:]
		return s
	}
	var uid uint64
	var date int64
	for b != "" {
		uid += number()
		later := number()
		date += int64(later>>1) ^ -int64(later&1)
		e := mail.Envelope{Date: time.Unix(date, 0).UTC(), From: text(), To: text(), Subject: text()}
		if err != nil || uid == 0 || uid >= 1<<32 || len(all.uids) > 0 && uint32(uid) <= all.uids[len(all.uids)-1] {
			break
		}
		all.uids, all.of = append(all.uids, uint32(uid)), append(all.of, e)
	}
	return all
}
