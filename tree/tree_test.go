package tree

import (
	"maps"
	"testing"

	"imapfs/mail"
)

// paths returns the tree's paths with the mailbox of each.
func paths(d *Folder, prefix string) map[string]string {
	all := make(map[string]string)
	for name, c := range d.Children {
		all[prefix+name] = c.Mailbox()
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
			tree, err := New(test.folders, test.base)
			if err != nil {
				t.Fatal(err)
			}
			if got := paths(tree.At(nil), ""); !maps.Equal(got, test.want) || tree.At(nil).Mailbox() != test.top {
				t.Errorf("got %v below %q, want %v below %q", got, tree.At(nil).Mailbox(), test.want, test.top)
			}
			for path, mailbox := range test.want {
				if found, ok := tree.Find(mailbox); mailbox != "" && (!ok || tree.At(found).Mailbox() != mailbox) {
					t.Errorf("%s is at %s, and found at %v", mailbox, path, found)
				}
			}
		})
	}
	if _, err := New([]mail.Folder{yes("A", '/')}, "B"); err == nil {
		t.Error("a folder that is not there can be mounted")
	}
}

func TestKeys(t *testing.T) {
	at := func(name, full string) mail.Folder {
		f := mail.Folder{Name: name, Delim: '/', Selectable: true}
		if full != name {
			f.Renamed = full
		}
		return f
	}
	tree, err := New([]mail.Folder{at("A", "A"), at("A/a", "A/a"), at("L/M/l", "L/M/l"), at("INBOX", "INBOX")}, "")
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]*Folder{}
	tree.At(nil).each(nil, func(path []string, f *Folder) { first[key(path)] = f })
	update := func(list ...mail.Folder) {
		t.Helper()
		if _, _, err := tree.Update(append(list, at("INBOX", "INBOX"))); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		tree.At(nil).each(nil, func(path []string, f *Folder) {
			if seen[f.Key] || f.Key == noKey || tree.Keyed(f.Key) != f {
				t.Errorf("the key %q of %q is not of it alone", f.Key, path)
			}
			seen[f.Key] = true
		})
	}
	is := func(what string, path ...string) {
		t.Helper()
		f := tree.At(path)
		if f == nil || f.Key != first[what].Key {
			t.Errorf("%q is not %q", path, what)
		}
	}
	// A mailbox is renamed with what is below it, and a level that is not listed.
	update(at("A", "B"), at("A/a", "B/a"), at("L/M/l", "N/M/l"))
	is("\x00A", "B")
	is("\x00A\x00a", "B", "a")
	is("\x00L", "N")
	is("\x00L\x00M", "N", "M")
	// New ones come in their places.
	update(at("A", "B"), at("A/a", "B/a"), at("L/M/l", "N/M/l"), at("A~", "A"), at("L/M/l~", "L/M/l"))
	is("\x00A", "B")
	is("\x00L\x00M", "N", "M")
	for _, path := range [][]string{{"A"}, {"L"}, {"L", "M"}, {"L", "M", "l"}} {
		for _, f := range first {
			if tree.At(path).Key == f.Key {
				t.Errorf("%q has the key of another one", path)
			}
		}
	}
	// And go, and come again: that is another one.
	was := tree.At([]string{"A"}).Key
	update(at("A", "B"))
	update(at("A", "B"), at("A~", "A"))
	if tree.At([]string{"A"}).Key == was {
		t.Error("a folder that was gone has its key again")
	}
	is("\x00A", "B")
	if f := tree.At([]string{"B"}); f.Path != "B" || f.Mailbox() != "A" {
		t.Errorf("%+v", f)
	}
}
