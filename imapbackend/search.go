package imapbackend

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// search asks which messages of the selected folder meet the criteria (RFC 9051
// §6.4.4), by ESEARCH (RFC 4731) if the server can do that: its answer is a set of
// ranges, 91 bytes for 100,000 messages, instead of every number.
func (l *lease) search(what string, criteria *imap.SearchCriteria) ([]wire.Range, error) {
	l.searching.Lock()
	defer l.searching.Unlock()
	way := &l.b.quirks.searchWay
	if l.can(imap.CapESearch) && way.Load() < bySearch {
		found, err := l.searchOnce(what, criteria, true)
		if isStatus(err) && l.confirm() != nil || !l.isOdd(err) {
			return found, err
		}
		l.b.log.Info("the server cannot do what it offers as ESEARCH; it is asked in the older way", "error", err)
		way.Store(bySearch)
		if l.ended() {
			return nil, err
		}
	}
	found, err := l.searchOnce(what, criteria, false)
	if err != nil && l.isOdd(err) && l.ended() {
		way.Store(byFetch)
	}
	return found, err
}

// isOdd tells whether err is about the command, which the server may not be able
// to do.
func (l *lease) isOdd(err error) bool {
	if isStatus(err) || errors.Is(err, errNoUIDs) {
		return true
	}
	if (errors.Is(err, errBroken) || errors.Is(err, errTimeout)) && l.confirm() == nil {
		return l.b.quirks.searchBreaks.Add(1)%2 == 0
	}
	return false
}

// errNoUIDs says that an answer to SEARCH cannot be read.
var errNoUIDs = errors.New("no UIDs in the answer")

// searchOnce is search in one way. It is called with s.searching held.
func (s *session) searchOnce(what string, criteria *imap.SearchCriteria, extended bool) ([]wire.Range, error) {
	heard, end := s.ear.gather()
	err := s.command(what, func() error {
		_, err := s.client.UIDSearch(criteria, &imap.SearchOptions{ReturnAll: extended}).Wait()
		return err
	})
	end()
	if heard.isOdd || extended && !heard.searched {
		return nil, cmp.Or(err, errNoUIDs)
	}
	return heard.found, err
}

// searchAll returns the UIDs of all messages of the folder.
func (l *lease) searchAll() ([]uint32, error) {
	var ranges []wire.Range
	var err error
	if l.b.quirks.searchWay.Load() < byFetch {
		ranges, err = l.search("list messages", &imap.SearchCriteria{})
	} else {
		err = errNoUIDs
	}
	if serr := l.confirm(); serr != nil {
		return nil, serr
	}
	if isStatus(err) || errors.Is(err, errNoUIDs) || err == nil && l.missing(ranges) {
		l.b.log.Info("the server's SEARCH does not tell all messages; FETCH is asked", "folder", l.b.fullName(l.need.folder), "error", err)
		more, ferr := l.fetchUIDs()
		if err != nil || ferr != nil && !isTheirs(ferr) {
			err = ferr
		}
		ranges = append(ranges, more...)
	}
	if err != nil {
		return nil, err
	}
	return l.expand(ranges)
}

// missing tells whether the ranges have fewer messages than the server counts.
func (l *lease) missing(ranges []wire.Range) bool {
	return size(ranges) < uint64(l.ear.selected().messages)
}

func size(ranges []wire.Range) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Last-r.First) + 1
	}
	return n
}

// fetchUIDs is searchAll for a server that cannot search.
func (l *lease) fetchUIDs() ([]wire.Range, error) {
	var all []wire.Range
	ask := newAsking(l.need.folder, nil, &imap.FetchOptions{RFC822Size: true}, "", 0)
	ask.uids = imap.UIDSet{{Start: 1, Stop: 1<<32 - 1}}
	_, err := l.fetch("list messages", ask, nil, func(m *wire.Message) { all = append(all, wire.Range{First: m.UID, Last: m.UID}) })
	return all, err
}

// expand turns ranges in any order into ascending UIDs of the selected folder.
func (l *lease) expand(ranges []wire.Range) ([]uint32, error) {
	return expand(ranges, max(l.sel.data.messages, l.ear.selected().messages)) // more may have come since
}

// expand turns ranges in any order into ascending UIDs. A range is cheap to send:
// never believe more messages than the server has counted out, but for some that
// arrive just now, nor more than fit into memory (20 bytes each).
func expand(ranges []wire.Range, count uint32) ([]uint32, error) {
	const arriving, mostMessages = 10_000, 10_000_000
	most := arriving + min(uint64(count), mostMessages)
	n := size(ranges)
	if n > most {
		return nil, fmt.Errorf("list messages: %d messages, but %d were expected at most: %w", n, most, errMalformed)
	}
	uids := make([]uint32, 0, n)
	for _, r := range ranges {
		for uid := uint64(r.First); uid <= uint64(r.Last); uid++ {
			uids = append(uids, uint32(uid))
		}
	}
	slices.Sort(uids)
	return slices.Clip(slices.Compact(uids)), nil
}

// holds asks whether the folder has the message.
func (l *lease) holds(id mail.ID) (bool, error) {
	l.searching.Lock()
	defer l.searching.Unlock()
	return l.holdsLocked(id)
}

func (l *lease) holdsLocked(id mail.ID) (bool, error) {
	found, err := l.searchOnce("look for "+id.String(), theMessage(id), false)
	return err == nil && has(found, id.UID), err
}

func theMessage(id mail.ID) *imap.SearchCriteria {
	return &imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(imap.UID(id.UID))}}
}

func has(found []wire.Range, uid uint32) bool {
	return slices.ContainsFunc(found, func(r wire.Range) bool { return r.First <= uid && uid <= r.Last })
}

// gone returns those of the messages that the folder has no more. Only SEARCH
// says so: an answer without a message may mean that the server does not give it.
func (l *lease) gone(uids []uint32) (map[uint32]bool, error) {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	found, err := l.search("look for messages", &imap.SearchCriteria{UID: []imap.UIDSet{set}})
	if err != nil {
		return nil, err
	}
	gone := make(map[uint32]bool)
	for _, uid := range uids {
		if !has(found, uid) {
			gone[uid] = true
		}
	}
	return gone, nil
}
