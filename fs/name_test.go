package fs

import (
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

func TestNumbers(t *testing.T) {
	// They have to be the same at every mount.
	if got := folderNumber("\x00INBOX").Ino; got != 14229791374612778018 {
		t.Errorf("INBOX has number %d now", got)
	}
	n := messageNumbers(mail.ID{Folder: "INBOX", UIDValidity: 7})
	if got := n.of(483, content.Body, 0).Ino; got != 14527354988407292565 {
		t.Errorf("body.txt of INBOX/483 has number %d now", got)
	}

	// Programs that visit a large directory in this order are to read it in that of the listing.
	for _, uid := range []uint32{1, 2, 255, 65536, 1<<31 - 1, 1<<32 - 2} {
		if a, b := n.of(uid, kindMessage, syscall.S_IFDIR).Ino, n.of(uid+1, kindMessage, syscall.S_IFDIR).Ino; a >= b {
			t.Errorf("messages %d and %d have numbers %d and %d", uid, uid+1, a, b)
		}
	}

	seen := make(map[uint64]bool)
	add := func(ino uint64) {
		if ino < 2 || ino == ^uint64(0) {
			t.Fatalf("reserved number %d", ino)
		}
		if seen[ino] {
			t.Fatalf("number %d twice", ino)
		}
		seen[ino] = true
	}
	for _, id := range []mail.ID{{Folder: "INBOX", UIDValidity: 7}, {Folder: "INBOX", UIDValidity: 8}, {Folder: "A", UIDValidity: 7}} {
		n := messageNumbers(id)
		for uid := range uint32(5000) {
			for k := kindMessage; k <= kindAttachments; k++ {
				add(n.of(uid, k, 0).Ino)
			}
		}
		for _, section := range []string{"1", "2", "1.2", "12"} {
			add(n.attachment(1, section).Ino)
			add(n.attachment(2, section).Ino)
		}
	}
}

func TestListingCanComeBack(t *testing.T) {
	from := func(off uint64, uids ...uint32) (names []string, offs []uint64) {
		t.Helper()
		l := &listing{named: []fuse.DirEntry{{Name: "a"}, {Name: "b"}}, messages: messages{Listing: mail.Listing{UIDs: uids}, view: view{fsys: &FS{}}}}
		if errno := l.Seekdir(t.Context(), off); errno != 0 {
			t.Fatal(errno)
		}
		for {
			e, _ := l.Readdirent(t.Context())
			if e == nil {
				return names, offs
			}
			names, offs = append(names, e.Name), append(offs, e.Off)
		}
	}
	names, offs := from(0, 1, 5, 7)
	if !slices.Equal(names, []string{"a", "b", "1", "5", "7"}) {
		t.Fatalf("listing: %v", names)
	}
	for i, off := range offs {
		if rest, _ := from(off, 1, 5, 7); !slices.Equal(rest, names[i+1:]) {
			t.Errorf("behind %s: %v", names[i], rest)
		}
	}
	// What has gone meanwhile moves nothing.
	if rest, _ := from(offs[3], 7, 9); !slices.Equal(rest, []string{"7", "9"}) {
		t.Errorf("behind a message that is gone: %v", rest)
	}
	if errno := (&listing{}).Seekdir(t.Context(), 1<<34); errno == 0 {
		t.Error("an offset that was never given is taken")
	}
}
