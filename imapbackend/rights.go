package imapbackend

import (
	"slices"

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

var allRights = mail.Rights{Insert: true, Delete: true, Flag: true}

// rightsIn tells what may be done in the mailbox that was selected.
func (s *session) rightsIn(m mailbox) mail.Rights {
	// Servers open a folder that may only be read without any permanent flags; not all
	// say [READ-ONLY]. Those that name none at all keep every one.
	keeps := func(flag string) bool { return m.permanent == nil || slices.Contains(m.permanent, flag) }
	writable := !m.readOnly && (m.permanent == nil || len(m.permanent) > 0)
	// With MOVE alone a message goes to another folder or the trash: its directory has to
	// be writable for that (rename(2)), where the kernel checks the modes.
	away := s.caps.Has(imap.CapUIDPlus) || s.caps.Has(imap.CapMove)
	return mail.Rights{
		Insert: writable,
		Delete: writable && keeps(`\deleted`) && away,
		Flag:   writable,
	}
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
