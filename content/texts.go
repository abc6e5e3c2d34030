package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"imapfs/mail"
)

// To take a message apart takes longer than to look for a word in it, by far. So of a mirror the text of
// the messages is kept, in chunks of UIDs, compressed: a fifth of the mail. There is no index:
// a search has to find any part of a word, as IMAP's does (RFC 9051 §6.4.4), and an index of those
// is larger than the mail.

// Text is what a search looks through of a message.
type Text struct {
	Headers, Body  []byte // headers.txt and body.txt in lower case
	HasAttachments bool   // there is something in attachments/
}

// textsChunk is of how many UIDs the text is kept together: 1 MB of usual mail.
const textsChunk = 256

// InChunks splits messages of a folder, in ascending order, so that the text of those in a chunk is
// kept together.
func InChunks(uids []uint32) (chunks [][]uint32) {
	for i := 0; i < len(uids); {
		n := i + 1
		for n < len(uids) && uids[n]/textsChunk == uids[i]/textsChunk {
			n++
		}
		chunks = append(chunks, uids[i:n])
		i = n
	}
	return chunks
}

// Texts returns the text of those of the messages that are here, which are all of one chunk. It asks the
// server nothing.
func (s *Store) Texts(ctx context.Context, folder string, validity uint32, uids []uint32) map[uint32]Text {
	key := textsKey(folder, validity, uids[0]/textsChunk)
	all := s.storedTexts(key)
	isNew := false
	for _, uid := range uids {
		if _, ok := all[uid]; ok || ctx.Err() != nil {
			continue
		}
		if p := s.Message(mail.ID{Folder: folder, UIDValidity: validity, UID: uid}).keptParsed(ctx); p != nil {
			all[uid] = Text{bytes.ToLower(p.headers()), bytes.ToLower(p.body()), len(p.root.Attachments()) > 0}
			isNew = true
		}
	}
	if isNew && s.mirror.Load() != nil {
		s.storeTexts(key, all)
	}
	return all
}

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0)) // for DecodeAll
	if err != nil {
		panic(err) // of the options
	}
	return d
})

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err) // of the options
	}
	return e
})

func (s *Store) storedTexts(key string) map[uint32]Text {
	all := make(map[uint32]Text)
	packed, ok := s.cache.Disk().Get(key)
	if !ok {
		return all
	}
	b, err := zstdDecoder().DecodeAll(packed, nil)
	for err == nil && len(b) > 0 {
		var uid uint32
		var t Text
		if uid, t, b, ok = nextText(b); !ok {
			break
		}
		all[uid] = t
	}
	return all
}

// storeTexts keeps a chunk, where that pushes out nothing else.
func (s *Store) storeTexts(key string, all map[uint32]Text) {
	var b []byte
	for uid, t := range all {
		b = appendText(b, uid, t)
	}
	packed := zstdEncoder().EncodeAll(b, nil)
	if disk := s.cache.Disk(); disk.Used()+int64(len(packed)) <= disk.Budget() {
		disk.Put(key, packed)
	}
}

// appendText writes UID, whether there are attachments, and both texts behind their lengths.
func appendText(b []byte, uid uint32, t Text) []byte {
	b = binary.BigEndian.AppendUint32(b, uid)
	if t.HasAttachments {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for _, text := range [][]byte{t.Headers, t.Body} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}

// nextText is the inverse of appendText.
func nextText(b []byte) (uid uint32, t Text, rest []byte, ok bool) {
	if len(b) < 5 {
		return 0, t, nil, false
	}
	uid, t.HasAttachments = binary.BigEndian.Uint32(b), b[4] == 1
	b = b[5:]
	for _, text := range []*[]byte{&t.Headers, &t.Body} {
		if len(b) < 4 {
			return 0, t, nil, false
		}
		n := binary.BigEndian.Uint32(b)
		if b = b[4:]; uint64(n) > uint64(len(b)) {
			return 0, t, nil, false
		}
		*text, b = b[:n:n], b[n:]
	}
	return uid, t, b, true
}

// forgetTexts drops the chunks in which there is text of messages that are gone.
func (s *Store) forgetTexts(folder string, validity uint32, gone []uint32) {
	gone = slices.Sorted(slices.Values(gone))
	for _, uids := range InChunks(gone) {
		s.cache.Disk().Delete(textsKey(folder, validity, uids[0]/textsChunk))
	}
}

// seenTexts is the messages of a chunk when its text was last looked at.
type seenTexts struct {
	n    int
	last uint32
}

// keepTexts makes the text of all messages be there for who searches, of the folders that were
// mirrored, while nothing else is to be done.
func (m *mirror) keepTexts(ctx context.Context) {
	for folder := range m.untexted {
		list, err := m.server.Messages(ctx, folder)
		if err != nil {
			return
		}
		for _, uids := range InChunks(list.UIDs) {
			m.busy.wait(ctx)
			disk := m.cache.Disk()
			if ctx.Err() != nil || len(m.wake) > 0 || disk.Failing() {
				return
			}
			key := textsKey(folder, list.UIDValidity, uids[0]/textsChunk)
			if seen := (seenTexts{len(uids), uids[len(uids)-1]}); m.texted[key] != seen {
				m.Texts(ctx, folder, list.UIDValidity, uids)
				m.texted[key] = seen
			}
		}
		delete(m.untexted, folder)
	}
}
