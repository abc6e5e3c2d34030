package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"maps"
	"slices"
	"testing"

	"imapfs/mail"
)

// paths returns the tree's paths with the mailbox of each.
func paths(d *directory, prefix string) map[string]string {
	all := make(map[string]string)
	for name, c := range d.children {
		all[prefix+name] = c.mailbox
		maps.Copy(all, paths(c, prefix+name+"/"))
	}
	return all
}

func TestTree(t *testing.T) {
	yes := func(name string, delim rune) mail.Folder {
		return mail.Folder{Name: name, Delim: delim, Selectable: true}
	}
	no := func(name string, delim rune) mail.Folder { return mail.Folder{Name: name, Delim: delim} }
	for _, test := range []struct {
		name    string
		folders []mail.Folder
		base    string
		top     string // mailbox of the root
		want    map[string]string
	}{
		{"flat", []mail.Folder{yes("INBOX", 0), yes("a/b", 0)}, "", "", map[string]string{"INBOX": "INBOX", "a%2Fb": "a/b"}},
		{"nested by the server's delimiter", []mail.Folder{yes("INBOX", '.'), yes("INBOX.a/b", '.')}, "", "",
			map[string]string{"INBOX": "INBOX", "INBOX/a%2Fb": "INBOX.a/b"}},
		{"a level that is not listed", []mail.Folder{yes("x/y", '/')}, "", "", map[string]string{"x": "", "x/y": "x/y"}},
		{`a \Noselect level with the delimiter at its end`, []mail.Folder{no("x/", '/'), yes("x/y", '/')}, "", "",
			map[string]string{"x": "", "x/y": "x/y"}},
		{"listed twice", []mail.Folder{yes("x", '/'), no("x/", '/')}, "", "", map[string]string{"x": "x"}},
		{"INBOX that only the backend knows", []mail.Folder{yes("INBOX", 0), yes("INBOX/a", '/')}, "", "",
			map[string]string{"INBOX": "INBOX", "INBOX/a": "INBOX/a"}},
		{"names that could be UIDs", []mail.Folder{yes("A", '/'), yes("A/2024", '/'), yes("A/2024.folder", '/'), no("B", '/'), yes("B/2024", '/'), yes("2024", '/')}, "", "",
			map[string]string{"A": "A", "A/2024.folder": "A/2024", "A/2024%2Efolder": "A/2024.folder", "B": "", "B/2024": "B/2024", "2024": "2024"}},
		{"names that cannot be", []mail.Folder{yes("a/..", '/'), yes("a/.", '/'), yes("a//b", '/'), yes("%2E", '/')}, "", "",
			map[string]string{"a": "", "a/%2E%2E": "a/..", "a/%2E": "a/.", "a/%": "", "a/%/b": "a//b", "%252E": "%2E"}},
		{"two namespaces", []mail.Folder{yes("a.b", '.'), yes("a/b", '/')}, "", "", map[string]string{"a": "", "a/b": "a/b"}},
		{"one folder", []mail.Folder{yes("A", '.'), yes("A.B", '.'), yes("A.B.7", '.'), yes("C", '.')}, "A/B", "A.B",
			map[string]string{"7.folder": "A.B.7"}},
		{"one folder by its own name", []mail.Folder{yes("A.B", '.'), yes("A.B.C", '.')}, "A.B", "A.B", map[string]string{"C": "A.B.C"}},
		{"the exact name first", []mail.Folder{yes("A/B", '.'), yes("A.B", '.')}, "A/B", "A/B", map[string]string{}},
		{"a level that is not listed, alone", []mail.Folder{yes("x/y", '/')}, "x", "", map[string]string{"y": "x/y"}},
		{"a level with the delimiter at its end, alone", []mail.Folder{no("x/", '/'), yes("x/y", '/')}, "x", "", map[string]string{"y": "x/y"}},
		{"INBOX in any case", []mail.Folder{yes("INBOX", '/'), yes("INBOX/a", '/')}, "Inbox", "INBOX", map[string]string{"a": "INBOX/a"}},
		{"not INBOX", []mail.Folder{yes("INBOXES", '/'), yes("INBOX", '/')}, "INBOXES", "INBOXES", map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree, err := buildTree(test.folders, test.base)
			if err != nil {
				t.Fatal(err)
			}
			if got := paths(tree, ""); !maps.Equal(got, test.want) || tree.mailbox != test.top {
				t.Errorf("got %v below %q, want %v below %q", got, tree.mailbox, test.want, test.top)
			}
			for path, mailbox := range test.want {
				if found, ok := tree.find(mailbox); mailbox != "" && (!ok || tree.at(found).mailbox != mailbox) {
					t.Errorf("%s is at %s, and found at %v", mailbox, path, found)
				}
			}
		})
	}
	if _, err := buildTree([]mail.Folder{yes("A", '/')}, "B"); err == nil {
		t.Error("a folder that is not there can be mounted")
	}
}

func TestParseUID(t *testing.T) {
	for name, want := range map[string]uint32{
		"1": 1, "4294967295": 4294967295, "4294967296": 0, "0": 0, "01": 0, "+1": 0, "-1": 0, "": 0, "1a": 0, " 1": 0, "1_0": 0, "١": 0,
	} {
		if uid, ok := parseUID(name); uid != want && ok || ok != (want != 0) {
			t.Errorf("%q is UID %d, %v; want %d", name, uid, ok, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	// They have to be the same at every mount.
	if got := folderNumber("\x00INBOX").Ino; got != 14229791374612778018 {
		t.Errorf("INBOX has number %d now", got)
	}
	n := messageNumbers(mail.ID{Folder: "INBOX", UIDValidity: 7})
	if got := n.of(483, kindBody, 0).Ino; got != 14527354988407292565 {
		t.Errorf("body.txt of INBOX/483 has number %d now", got)
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
		l := &listing{named: []fuse.DirEntry{{Name: "a"}, {Name: "b"}}, uids: mail.Listing{UIDs: uids}}
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
