package imapbackend

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// Rights returns what may be done in a folder, without waiting for the server.
func (b *Backend) Rights(folder string) mail.Rights {
	f := b.folder(folder)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rights == nil {
		return allRights
	}
	return *f.rights
}

var allRights = mail.Rights{Insert: true, Create: true, Delete: true, Flag: true}

// rightsIn tells what may be done in the mailbox that was selected, where granted is what
// MYRIGHTS has said of it. What one of both denies cannot be done.
func (s *session) rightsIn(m mailbox, granted string) mail.Rights {
	// Servers open a folder that may only be read without any permanent flags; not all
	// say [READ-ONLY]. Those that name none at all keep every one.
	keeps := func(flag string) bool { return m.permanent == nil || slices.Contains(m.permanent, flag) }
	writable := !m.readOnly && (m.permanent == nil || len(m.permanent) > 0)
	// With MOVE alone a message goes to another folder or the trash: its directory has to
	// be writable for that (rename(2)), where the kernel checks the modes.
	away := s.caps.Has(imap.CapUIDPlus) || s.caps.Has(imap.CapMove)
	r := mail.Rights{
		Insert: writable,
		Create: writable,
		Delete: writable && keeps(`\deleted`) && away,
		Flag:   writable,
	}
	if granted == "" {
		return r
	}
	has := func(letters string) bool { return strings.ContainsAny(granted, letters) }
	// Who knows the letters of RFC 4314 says c and d too where there is any of those that
	// they stood for (§2.1.1): they tell something only alone, as RFC 2086 has them.
	old := !has("ektx")
	// Flags may be all that cannot be changed: without s, t and w none is permanent, and
	// the folder is READ-WRITE with i alone (RFC 4314 §5.2). What SELECT says of the
	// messages says nothing of folders.
	r.Insert = !m.readOnly && has("i")
	r.Create = has("k") || old && has("c")
	r.Delete = r.Delete && (has("t") && has("e") || old && has("d"))
	r.Flag = r.Flag && has("sw")
	return r
}

// askForRights sends MYRIGHTS (RFC 4314 §3.5) for a folder, of which SELECT has just been
// sent, and returns at once. told waits for the letters; they are "" where they were not
// asked for or not told, which costs nothing else. selected is how SELECT has ended.
//
// Each connection asks once, as rights change seldom, and once more where the answer to
// SELECT has become another one, as then they have. What was refused, or cannot be
// believed, is not asked again before that.
func (s *session) askForRights(folder string) (told func(selected bool) string) {
	f := s.b.folder(folder)
	f.mu.Lock()
	reopened := f.reopened
	f.mu.Unlock()
	asked, isAsked := s.asked[folder]
	if isAsked && asked == reopened || s.b.cfg.ReadOnly || s.b.quirks.noRights.Load() || !s.can(imap.CapACL) {
		return func(bool) string { return "" }
	}
	if s.asked == nil {
		s.asked = make(map[string]int)
	}
	s.asked[folder] = reopened
	what := "ask for the rights in folder " + folder
	end := s.ear.awaitRights(s.b.fullName(folder))
	s.expect(what)
	cmd := s.client.MyRights(s.b.onWire(folder))
	return func(selected bool) string {
		_, err := cmd.Wait()
		letters := end()
		err = s.settle(what, err)
		switch {
		case !selected:
			return "" // of course
		case isBroken(err) && !errors.Is(err, errLost):
			s.b.quirks.noRights.Store(true)
		case err == nil && !areRights(letters):
			err = fmt.Errorf("%q are no rights", plain(letters))
		}
		if err == nil {
			return letters
		}
		if n := s.ear.countOdd("MYRIGHTS"); n > 0 && s.b.ctx.Err() == nil {
			s.b.log.Info("the server does not tell what may be done in a folder", "folder", s.b.fullName(folder), "times", n, "error", err)
		}
		return ""
	}
}

// areRights tells whether these can be the rights in a folder that was selected, which
// takes the right r (RFC 4314 §4).
func areRights(letters string) bool {
	return strings.Contains(letters, "r") && !strings.ContainsFunc(letters, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// opens takes in what SELECT says of the folder, nil where that was refused, and returns
// what MYRIGHTS has told under the same answer.
func (f *folder) opens(m *mailbox) (granted string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m == nil || f.opened != nil && !m.permitsAs(f.opened) {
		f.granted = ""
		f.reopened++
	}
	f.opened = m
	return f.granted
}

// permitsAs tells whether SELECT has said the same of what may be done.
func (m *mailbox) permitsAs(o *mailbox) bool {
	return m.validity == o.validity && m.readOnly == o.readOnly && (m.permanent == nil) == (o.permanent == nil) && slices.Equal(m.permanent, o.permanent)
}

// grants takes in the letters of MYRIGHTS.
func (f *folder) grants(letters string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted = letters
}

// allows takes in what may be done in the folder.
func (f *folder) allows(r mail.Rights) {
	f.mu.Lock()
	was := allRights
	if f.rights != nil {
		was = *f.rights
	}
	f.rights = &r
	f.mu.Unlock()
	if r != was {
		f.b.notify(mail.Change{Folder: f.name, Rights: true})
	}
}
