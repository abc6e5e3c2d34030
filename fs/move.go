package fs

import (
	"context"
	"syscall"
)

// moveTo moves the message into the folder that to shows, because its directory is
// renamed to name there.
func (n *messageNode) moveTo(ctx context.Context, to *folderNode, name string) syscall.Errno {
	return syscall.EPERM
}
