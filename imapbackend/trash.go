package imapbackend

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// SpecialTrash as Config.Trash means the mailbox with this special use (RFC 6154).
const SpecialTrash = string(imap.MailboxAttrTrash)

// trashFolder returns the mailbox that removed messages are moved to, "" for
// none. Its error is a plain line for the user.
func (b *Backend) trashFolder() (string, error) {
	trash := b.cfg.Trash
	if trash == "" {
		return "", nil
	}
	for _, f := range b.Folders() {
		switch {
		case !f.Selectable:
		case f.SpecialUse == SpecialTrash && trash == SpecialTrash,
			f.Name == trash,
			f.Delim != 0 && f.Name == strings.ReplaceAll(trash, "/", string(f.Delim)):
			return f.Name, nil
		}
	}
	if trash == SpecialTrash {
		return "", fmt.Errorf("%s marks no folder as the trash; name it: --trash=FOLDER", b.cfg.URL.Host)
	}
	return "", fmt.Errorf("there is no folder %q on %s for --trash; mount without it to see which there are", trash, b.cfg.URL.Host)
}

// moveOne returns the exchange that moves id to another mailbox: MOVE (RFC 6851),
// or COPY and what deletes a message for good. (The library's own way without
// MOVE can end in a plain EXPUNGE.)
func moveOne(id mail.ID, to string) func(*lease) error {
	copied := false // tried again, it is not to be there twice
	return func(s *lease) error {
		if err := s.mayRemove(id); err != nil {
			return err
		}
		what := "move " + id.String() + " to " + to
		canMove := s.can(imap.CapMove)
		if !canMove && !s.can(imap.CapUIDPlus) {
			return fmt.Errorf("%s: the server can neither move a message (MOVE) nor expunge one alone (UIDPLUS): %w", what, mail.ErrUnsupported)
		}
		set := imap.UIDSetNum(imap.UID(id.UID))
		if canMove {
			there, err := s.sendAndLook(what, id, func() (wait func() error) {
				move := s.client.Move(set, s.b.onWire(to))
				return func() error { _, err := move.Wait(); return err }
			})
			if err == nil && there {
				return fmt.Errorf("%s: %w", what, errKept)
			}
			return s.whyRefused(err)
		}
		var err error
		if !copied {
			err = s.command(what, func() error { _, err := s.client.Copy(set, s.b.onWire(to)).Wait(); return err })
		}
		if err == nil {
			copied = true
			return expungeOne(id)(s)
		}
		if errors.Is(err, mail.ErrNotFound) {
			if there, looked := s.holds(id); looked != nil || there {
				return errNoTarget(err)
			}
		}
		return err
	}
}

// errNoTarget is err for a message that is there: what the server did not find
// must be the mailbox to move it to.
func errNoTarget(err error) error { return fmt.Errorf("%w: %v", mail.ErrRefused, err) }
