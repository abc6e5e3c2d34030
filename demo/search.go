package demo

import (
	"bytes"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-message/charset"
)

// eachLocked calls f for the messages of a set that the client has been told
// of: seqNum is the client's number, index the place in the mailbox.
func (v *view) eachLocked(set imap.NumSet, f func(seqNum, index uint32, msg *message)) {
	set = v.resolveLocked(set)
	for i, msg := range v.msgs {
		// A message without a number has arrived since the client last heard of
		// the mailbox. It will learn of it at the end of this command.
		seqNum := v.tracker.EncodeSeqNum(uint32(i) + 1)
		if seqNum == 0 {
			continue
		}
		var in bool
		switch set := set.(type) {
		case imap.SeqSet:
			in = set.Contains(seqNum)
		case imap.UIDSet:
			in = set.Contains(msg.uid)
		}
		if in {
			f(seqNum, uint32(i), msg)
		}
	}
}

// found is a message of a set with its flags at that moment.
type found struct {
	seqNum uint32
	msg    *message
	flags  []imap.Flag
}

// find returns the messages of a set, each after change was called for it with
// v.mu held.
func (v *view) find(set imap.NumSet, change func(index uint32, msg *message)) (list []found) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.eachLocked(set, func(seqNum, index uint32, msg *message) {
		change(index, msg)
		list = append(list, found{seqNum, msg, msg.flagList()})
	})
	return list
}

// resolveLocked returns a set of plain numbers: "*" is the last message, "$"
// the saved search result.
func (v *view) resolveLocked(set imap.NumSet) imap.NumSet {
	if imap.IsSearchRes(set) {
		return v.saved
	}
	switch set := set.(type) {
	case imap.SeqSet:
		var last uint32
		for i := range v.msgs {
			last = max(last, v.tracker.EncodeSeqNum(uint32(i)+1))
		}
		out := make(imap.SeqSet, len(set))
		for i, r := range set {
			out[i].Start, out[i].Stop = resolveRange(r.Start, r.Stop, last)
		}
		return out
	case imap.UIDSet:
		var last imap.UID
		if n := len(v.msgs); n > 0 {
			last = v.msgs[n-1].uid
		}
		out := make(imap.UIDSet, len(set))
		for i, r := range set {
			out[i].Start, out[i].Stop = resolveRange(r.Start, r.Stop, last)
		}
		return out
	}
	return set
}

// resolveRange puts last in place of "*", which go-imap writes as 0. The order
// of the two ends means nothing: "9:*" holds the last message even if that is
// number 7 (RFC 9051 §9, seq-range).
func resolveRange[N uint32 | imap.UID](start, stop, last N) (N, N) {
	if start == 0 {
		start = last
	}
	if stop == 0 {
		stop = last
	}
	return min(start, stop), max(start, stop)
}

func (s *session) Search(kind imapserver.NumKind, criteria *imap.SearchCriteria, options *imap.SearchOptions) (*imap.SearchData, error) {
	v := s.view
	v.mu.Lock()
	defer v.mu.Unlock()
	v.resolveCriteriaLocked(criteria)

	var (
		data imap.SearchData
		seqs imap.SeqSet
		uids imap.UIDSet
	)
	for i, msg := range v.msgs {
		seqNum := v.tracker.EncodeSeqNum(uint32(i) + 1)
		if seqNum == 0 || !msg.matches(seqNum, criteria) {
			continue
		}
		seqs.AddNum(seqNum)
		uids.AddNum(msg.uid)
		num := seqNum
		if kind == imapserver.NumKindUID {
			num = uint32(msg.uid)
		}
		if data.Count == 0 {
			data.Min = num
		}
		data.Max = num
		data.Count++
	}
	data.All = seqs
	if kind == imapserver.NumKindUID {
		data.All = uids
	}
	if options.ReturnSave {
		v.saved = uids
	}
	return &data, nil
}

func (v *view) resolveCriteriaLocked(c *imap.SearchCriteria) {
	var seqs []imap.SeqSet
	for _, set := range c.SeqNum {
		switch set := v.resolveLocked(set).(type) {
		case imap.SeqSet:
			seqs = append(seqs, set)
		case imap.UIDSet: // it was "$"
			c.UID = append(c.UID, set)
		}
	}
	c.SeqNum = seqs
	for i, set := range c.UID {
		c.UID[i] = v.resolveLocked(set).(imap.UIDSet)
	}
	for i := range c.Not {
		v.resolveCriteriaLocked(&c.Not[i])
	}
	for i := range c.Or {
		v.resolveCriteriaLocked(&c.Or[i][0])
		v.resolveCriteriaLocked(&c.Or[i][1])
	}
}

// words decodes the words of RFC 2047 in a field.
var words = mime.WordDecoder{CharsetReader: charset.Reader}

func decoded(value string) string {
	if text, err := words.DecodeHeader(value); err == nil {
		return text
	}
	return value
}

// matches tells whether a message fulfils all criteria. Text is looked for in the fields of
// the header decoded, and in the body as it is.
func (msg *message) matches(seqNum uint32, c *imap.SearchCriteria) bool {
	size := int64(len(msg.raw))
	switch {
	case slices.ContainsFunc(c.SeqNum, func(set imap.SeqSet) bool { return !set.Contains(seqNum) }),
		slices.ContainsFunc(c.UID, func(set imap.UIDSet) bool { return !set.Contains(msg.uid) }),
		slices.ContainsFunc(c.Flag, func(f imap.Flag) bool { return !msg.has(f) }),
		slices.ContainsFunc(c.NotFlag, msg.has),
		c.Larger != 0 && size <= c.Larger,
		c.Smaller != 0 && size >= c.Smaller,
		!within(msg.date, c.Since, c.Before):
		return false
	case !c.SentSince.IsZero() || !c.SentBefore.IsZero():
		if sent := msg.sentDate(); sent.IsZero() || !within(sent, c.SentSince, c.SentBefore) {
			return false
		}
	}
	for _, h := range c.Header {
		has := func(f rawField) bool {
			return strings.EqualFold(f.name, h.Key) && contains(decoded(f.value()), h.Value)
		}
		if !slices.ContainsFunc(fields(msg.root().header), has) {
			return false
		}
	}
	for _, text := range c.Text {
		has := func(f rawField) bool { return contains(decoded(f.value()), text) }
		if !contains(string(msg.raw), text) && !slices.ContainsFunc(fields(msg.root().header), has) {
			return false
		}
	}
	for _, text := range c.Body {
		if !contains(string(msg.root().body), text) {
			return false
		}
	}
	for i := range c.Not {
		if msg.matches(seqNum, &c.Not[i]) {
			return false
		}
	}
	for i := range c.Or {
		if !msg.matches(seqNum, &c.Or[i][0]) && !msg.matches(seqNum, &c.Or[i][1]) {
			return false
		}
	}
	return true
}

// within compares days, without regard to time and zone (RFC 9051 §6.4.4).
func within(t, since, before time.Time) bool {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return (since.IsZero() || !day.Before(since)) && (before.IsZero() || day.Before(before))
}

func contains(s, sub string) bool {
	return bytes.Contains(bytes.ToLower([]byte(s)), bytes.ToLower([]byte(sub)))
}
