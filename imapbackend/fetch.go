package imapbackend

import (
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
)

// fetch is a UID FETCH. take is called for each message of which something has
// come, once the folder is known to be the right one: with all that was asked for,
// or at the end with what there is. Which of uids are gone is asked if they did not come.
//
// A connection gives nothing of a message of which it has not told yet that it exists
// (RFC 9051 section 7.4.1), nor does it with a FETCH right behind the NOOP that makes it
// look (Dovecot). So what is there and did not come is asked for once more if the
// server has told of more messages meanwhile.
func (l *lease) fetch(what string, ask *asking, uids []uint32, take func(*wire.Message)) (gone map[uint32]bool, err error) {
	if ask.options.Flags && !l.b.quirks.noModSeq.Load() && l.can(imap.CapCondStore) {
		counted := *ask.options
		counted.ModSeq = true
		ask.options = &counted
		defer func() {
			if isStatus(err) && ask.options.ChangedSince == 0 {
				l.b.quirks.noModSeq.Store(true) // or it refuses all: then that is of no harm
			}
		}()
	}
	gone, kept, err := l.fetchOnce(what, ask, uids, take)
	if err == nil && len(kept) > 0 && l.ear.growth() != l.growth {
		var late map[uint32]bool
		late, _, err = l.fetchOnce(what, newAsking(ask.folder, kept, ask.options, ask.section, ask.most), kept, take)
		maps.Copy(gone, late)
	}
	return gone, err
}

// fetchOnce is one UID FETCH. What did not come is gone, or kept by the server, which is
// asked behind it: some servers send a message behind the end of the command, so nobody is
// given up before there is another answer.
func (l *lease) fetchOnce(what string, ask *asking, uids []uint32, take func(*wire.Message)) (gone map[uint32]bool, kept []uint32, err error) {
	defer l.ear.unask(ask)
	d := &delivery{l: l, ask: ask, take: take, came: make(map[uint32]bool), parts: make(map[uint32]*wire.Message)}
	err = l.command(what, func() error {
		l.ear.sending.Lock()
		l.ear.ask(ask)
		cmd := l.client.Fetch(ask.uids, ask.options)
		l.ear.sending.Unlock()
		return d.while(cmd.Close)
	})
	came := func(uid uint32) bool { return d.came[uid] || d.parts[uid] != nil }
	missing := slices.DeleteFunc(slices.Clone(uids), came)
	if err == nil && len(missing) > 0 && l.confirm() == nil {
		err = d.while(func() (err error) {
			gone, err = l.gone(missing)
			return err
		})
		kept = slices.DeleteFunc(missing, func(uid uint32) bool { return gone[uid] || came(uid) })
	}
	for _, m := range d.parts {
		d.add(m)
	}
	d.hand()
	return gone, kept, err
}

// delivery is the messages that come while a FETCH is under way.
type delivery struct {
	l     *lease
	ask   *asking
	take  func(*wire.Message)
	came  map[uint32]bool
	parts map[uint32]*wire.Message // of which more may come
	early []*wire.Message          // that came before the answer to SELECT
}

// while takes what comes until f has ended.
func (d *delivery) while(f func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	for {
		select {
		case m := <-d.ask.came:
			d.gather(&m)
		case err := <-ended:
			for len(d.ask.came) > 0 {
				m := <-d.ask.came
				d.gather(&m)
			}
			return err
		}
	}
}

// mostTwice is how often content may come of which there should be one.
const mostTwice = 4

// gather puts together what comes of a message in several answers.
func (d *delivery) gather(m *wire.Message) {
	whole := d.parts[m.UID]
	switch {
	case whole == nil:
		whole = m
	case len(whole.Sections) > mostTwice:
		return
	default:
		merge(whole, m)
	}
	if d.parts[m.UID] = whole; d.ask.isComplete(whole) {
		delete(d.parts, m.UID)
		d.add(whole)
	}
}

// add hands a message on, if it can be known already that it is from the right
// folder. What comes before the answer to SELECT has to be taken without waiting for
// that, or neither would go on.
func (d *delivery) add(m *wire.Message) {
	d.came[m.UID] = true
	if d.early = append(d.early, m); d.l.sel.answered() {
		d.hand()
	}
}

func (d *delivery) hand() {
	if len(d.early) > 0 && d.l.confirm() == nil {
		for _, m := range d.early {
			d.take(m)
		}
	}
	d.early = nil
}

// ask has the answers to a FETCH given to whoever asks, until unask.
func (e *ear) ask(a *asking) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, a)
}

func (e *ear) unask(a *asking) {
	e.mu.Lock()
	e.asked = slices.DeleteFunc(e.asked, func(other *asking) bool { return other == a })
	e.mu.Unlock()
	for {
		select {
		case <-a.came: // somebody was about to hand it over
		default:
			return
		}
	}
}

// fetchEach fetches options of the messages and hands each to take, which tells
// whether enough was there. It returns those that are gone, and those which the
// server does not give.
func (f *folder) fetchEach(validity uint32, uids []uint32, options *imap.FetchOptions, take func(*wire.Message) bool) (gone map[uint32]bool, failed map[uint32]error, err error) {
	section, most := "", int64(0)
	if len(options.BodySection) > 0 {
		section, most = sectionOf(options.BodySection[0].HeaderFields), mostHeaderFields
	}
	gone = make(map[uint32]bool)
	failed, err = f.divide(messagesOf(f.name, validity), uids, func(l *lease, uids []uint32, came map[uint32]bool) error {
		lost, err := l.fetch("describe messages of "+f.name, newAsking(f.name, uids, options, section, most), uids, func(m *wire.Message) {
			if take(m) {
				came[m.UID] = true
			}
		})
		for uid := range lost {
			gone[uid], came[uid] = true, true
		}
		return err
	})
	if len(gone) > 0 {
		f.b.refreshSoon(f.name)
	}
	return gone, failed, err
}

// asking is one UID FETCH under way.
type asking struct {
	folder  string
	uids    imap.UIDSet
	one     uint32 // the only one of them; 0: there are more
	options *imap.FetchOptions
	section string // of BodySection, as wire.Section has it
	most    int64  // content, in bytes
	came    chan wire.Message

	// Guarded by ear.mu:
	tag   string // once it is sent
	ended bool   // the server has said so
}

// newAsking prepares a FETCH. section is "" for the whole message; it counts
// where options have a BodySection.
func newAsking(folder string, uids []uint32, options *imap.FetchOptions, section string, most int64) *asking {
	a := &asking{folder: folder, options: options, section: section, most: most, came: make(chan wire.Message, 16)}
	for _, uid := range uids {
		a.uids.AddNum(imap.UID(uid))
	}
	if len(uids) == 1 {
		a.one = uids[0]
	}
	return a
}

// fits tells how much of what was asked for the answer has, 0 for nothing.
func (a *asking) fits(m *wire.Message) int {
	if m.UID == 0 && (a.one == 0 || a.options.Flags) || m.UID != 0 && !a.uids.Contains(imap.UID(m.UID)) {
		return 0
	}
	n := 0
	if len(a.options.BodySection) > 0 {
		if slices.ContainsFunc(m.Sections, a.isOurs) {
			n += 4
		}
	}
	if a.options.BodyStructure != nil && (m.Structure != nil || slices.Contains(m.Odd, "BODYSTRUCTURE")) {
		n += 2
	}
	if a.options.Flags && m.HasFlags {
		n += 2
	}
	if a.options.RFC822Size && m.Size >= 0 || a.options.InternalDate && !m.Date.IsZero() {
		n++
	}
	if n == 0 && m.Broken && m.UID != 0 {
		return 1
	}
	return n
}

// isOurs tells whether it is the section that was asked for. Which fields of a
// header there are each server writes in its own way, or not at all: the first one tells
// what two askings are about from each other.
func (a *asking) isOurs(s wire.Section) bool {
	if first, ok := strings.CutPrefix(a.section, headerFields); ok {
		told, ok := strings.CutPrefix(s.Name, headerFields)
		return ok && (!strings.ContainsRune(told, '(') || strings.Contains(told, first))
	}
	return s.Name == a.section
}

const headerFields = "HEADER.FIELDS"

// sectionOf is asking.section of some fields of the header: these words, and the first field.
func sectionOf(fields []string) string { return headerFields + strings.ToUpper(fields[0]) }

// isComplete tells whether the answer has all that was asked for.
func (a *asking) isComplete(m *wire.Message) bool {
	o := a.options
	return (!o.RFC822Size || m.Size >= 0) && (!o.Flags || m.HasFlags) && (!o.InternalDate || !m.Date.IsZero()) &&
		(o.BodyStructure == nil || m.Structure != nil) &&
		(len(o.BodySection) == 0 || slices.ContainsFunc(m.Sections, a.isOurs))
}

// merge adds what a further answer says of the same message.
func merge(m, more *wire.Message) {
	if m.Size < 0 {
		m.Size = more.Size
	}
	if m.Date.IsZero() {
		m.Date = more.Date
	}
	if m.Structure == nil {
		m.Structure = more.Structure
	}
	if more.HasFlags {
		m.Flags, m.HasFlags = more.Flags, true
	}
	m.ModSeq = max(m.ModSeq, more.ModSeq)
	m.Sections = append(m.Sections, more.Sections...)
	m.Odd = append(m.Odd, more.Odd...)
	m.Broken = m.Broken || more.Broken
}
