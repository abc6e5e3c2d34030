package imapbackend

import (
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// mostLiteral is the largest piece of a message that is taken into memory,
// 64 MiB. Larger ones are asked for in pieces.
const mostLiteral = 64 << 20

var errTooLarge = errors.New("the server sends more than it was asked for")

// fetch is one UID FETCH. take is called for each message of which something has
// come, once the folder is known to be the right one: with all that was asked for,
// or at the end with what there is.
func (l *lease) fetch(what string, ask *asking, take func(*wire.Message)) error {
	_, err := l.fetchAndLook(what, ask, nil, take)
	return err
}

// fetchAndLook is fetch that asks which of uids, as far as they did not come, are
// gone. Some servers send a message behind the end of the command: so nobody is
// given up before there is another answer.
func (l *lease) fetchAndLook(what string, ask *asking, uids []uint32, take func(*wire.Message)) (gone map[uint32]bool, err error) {
	defer l.ear.end(ask)
	came := make(map[uint32]bool)
	parts := make(map[uint32]*wire.Message) // of which more may come
	var early []*wire.Message
	hand := func(m *wire.Message) {
		came[m.UID] = true
		// What comes before the answer to SELECT has to be taken without waiting
		// for that, or neither would go on.
		if early = append(early, m); l.sel.answered() {
			l.hand(early, take)
			early = nil
		}
	}
	gather := func(m wire.Message) {
		whole := &m
		if have := parts[m.UID]; have != nil {
			if len(have.Sections) > mostTwice {
				return
			}
			merge(have, m)
			whole = have
		}
		if ask.isComplete(whole) {
			delete(parts, m.UID)
			hand(whole)
		} else {
			parts[m.UID] = whole
		}
	}
	// while takes what comes until f has ended.
	while := func(f func() error) error {
		ended := make(chan error, 1)
		go func() { ended <- f() }()
		for {
			select {
			case m := <-ask.came:
				gather(m)
			case err := <-ended:
				for len(ask.came) > 0 {
					gather(<-ask.came)
				}
				return err
			}
		}
	}
	err = l.command(what, func() error {
		l.ear.sending.Lock()
		l.ear.begin(ask)
		cmd := l.client.Fetch(ask.uids, ask.options)
		l.ear.sending.Unlock()
		return while(cmd.Close)
	})
	missing := slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool { return came[uid] || parts[uid] != nil })
	if err == nil && len(missing) > 0 && l.confirm() == nil {
		err = while(func() (err error) {
			gone, err = l.gone(missing)
			return err
		})
	}
	for _, m := range parts {
		hand(m)
	}
	l.hand(early, take)
	return gone, err
}

// mostTwice is how often content may come of which there should be one.
const mostTwice = 4

// hand hands messages to take, if they are from the right folder.
func (l *lease) hand(messages []*wire.Message, take func(*wire.Message)) {
	if len(messages) == 0 || l.confirm() != nil {
		return
	}
	for _, m := range messages {
		take(m)
	}
}

// begin has the answers to a FETCH given to whoever asks, until end.
func (e *ear) begin(a *asking) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, a)
}

func (e *ear) end(a *asking) {
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

// bulkSize is where a fetch counts as a large transfer, 256 kB.
const bulkSize = 256 << 10

// Fetch returns n bytes from offset off of a section of a message, fewer at
// its end, all from off if n is negative. The section is "" for the whole
// message, "HEADER", or a part's number (RFC 9051 §6.4.5). The message is not
// marked as read. Attributes that are not known yet come along with the whole
// message. Fetch ends when the server has answered or has been silent for
// Config.Timeout. What the server did not give is not asked for again for a
// while, which grows.
func (b *Backend) Fetch(id mail.ID, section string, off, n int64) ([]byte, error) {
	f := b.folder(id.Folder)
	p := piece{b: b, id: id, section: section, what: fmt.Sprintf("fetch %s[%s]", id, section)}
	if err := f.trouble(id, section); err != nil {
		return nil, fmt.Errorf("%s: %w", p.what, err)
	}
	content, err := p.read(off, n)
	if errors.Is(err, mail.ErrNotFound) {
		b.refreshSoon(id.Folder)
	}
	if isTheirs(err) && !errors.Is(err, mail.ErrRefused) {
		err = fmt.Errorf("%w (%w)", err, mail.ErrRefused)
	}
	f.settleTrouble(id, section, err)
	return content, err
}

// FetchStarts fetches the first n bytes of each message in l with one command,
// and hands them to take as they come, in any order. A message that take was
// not called for has to be fetched by itself. All calls for a folder that
// overlap go through one connection, behind each other. Where the command fails
// the messages are divided until it is known which of them are to blame; these
// are left out for a while, which grows.
func (b *Backend) FetchStarts(folder string, l mail.Listing, n int64, take func(uid uint32, start []byte)) error {
	f := b.folder(folder)
	item := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: n}}
	options := &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{item}}
	need := messagesOf(folder, l.UIDValidity)
	need.ahead = true
	uids := slices.DeleteFunc(slices.Clone(l.UIDs), func(uid uint32) bool {
		return f.trouble(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}, "") != nil
	})
	failed, err := f.divide(need, uids, func(lease *lease, uids []uint32, came map[uint32]bool) error {
		defer lease.content.lock(uids...)()
		err := lease.fetch("fetch messages of "+folder, newAsking(folder, uids, options, "", n), func(m *wire.Message) {
			p := piece{b: b, id: mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: m.UID}}
			start, err := p.choose(m, "", item.Partial)
			came[m.UID] = true
			if err == nil && (int64(len(start)) == n || p.isWhole(int64(len(start)))) {
				take(m.UID, start) // what is in doubt is asked for by itself
			}
		})
		if err == nil {
			for _, uid := range uids { // what did not come is asked for by itself
				came[uid] = true
			}
		}
		return err
	})
	for uid, why := range failed {
		f.settleTrouble(mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}, "", why)
	}
	return err
}
