package imapbackend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
	"imapfs/query"
)

// Search returns the messages of a folder that a query finds, in which nothing is about
// attachments: IMAP cannot ask for them. They are those of the server's SEARCH (RFC 9051
// §6.4.4), whose word for a text is up to it: some look for words, most for any part of one.
func (b *Backend) Search(ctx context.Context, folder string, q query.Query) (mail.Listing, error) {
	criteria, err := criteriaOf(q)
	if err != nil {
		return mail.Listing{}, err
	}
	done := b.group.DoChan(fmt.Sprintf("search %s %v", folder, q), func() (any, error) {
		all, err := b.Messages(b.ctx, folder)
		if err != nil || criteria == nil || len(all.UIDs) == 0 {
			return mail.Listing{UIDValidity: all.UIDValidity}, err
		}
		var found []uint32
		err = b.pool.with(messagesOf(folder, all.UIDValidity), func(l *lease) (err error) {
			found, err = l.find(criteria)
			return err
		})
		return mail.Listing{UIDValidity: all.UIDValidity, UIDs: found}, err
	})
	select {
	case r := <-done:
		return r.Val.(mail.Listing), r.Err
	case <-ctx.Done():
		return mail.Listing{}, context.Cause(ctx)
	}
}

// find asks for the UIDs of what the criteria find.
func (l *lease) find(criteria *imap.SearchCriteria) ([]uint32, error) {
	l.searching.Lock()
	way := &l.b.quirks.searchWay
	extended := l.can(imap.CapESearch) && way.Load() < bySearch
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

// criteriaOf is a query for SEARCH; nil if it finds nothing.
func criteriaOf(q query.Query) (*imap.SearchCriteria, error) {
	c := new(imap.SearchCriteria)
	switch q.Op {
	case query.And:
		for _, q := range q.Of {
			more, err := criteriaOf(q)
			if err != nil || more == nil {
				return nil, err
			}
			c.And(more)
		}
	case query.Or:
		var either *imap.SearchCriteria
		for _, q := range slices.Backward(q.Of) {
			one, err := criteriaOf(q)
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
		one, err := criteriaOf(q.Of[0])
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
