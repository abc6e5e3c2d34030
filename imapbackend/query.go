package imapbackend

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
	"imapfs/query"
)

// Search returns which of the messages of a folder with UIDs from first to last a query finds.
// They are those of the server's SEARCH (RFC 9051 §6.4.4), whose word for a text is up to it:
// some look for words, most for any part of one. IMAP cannot ask for attachments
// (mail.ErrUnsupported); Gmail can.
func (b *Backend) Search(ctx context.Context, folder string, validity, first, last uint32, q query.Query) ([]uint32, error) {
	done := b.group.DoChan(fmt.Sprintf("search %s %d %d %d %v", folder, validity, first, last, q), func() (any, error) {
		var found []uint32
		err := b.pool.with(messagesOf(folder, validity), func(l *lease) error {
			criteria, err := criteriaOf(q, l.caps.Has(gmail))
			if err != nil || criteria == nil {
				return err
			}
			if first > 1 || last < math.MaxUint32 {
				criteria.UID = append(criteria.UID, imap.UIDSet{{Start: imap.UID(first), Stop: imap.UID(last)}})
			}
			found, err = l.find(criteria)
			return err
		})
		return found, err
	})
	select {
	case r := <-done:
		return r.Val.([]uint32), r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// gmail is Gmail's word for what it can do (https://developers.google.com/gmail/imap).
const gmail = imap.Cap("X-GM-EXT-1")

// find asks for the UIDs of what the criteria find.
func (l *lease) find(criteria *imap.SearchCriteria) ([]uint32, error) {
	l.searching.Lock()
	extended := l.extends()
	found, err := l.searchOnce("search", criteria, extended)
	if extended && isStatus(err) && l.confirm() == nil {
		found, err = l.searchOnce("search", criteria, false)
	}
	l.searching.Unlock()
	if cerr := l.confirm(); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	return l.expand(found)
}

// extends tells whether SEARCH is answered by ESEARCH.
func (l *lease) extends() bool {
	return l.can(imap.CapESearch) && l.b.quirks.searchWay.Load() < bySearch
}

// SearchEach asks for what a query finds in many folders, of which nobody has listed the
// messages, and tells of each folder as its answer comes: which messages are found, and the
// highest UID that there can be, or a lower one if the server does not tell. Some may be left out, which the server refuses, or of which
// it does not tell enough.
func (b *Backend) SearchEach(ctx context.Context, folders []string, q query.Query, found func(folder string, l mail.Listing, newest uint32)) error {
	atOnce := glancedAtOnce
	if q.Reads() {
		atOnce = readAtOnce
	}
	return b.glances(ctx, folders, atOnce, func(l *lease, some []string) error {
		criteria, err := criteriaOf(q, l.caps.Has(gmail))
		if err != nil || criteria == nil {
			return err
		}
		return l.searchEach(fmt.Sprintf("search in %d folders", len(some)), some, criteria, func(i int, data mailbox, uids []uint32) {
			newest := max(data.uidNext, 1) - 1
			if n := len(uids); n > 0 && newest == 0 { // Courier does not tell it
				newest = uids[n-1]
			}
			found(some[i], mail.Listing{UIDValidity: data.validity, UIDs: uids}, newest)
		})
	})
}

// searchEach searches in many folders in one flight, and tells of each, by its index, what it is and
// which messages are found, where that can be believed.
func (l *lease) searchEach(what string, folders []string, criteria *imap.SearchCriteria, found func(i int, data mailbox, uids []uint32)) error {
	l.searching.Lock()
	defer l.searching.Unlock()
	extended := l.extends()
	l.ear.visit()
	defer l.ear.leave()
	n := 0
	return l.glance(what, folders, func(folder string) func(error) error {
		i := n
		n++
		search := l.client.UIDSearch(criteria, &imap.SearchOptions{ReturnAll: extended})
		return func(opened error) error {
			_, err := search.Wait()
			v := l.ear.visited(i)
			if opened != nil || err != nil {
				return cmp.Or(opened, err)
			}
			if v.isOdd || extended && !v.searched || v.mailbox.validity == 0 {
				return nil
			}
			if uids, err := expand(v.found, v.mailbox.messages); err == nil {
				found(i, v.mailbox, uids)
			}
			return nil
		}
	})
}

// criteriaOf is a query for SEARCH, at Gmail or elsewhere; nil if it finds nothing.
func criteriaOf(q query.Query, isGmail bool) (*imap.SearchCriteria, error) {
	c := new(imap.SearchCriteria)
	switch q.Op {
	case query.And:
		for _, q := range q.Of {
			more, err := criteriaOf(q, isGmail)
			if err != nil || more == nil {
				return nil, err
			}
			c.And(more)
		}
	case query.Or:
		var either *imap.SearchCriteria
		for _, q := range slices.Backward(q.Of) {
			one, err := criteriaOf(q, isGmail)
			switch {
			case err != nil:
				return nil, err
			case one == nil:
			case either == nil:
				either = one
			default:
				either = &imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{*one, *either}}}
			}
		}
		return either, nil
	case query.Not:
		one, err := criteriaOf(q.Of[0], isGmail)
		if err != nil || one == nil {
			return c, err
		}
		c.Not = append(c.Not, *one)
	case query.Field:
		switch q.Key {
		case "body":
			c.Body = append(c.Body, q.Text)
		case "text":
			c.Text = append(c.Text, q.Text)
		default:
			c.Header = append(c.Header, imap.SearchCriteriaHeaderField{Key: q.Key, Value: q.Text})
		}
	case query.Since:
		c.Since = q.Day
	case query.Before:
		c.Before = q.Day
	case query.Larger:
		c.Larger = q.Bytes
	case query.Smaller:
		if q.Bytes == 0 {
			return nil, nil
		}
		c.Smaller = q.Bytes
	case query.Flag:
		if strings.ContainsFunc(q.Key, isNoFlag) {
			return nil, nil // no message can have it
		}
		c.Flag = append(c.Flag, imap.Flag(mail.Flags{}.OnWire(q.Key)))
	case query.Raw:
		if err := checkKeys(q.Text); err != nil {
			return nil, err
		}
		c.Text = append(c.Text, wire.Keys(q.Text))
	case query.Attachment:
		if !isGmail {
			return nil, fmt.Errorf("IMAP cannot search for attachments: %w", mail.ErrUnsupported)
		}
		c.Text = append(c.Text, wire.Keys(`X-GM-RAW "has:attachment"`))
	default:
		return nil, fmt.Errorf("IMAP cannot search for this: %w", mail.ErrUnsupported)
	}
	return c, nil
}

// isNoFlag tells whether a character cannot be in a keyword (flag-keyword, RFC 9051 §9).
func isNoFlag(r rune) bool {
	return r <= ' ' || r > unicode.MaxASCII || r == 0x7f || strings.ContainsRune(`(){%*"\]`, r)
}

// checkKeys refuses what would not stay one list of search keys in a line of its own.
func checkKeys(keys string) error {
	depth, quoted := 0, false
	for i := 0; i < len(keys); i++ {
		switch c := keys[i]; {
		case c < ' ' || c >= 0x7f:
			return fmt.Errorf("keys of IMAP's SEARCH are printable ASCII: %w", mail.ErrQuery)
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			return fmt.Errorf("keys of IMAP's SEARCH can have no literal here: %w", mail.ErrQuery)
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if depth < 0 {
			break
		}
	}
	if depth != 0 || quoted || strings.TrimSpace(keys) == "" {
		return fmt.Errorf("these keys of IMAP's SEARCH do not end: %w", mail.ErrQuery)
	}
	return nil
}
