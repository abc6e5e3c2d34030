package imapbackend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// flagged is what is known of the flags of a folder's messages: nothing before somebody
// has asked. From then on it is kept current. A server says when it has changed flags, but
// not of which message, as sequence numbers say nothing here: so it is asked for what has
// changed since (CHANGEDSINCE, RFC 7162 §3.1.4.1), or, where it does not count changes,
// for all that is known. It costs 4 bytes a message.
type flagged struct {
	asked   time.Time         // when somebody has asked last
	sets    []mail.Flags      // that messages have, or had
	numbers map[string]uint32 // of these by their words: index + 1
	of      []uint32          // the set of the message with the UID at the same index, 0 for not known; nil: of none
	modSeq  uint64            // what is known holds up to this MODSEQ at least; 0: nobody counts
	told    uint64            // HIGHESTMODSEQ as reported last, 0 for none: not all tell it with SELECT
	stale   bool              // something may have changed
	syncing bool              // syncFlags is running
	pause   time.Duration     // before syncFlags asks again: it grows while nothing has changed
	window  window            // reading ahead

	learnt     int             // messages of which flags became known, so far
	dirty      map[uint32]bool // chunks that have to be stored
	dirtyCount bool            // and modSeq
}

const (
	// mostFlagSets is how many different sets of flags are told apart. A folder with
	// more begins anew.
	mostFlagSets = 1 << 16
	// mostFlags is of how many messages flags are asked for at once, some 2 MB, and
	// mostRanges how many ranges of UIDs they may be: servers bound the length of a line,
	// and 8192 bytes are what RFC 7162 §4 wants them to take.
	mostFlags  = 20_000
	mostRanges = 300
)

// flagsWanted is how long at least changes are asked for after somebody has wanted to know
// flags. Who waits for changes asks more often than that.
const flagsWanted = 15 * time.Second

// flagging is what the server does not do for a message of which it does not tell flags.
const flagging = "\x00flags"

// Flags returns the flags of a message, from memory once they have been asked for.
// Neighbours that are likely to be wanted next come along. While the server is away they
// are those of the last time.
func (b *Backend) Flags(ctx context.Context, id mail.ID) (mail.Flags, error) {
	f := b.folder(id.Folder)
	f.flagsRecalled.Do(f.recallFlags)
	for range 3 {
		flags, isKnown, isStale, err := f.knownFlags(id)
		if err != nil || isKnown && !isStale {
			return flags, err
		}
		asked, err := b.doFor(ctx, "flags "+id.Folder, func() error { return f.loadFlags(id) })
		switch {
		case err == nil || !asked:
		case isKnown && isUnreached(err):
			return flags, nil
		default:
			return nil, err
		}
	}
	flags, isKnown, _, err := f.knownFlags(id)
	if err == nil && !isKnown {
		err = fmt.Errorf("%s: the server does not tell its flags: %w", id, mail.ErrRefused)
	}
	return flags, err
}

// knownFlags returns what is known of a message's flags, and that they may have changed
// since. Whoever asks wants to know in future too.
func (f *folder) knownFlags(id mail.ID) (flags mail.Flags, isKnown, isStale bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flags.asked = time.Now()
	i, err := f.check(id)
	if err != nil || f.flags.of == nil || f.flags.of[i] == 0 {
		return nil, false, false, err
	}
	return f.flags.sets[f.flags.of[i]-1], true, f.flags.stale, nil
}

func (f *folder) loadFlags(id mail.ID) error {
	if err := f.trouble(id, flagging); err != nil {
		return err
	}
	f.mu.Lock()
	isStale := f.flags.stale
	f.mu.Unlock()
	if isStale {
		if err := f.askForChangedFlags(); err != nil {
			return err
		}
		if _, isKnown, _, err := f.knownFlags(id); err != nil || isKnown {
			return err // its neighbours may be known too
		}
	}
	uids, err := f.batch(id, &f.flags.window, mostAttrs, func(i int) bool { return f.flags.of == nil || f.flags.of[i] == 0 })
	if err != nil || len(uids) == 0 {
		return err
	}
	gone, failed, err := f.fetchFlags(id.UIDValidity, uids)
	if gone[id.UID] {
		return fmt.Errorf("%s: %w", id, mail.ErrNotFound)
	}
	return cmp.Or(failed[id.UID], err)
}

// fetchFlags asks for the flags of messages, and returns those that are gone, and those of
// which the server does not tell them.
func (f *folder) fetchFlags(validity uint32, uids []uint32) (gone map[uint32]bool, failed map[uint32]error, err error) {
	err = f.learnFlags(validity, func(take func(*wire.Message) bool) (err error) {
		gone, failed, err = f.fetchEach(validity, uids, flagsOnly, take)
		return err
	})
	f.settleTroubles(validity, flagging, uids, failed)
	return gone, failed, err
}

// learnFlags takes in what ask is told of flags. What is the first that anybody knows of the
// folder's holds up to the highest MODSEQ in it.
func (f *folder) learnFlags(validity uint32, ask func(take func(*wire.Message) bool) error) error {
	f.mu.Lock()
	isFirst := f.flags.of == nil
	f.mu.Unlock()
	var highest uint64
	err := ask(func(m *wire.Message) bool {
		f.setFlags(validity, m)
		highest = max(highest, m.ModSeq)
		return m.HasFlags
	})
	if isFirst && err == nil {
		f.mu.Lock()
		learnt := f.flags.learnt
		f.mu.Unlock()
		f.upTo(validity, highest, learnt)
	}
	return err
}

// flagsOnly asks for flags, and for MODSEQ where the server counts changes, which it does
// from then on (RFC 7162 §3.1; see lease.fetch).
var flagsOnly = &imap.FetchOptions{Flags: true}

// setFlags takes in the flags of a message, and tells whether they are others than were
// known.
func (f *folder) setFlags(validity uint32, m *wire.Message) (changed bool) {
	if !m.HasFlags {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := f.check(mail.ID{Folder: f.name, UIDValidity: validity, UID: m.UID})
	if err != nil {
		return false
	}
	if len(f.flags.sets) >= mostFlagSets {
		f.forgetFlags() // also what is stored, which would not be kept current
	}
	if f.flags.of == nil {
		f.flags.of, f.flags.modSeq = make([]uint32, len(f.uids)), m.ModSeq
		f.flags.dirtyCount = true
	}
	number := f.flags.number(mail.FlagsOf(m.Flags))
	if f.flags.of[i] == 0 {
		f.flags.learnt++
	}
	changed = f.flags.of[i] != number
	if changed {
		f.flags.pause = 0
		f.flags.of[i] = number
		f.changedFlags(m.UID)
	}
	return changed
}

// upTo notes that all that is known holds up to this MODSEQ: a message that was looked at
// then had it, and whatever changes later gets a higher one. Of a message that was not
// among those of which learnt is the count nobody has asked whether it has changed since.
func (f *folder) upTo(validity uint32, modSeq uint64, learnt int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.validity == validity && f.flags.of != nil && f.flags.learnt == learnt && modSeq > f.flags.modSeq {
		f.flags.modSeq, f.flags.dirtyCount = modSeq, true
		f.b.saveSoon()
	}
}

// number returns the number of a set of flags, which it gets if it has none.
func (g *flagged) number(flags mail.Flags) uint32 {
	words := flags.String()
	if n, ok := g.numbers[words]; ok {
		return n
	}
	if g.numbers == nil {
		g.numbers = make(map[string]uint32)
	}
	g.sets = append(g.sets, flags)
	g.numbers[words] = uint32(len(g.sets))
	return g.numbers[words]
}

// heardFlags is told that the server has changed flags in the folder that s has selected.
func (p *pool) heardFlags(s *session) {
	p.mu.Lock()
	folders := s.place.concerned()
	p.mu.Unlock()
	for _, name := range folders {
		f := p.b.folder(name)
		f.mu.Lock()
		f.flagsSoon()
		f.mu.Unlock()
	}
}

// countedFlags takes in the HIGHESTMODSEQ that SELECT or STATUS has told, 0 for none: then
// flags may have changed since anybody has heard of them. Where nobody has asked for long
// nobody is asked now.
func (f *folder) countedFlags(modSeq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flags.told = modSeq
	switch {
	case f.flags.of == nil, modSeq != 0 && modSeq == f.flags.modSeq:
		return
	case modSeq != 0 && modSeq < f.flags.modSeq:
		f.flags.modSeq = 0 // it counts anew
	}
	f.flags.stale = true
	switch {
	case time.Since(f.flags.asked) < max(2*f.b.cfg.Poll, flagsWanted):
		f.flagsSoon()
	case f.flags.modSeq == 0:
		f.forgetFlags()
	}
}

// flagsSoon has the server asked which flags have changed. It is called with f.mu held.
func (f *folder) flagsSoon() {
	if f.flags.of == nil {
		return
	}
	f.flags.stale = true
	if !f.flags.syncing {
		f.flags.syncing = f.b.start(f.syncFlags)
	}
}

// flagsPause is the shortest pause between two questions for what has changed. Where a
// question takes long the pause is longer; it grows up to mostFlagsPause where a server
// reports changes again and again, of which there are none, or which it does not tell.
const (
	flagsPause     = 200 * time.Millisecond
	mostFlagsPause = 15 * time.Second
)

// syncFlags asks which flags have changed until no change is reported any more. What
// fails waits for the next report, or for somebody who wants to know.
func (f *folder) syncFlags() {
	for {
		f.mu.Lock()
		f.flags.pause = min(max(2*f.flags.pause, flagsPause), mostFlagsPause)
		f.mu.Unlock()
		begun := time.Now()
		err := f.askForChangedFlags()
		took := time.Since(begun)
		if err != nil && f.b.ctx.Err() == nil {
			f.b.log.Info("cannot ask which flags have changed", "folder", f.b.fullName(f.name), "error", err)
		}
		f.mu.Lock()
		pause := max(f.flags.pause, flagsPause, 10*took)
		f.mu.Unlock()
		f.b.sleep(pause)
		f.mu.Lock()
		if f.flags.syncing = f.flags.stale && err == nil && f.b.ctx.Err() == nil; !f.flags.syncing {
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
	}
}

// askForChangedFlags is refreshFlags, once for all who wait for it.
func (f *folder) askForChangedFlags() error {
	return f.b.do(f.b.ctx, "changed flags "+f.name, f.refreshFlags)
}

// refreshFlags asks for what has changed of the flags that are known.
func (f *folder) refreshFlags() error {
	f.mu.Lock()
	validity, since, learnt := f.validity, f.flags.modSeq, f.flags.learnt
	var known []uint32
	for i, number := range f.flags.of {
		if number != 0 {
			known = append(known, f.uids[i])
		}
	}
	f.flags.stale = false
	f.mu.Unlock()
	var changed []uint32
	var upTo uint64
	for i, set := range askable(known, since != 0) {
		err := f.b.pool.with(messagesOf(f.name, validity), func(l *lease) error {
			ask := newAsking(f.name, nil, &imap.FetchOptions{Flags: true, ChangedSince: since}, "", 0)
			ask.uids = set
			_, err := l.fetch("ask for flags of "+f.name, ask, nil, func(m *wire.Message) {
				if _, asked := slices.BinarySearch(known, m.UID); !asked {
					return
				}
				if i == 0 { // the others are asked for later
					upTo = max(upTo, m.ModSeq)
				}
				if f.setFlags(validity, m) {
					changed = append(changed, m.UID)
				}
			})
			if err == nil && i == 0 && l.confirm() == nil {
				// Not what another connection was told: this one may not know of it yet.
				upTo = max(upTo, l.sel.data.modSeq)
			}
			return err
		})
		if err != nil && f.refreshFailed(validity, since, err) {
			return f.refreshFlags()
		}
		if err != nil {
			return err
		}
	}
	f.upTo(validity, upTo, learnt)
	if len(changed) > 0 {
		f.b.notify(mail.Change{Folder: f.name, UIDValidity: validity, Flags: changed})
	}
	return nil
}

// askable divides UIDs, which are ascending, into sets that can be asked for at once. Where
// only what has changed is answered that is one, and what lies between costs nothing.
func askable(uids []uint32, changed bool) (sets []imap.UIDSet) {
	if changed && len(uids) > 0 {
		return []imap.UIDSet{{{Start: imap.UID(uids[0]), Stop: imap.UID(uids[len(uids)-1])}}}
	}
	begin, ranges := 0, 0
	for i, uid := range uids {
		if i == begin || uid != uids[i-1]+1 {
			ranges++
		}
		if i-begin == mostFlags || ranges > mostRanges {
			sets = append(sets, setOf(uids[begin:i]))
			begin, ranges = i, 1
		}
	}
	if begin < len(uids) {
		sets = append(sets, setOf(uids[begin:]))
	}
	return sets
}

// refreshFailed has what could not be asked asked for again, at once if only the server
// does not know what has changed, or not any more.
func (f *folder) refreshFailed(validity uint32, since uint64, err error) (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.validity != validity || f.flags.modSeq != since {
		return false
	}
	f.flags.stale = true
	if again = since != 0 && isTheirs(err); again {
		f.flags.modSeq = 0
	}
	return again
}
