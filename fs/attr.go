package fs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

// keep is how long the kernel may keep what does not change, and what it will
// be told of when it does. It has to be finite; an hour is as good as for ever.
const keep = time.Hour

const blockSize = 4096

// fill sets the attributes that all nodes have. perm is what the kind of node
// could allow at most.
func (fsys *FS) fill(out *fuse.Attr, id gofs.StableAttr, date time.Time, size int64) {
	perm := uint32(0666)
	if id.Mode == syscall.S_IFDIR {
		perm = 0777
	}
	if fsys.opt.ReadOnly {
		perm &^= writeBits
	}
	out.Ino = id.Ino
	out.Mode = id.Mode | perm&^fsys.opt.Umask
	out.Nlink = 1 // 1 for a directory means that nobody counts (find relies on 2 + subdirectories)
	out.Owner = fuse.Owner{Uid: fsys.opt.UID, Gid: fsys.opt.GID}
	out.Size = uint64(size)
	if id.Mode != syscall.S_IFDIR { // du counts what is in it
		out.Blocks = (out.Size + 511) / 512
	}
	out.Blksize = blockSize
	out.SetTimes(&date, &date, &date)
}

// writeBits are those of a file's mode that say that it can be changed.
const writeBits = 0o222

// access answers access(2) about what has this mode. The kernel asks for it only where nobody but the
// owner and root get in; where it lets others in it looks at the modes itself.
func access(ctx context.Context, mode, mask uint32) syscall.Errno {
	const x = 1
	isDir := mode&syscall.S_IFMT == syscall.S_IFDIR
	caller, ok := fuse.FromContext(ctx)
	if isRoot := ok && caller.Uid == 0; isRoot && (isDir || mask&x == 0) || mode>>6&mask == mask {
		return 0
	}
	return syscall.EACCES
}

// fill sets the attributes of the message or of something in it. Where it cannot be
// deleted nothing says that it can be changed.
func (n *messageNode) fill(out *fuse.Attr, id gofs.StableAttr, date time.Time, size int64) {
	n.fsys.fill(out, id, date, size)
	if !n.fsys.mail.Rights(n.content.ID().Folder).Delete {
		out.Mode &^= writeBits
	}
}

// The kinds of directories of a message, beside those of its files, in inode
// numbers.
const (
	kindMessage     content.Kind = 0
	kindAttachments content.Kind = 5
)

// numbers makes inode numbers for one folder under one UIDVALIDITY. They are
// the same at every mount. The library tells nodes apart by number and
// generation: 128 bits that depend on all of a message's name, so that two
// nodes are never taken for one.
type numbers [2]uint64

func numbersOf(what string, uidValidity uint32) numbers {
	h := sha256.Sum256(append([]byte(what), byte(uidValidity>>24), byte(uidValidity>>16), byte(uidValidity>>8), byte(uidValidity)))
	return numbers{binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])}
}

func (n numbers) of(uid uint32, k content.Kind, mode uint32) gofs.StableAttr {
	x := uint64(uid)<<32 ^ uint64(k)
	ino := mix(n[0] ^ mix(x))
	if k == kindMessage && uid > 0 {
		// find, grep -r and rm -r visit a directory of more than 10,000 entries in the order of
		// their numbers (fts(3) of gnulib): that is to be the one of the listing.
		ino = n[0]&^(1<<32-1) | uint64(uid)
	}
	if ino < 2 || ino == ^uint64(0) {
		ino ^= 1 << 32 // reserved numbers
	}
	return gofs.StableAttr{Mode: mode, Ino: ino, Gen: mix(n[1] ^ x)}
}

// mix is the finalizer of SplitMix64: each bit of the result depends on each
// bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func folderNumber(key string) gofs.StableAttr {
	return numbersOf("folder "+key, 0).of(0, kindMessage, syscall.S_IFDIR)
}

func messageNumbers(id mail.ID) numbers {
	return numbersOf("messages "+id.Folder, id.UIDValidity)
}

// attachment is of for the attachment of a message in this section. A short
// hash of the section would not do: a message can have thousands of parts, and
// two that share a number would share their content.
func (n numbers) attachment(uid uint32, section string) gofs.StableAttr {
	what := fmt.Sprintf("attachment %x %x %d %s", n[0], n[1], uid, section)
	return numbersOf(what, 0).of(uid, content.Attachment, syscall.S_IFREG)
}
