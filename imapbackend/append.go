package imapbackend

import (
	"context"

	"imapfs/mail"
)

// Append puts a message into a mailbox.
func (b *Backend) Append(ctx context.Context, to string, l mail.Letter) (mail.ID, error) {
	return mail.ID{}, mail.ErrUnsupported
}

// Copy copies a message to another mailbox.
func (b *Backend) Copy(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	return mail.ID{}, mail.ErrUnsupported
}

// Move moves a message to another mailbox.
func (b *Backend) Move(ctx context.Context, id mail.ID, to string) (mail.ID, error) {
	return mail.ID{}, mail.ErrUnsupported
}

// Discard deletes a message for good.
func (b *Backend) Discard(ctx context.Context, id mail.ID) error { return mail.ErrUnsupported }
