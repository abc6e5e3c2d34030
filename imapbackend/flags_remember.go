package imapbackend

import (
	"encoding/binary"
	"slices"
	"strings"

	"imapfs/mail"
)

// Flags are stored only where the server counts changes: without that nobody could tell
// what of them still holds.

// changedFlags notes that the flags of a message have to be stored, if only once it is known
// up to which change they are. It is called with f.mu held.
func (f *folder) changedFlags(uid uint32) {
	if f.flags.dirty == nil {
		f.flags.dirty = make(map[uint32]bool)
	}
	f.flags.dirty[uid/attrsChunk] = true
	f.b.saveSoon()
}

// saveFlags adds what has to be stored, the count of changes last: flags newer than that
// do no harm. It is called with f.mu held.
func (f *folder) saveFlags(entries []toStore) []toStore {
	g := &f.flags
	if g.of == nil || g.modSeq == 0 {
		return entries // what is dirty stays so
	}
	for chunk := range g.dirty {
		i := 0
		if chunk > 0 {
			i = after(f.uids, chunk-1)
		}
		end := after(f.uids, chunk)
		entries = append(entries, toStore{flagsChunkKey(f.name, f.validity, chunk), g.encode(f.uids[i:end], g.of[i:end])})
	}
	if g.dirtyCount {
		entries = append(entries, toStore{flagsKey(f.name, f.validity), binary.AppendUvarint(nil, g.modSeq)})
	}
	g.dirty, g.dirtyCount = nil, false
	return entries
}

// encode writes the flags of messages: the sets that they have, each a string of words, and
// then runs of the same one: how many UIDs are left out, how many follow, and which it is,
// counted from 0.
func (g *flagged) encode(uids, of []uint32) []byte {
	var sets []uint32
	var runs []byte
	for i, next := 0, uint32(0); i < len(uids); {
		n := 1
		for i+n < len(uids) && uids[i+n] == uids[i]+uint32(n) && of[i+n] == of[i] {
			n++
		}
		if of[i] != 0 {
			at := slices.Index(sets, of[i])
			if at < 0 {
				at = len(sets)
				sets = append(sets, of[i])
			}
			runs = binary.AppendUvarint(runs, uint64(uids[i]-next))
			runs = binary.AppendUvarint(runs, uint64(n))
			runs = binary.AppendUvarint(runs, uint64(at))
			next = uids[i] + uint32(n)
		}
		i += n
	}
	b := binary.AppendUvarint(nil, uint64(len(sets)))
	for _, number := range sets {
		words := g.sets[number-1].String()
		b = binary.AppendUvarint(b, uint64(len(words)))
		b = append(b, words...)
	}
	return append(b, runs...)
}

// recallFlags takes what was known of the folder's flags when imapfs ran last from the
// store, once somebody asks for some.
func (f *folder) recallFlags() {
	f.mu.Lock()
	validity, uids := f.validity, f.uids
	f.mu.Unlock()
	raw, ok := f.b.store.Get(flagsKey(f.name, validity))
	modSeq, n := binary.Uvarint(raw)
	if !ok || n <= 0 || modSeq == 0 || len(uids) == 0 {
		return
	}
	found := flagged{of: make([]uint32, len(uids)), modSeq: modSeq}
	for i := 0; i < len(uids); {
		chunk := uids[i] / attrsChunk
		end := i + after(uids[i:], chunk)
		if raw, ok := f.b.store.Get(flagsChunkKey(f.name, validity, chunk)); ok {
			found.decode(raw, uids[i:end], found.of[i:end])
		}
		i = end
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.validity != validity || f.flags.of != nil || !slices.Equal(f.uids, uids) {
		return // it was quicker elsewhere
	}
	found.asked, found.told = f.flags.asked, f.flags.told
	found.stale = true // since SELECT has told a count nobody may have listened
	f.flags = found
	if found.told != 0 && found.told < modSeq {
		f.flags.modSeq = 0 // it counts anew
	}
}

// decode fills in what is stored of messages with these UIDs.
func (g *flagged) decode(b []byte, uids, of []uint32) {
	next := func() (n uint64) {
		n, i := binary.Uvarint(b)
		if i <= 0 {
			b = nil
			return 0
		}
		b = b[i:]
		return n
	}
	var numbers []uint32
	for range min(next(), attrsChunk) {
		length := next()
		if length > uint64(len(b)) {
			return
		}
		numbers = append(numbers, g.number(mail.Flags(strings.Fields(string(b[:length])))))
		b = b[length:]
	}
	for uid := uint64(0); len(b) > 0; {
		uid += next()
		count, set := next(), next()
		if set >= uint64(len(numbers)) || uid+count > 1<<32 {
			return
		}
		from, _ := slices.BinarySearch(uids, uint32(uid))
		for i := from; i < len(uids) && uint64(uids[i]) < uid+count; i++ {
			of[i] = numbers[set]
		}
		uid += count
	}
}

// forgetFlags drops all that is known and stored of flags. It is called with f.mu held.
func (f *folder) forgetFlags() {
	f.flags = flagged{asked: f.flags.asked, told: f.flags.told, syncing: f.flags.syncing, learnt: f.flags.learnt + 1}
	f.b.store.Delete(flagsPrefix(f.name))
}
