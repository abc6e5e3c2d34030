package fs

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"imapfs/content"
	"imapfs/mail"
	"imapfs/query"
)

// What a query finds can be looked for here, in headers.txt and body.txt of the messages that
// are kept: where the server cannot be asked, and where all of a folder is kept and the
// server would have to read each message for a text. That takes all processors, and no index
// (content/texts.go).

// isUnanswered tells whether err says that the server could not be asked, and nothing about
// the query.
func isUnanswered(err error) bool {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded, mail.ErrQuery, mail.ErrRefused, mail.ErrNotFound, mail.ErrStale, mail.ErrReadOnly, mail.ErrUnsupported} {
		if errors.Is(err, known) {
			return false
		}
	}
	return err != nil
}

// kept returns which of the messages with these UIDs a query finds, and of how many nobody
// knows it here.
func (f finding) kept(ctx context.Context, q query.Query, uids []uint32) (found []uint32, unknown int, err error) {
	var flags map[uint32]mail.Flags
	if q.Has(query.Flag) {
		all, err := f.fsys.mail.FolderFlags(ctx, f.mailbox)
		if err != nil {
			return nil, len(uids), err
		}
		flags = make(map[uint32]mail.Flags)
		for _, m := range all {
			flags[m.UID] = m.Flags
		}
	}
	chunks := content.InChunks(uids)
	answers := make([][]answer, len(chunks))
	var look errgroup.Group
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		look.Go(func() error {
			for i := int(next.Add(1)) - 1; i < len(chunks) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				texts := sync.OnceValue(func() map[uint32]content.Text {
					return f.fsys.content.Texts(ctx, f.mailbox, f.validity, chunks[i])
				})
				for _, uid := range chunks[i] {
					m := f.fsys.content.Message(mail.ID{Folder: f.mailbox, UIDValidity: f.validity, UID: uid})
					k := &keptMessage{message: m, flags: flags[uid], texts: texts}
					answers[i] = append(answers[i], k.is(q))
				}
			}
			return ctx.Err()
		})
	}
	if err := look.Wait(); err != nil {
		return nil, len(uids), err
	}
	for i, a := range slices.Concat(answers...) {
		switch a {
		case yes:
			found = append(found, uids[i])
		case perhaps:
			unknown++
		}
	}
	return found, unknown, nil
}

// answer is whether a query finds a message. The zero value is that nobody knows.
type answer int

const (
	perhaps answer = iota
	no
	yes
)

func answerOf(is bool) answer {
	if is {
		return yes
	}
	return no
}

// keptMessage is a message of which only what is here can be looked at.
type keptMessage struct {
	message *content.Message
	flags   mail.Flags
	texts   func() map[uint32]content.Text
}

func (m *keptMessage) is(q query.Query) answer {
	switch q.Op {
	case query.And:
		return m.first(q.Of, no)
	case query.Or:
		return m.first(q.Of, yes)
	case query.Not:
		switch m.is(q.Of[0]) {
		case yes:
			return no
		case no:
			return yes
		}
		return perhaps
	case query.Field:
		return m.has(q.Key, bytes.ToLower([]byte(q.Text)))
	case query.Flag:
		return answerOf(m.flags.Has(q.Key))
	case query.Since, query.Before, query.Larger, query.Smaller:
		attr, known := m.message.Known()
		if !known {
			return perhaps
		}
		switch q.Op {
		case query.Since:
			return answerOf(!attr.Date.UTC().Before(q.Day))
		case query.Before:
			return answerOf(attr.Date.UTC().Before(q.Day))
		case query.Larger:
			return answerOf(attr.Size > q.Bytes)
		}
		return answerOf(attr.Size < q.Bytes)
	case query.Attachment:
		if text, here := m.text(); here {
			return answerOf(text.HasAttachments)
		}
	}
	return perhaps // keys of IMAP
}

// first returns decisive if the answer to one of the queries is that, perhaps if it may be,
// and else the opposite.
func (m *keptMessage) first(of []query.Query, decisive answer) answer {
	all := no
	if decisive == no {
		all = yes
	}
	for _, q := range of {
		switch a := m.is(q); a {
		case decisive:
			return decisive
		case perhaps:
			all = perhaps
		}
	}
	return all
}

func (m *keptMessage) text() (t content.Text, here bool) {
	t, here = m.texts()[m.message.ID().UID]
	return t, here
}

// has tells whether there is a text, in lower case, in a field of the header, the body, or
// anywhere.
func (m *keptMessage) has(key string, text []byte) answer {
	t, here := m.text()
	switch {
	case !here:
		return perhaps
	case key == "body":
		return answerOf(bytes.Contains(t.Body, text))
	case key == "text":
		return answerOf(bytes.Contains(t.Headers, text) || bytes.Contains(t.Body, text))
	}
	for line := range bytes.Lines(t.Headers) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(name), key) && bytes.Contains(value, text) {
			return yes
		}
	}
	return no
}
