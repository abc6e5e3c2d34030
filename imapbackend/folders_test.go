package imapbackend

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// TestFolderRefusals has a server say NO to CREATE, DELETE and RENAME in each way.
func TestFolderRefusals(t *testing.T) {
	for code, want := range map[string]error{
		"ALREADYEXISTS": mail.ErrExists, "CANNOT": mail.ErrForbidden, "NOPERM": mail.ErrReadOnly, "OVERQUOTA": mail.ErrNoRoom,
		"LIMIT": mail.ErrNoRoom, "NONEXISTENT": mail.ErrNotFound, "INUSE": mail.ErrInUse, "HASCHILDREN": mail.ErrNotEmpty, "": mail.ErrForbidden,
	} {
		t.Run(code, func(t *testing.T) {
			says := "go away"
			if code != "" {
				says = "[" + code + "] go away"
			}
			s := folderScript(t, func(tag, command string) string {
				if verb, _, _ := strings.Cut(command, " "); slices.Contains([]string{"CREATE", "DELETE", "RENAME"}, verb) {
					return tag + " NO " + says + "\r\n"
				}
				return ""
			})
			b := connect(t, s.start(t))
			for what, err := range map[string]error{
				"create": b.CreateFolder(t.Context(), "", "New"),
				"rename": b.RenameFolder(t.Context(), "Other", "", "New"),
				"delete": b.DeleteFolder(t.Context(), "Empty"),
			} {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
			// What had gone out along is taken back.
			subscribed := slices.DeleteFunc(s.since(""), func(c string) bool { return !strings.Contains(c, "SUBSCRIBE") })
			last := map[string]string{}
			for _, c := range subscribed {
				verb, name, _ := strings.Cut(c, " ")
				last[strings.Trim(name, `"`)] = verb
			}
			if last["New"] != "UNSUBSCRIBE" || last["Other"] != "SUBSCRIBE" || last["Empty"] != "SUBSCRIBE" {
				t.Errorf("subscriptions: %q", last)
			}
		})
	}
}

func TestFoldersThatAreNotAskedFor(t *testing.T) {
	s := folderScript(t, nil)
	b := connect(t, s.start(t))
	for what, test := range map[string]struct{ err, want error }{
		"below one that can have none":   {b.CreateFolder(t.Context(), "Leaf", "x"), mail.ErrForbidden},
		"below one that is not there":    {b.CreateFolder(t.Context(), "Nowhere", "x"), mail.ErrNotFound},
		"with a delimiter":               {b.CreateFolder(t.Context(), "Other", "a/b"), mail.ErrForbidden},
		"that is there":                  {b.CreateFolder(t.Context(), "", "Other"), mail.ErrExists},
		"INBOX":                          {b.CreateFolder(t.Context(), "", "inbox"), mail.ErrExists},
		"delete INBOX":                   {b.DeleteFolder(t.Context(), "INBOX"), mail.ErrInUse},
		"delete the trash":               {b.DeleteFolder(t.Context(), "Bin"), mail.ErrInUse},
		"delete a level":                 {b.DeleteFolder(t.Context(), "Level"), mail.ErrNotEmpty},
		"rename INBOX":                   {b.RenameFolder(t.Context(), "INBOX", "", "x"), mail.ErrInUse},
		"rename the trash":               {b.RenameFolder(t.Context(), "Bin", "Other", "x"), mail.ErrInUse},
		"rename one with drafts in it":   {b.RenameFolder(t.Context(), "Level", "", "x"), mail.ErrInUse},
		"rename to one that is there":    {b.RenameFolder(t.Context(), "Other", "", "Bin"), mail.ErrExists},
		"rename one into itself":         {b.RenameFolder(t.Context(), "Other", "Other", "x"), mail.ErrForbidden},
		"rename one that is not there":   {b.RenameFolder(t.Context(), "Nowhere", "", "x"), mail.ErrNotFound},
		"delete one that is not there":   {b.DeleteFolder(t.Context(), "Nowhere"), mail.ErrNotFound},
		"rename to below one with none":  {b.RenameFolder(t.Context(), "Other", "Leaf", "x"), mail.ErrForbidden},
		"rename to INBOX":                {b.RenameFolder(t.Context(), "Other", "", "Inbox"), mail.ErrExists},
		"rename to a name of two levels": {b.RenameFolder(t.Context(), "Other", "Empty", "a/b"), mail.ErrForbidden},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("%s: %v, want %v", what, test.err, test.want)
		}
	}
	for _, verb := range []string{"CREATE", "DELETE", "RENAME"} {
		if sent := s.since(verb); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
	}
}

// folderScript is a server with some folders.
func folderScript(t *testing.T, answer func(tag, command string) string) *script {
	t.Helper()
	all := map[string]string{"INBOX": "", "Other": "", "Empty": "", "Leaf": `\NoInferiors`, "Bin": `\Trash`, "Level/Drafts": `\Drafts`}
	s := &script{caps: "IMAP4rev1 UIDPLUS UNSELECT"}
	s.answer = func(tag, command string) string {
		if answer != nil {
			if said := answer(tag, command); said != "" {
				return said
			}
		}
		verb, rest, _ := strings.Cut(command, " ")
		switch verb {
		case "LIST":
			pattern := strings.Trim(rest[strings.LastIndex(rest, " ")+1:], `"`)
			var b strings.Builder
			for name, attrs := range all {
				if pattern == "*" || pattern == name {
					b.WriteString("* LIST (" + attrs + ") \"/\" " + name + "\r\n")
				}
			}
			return b.String() + tag + " OK done\r\n"
		case "SELECT":
			return "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 1] x\r\n" + tag + " OK [READ-WRITE] done\r\n"
		case "SUBSCRIBE", "UNSUBSCRIBE", "UNSELECT":
			return tag + " OK done\r\n"
		}
		return ""
	}
	return s
}

// TestRenamedKeepsItsName lists mailboxes after one was renamed from here, and another
// one came in its place.
func TestRenamedKeepsItsName(t *testing.T) {
	box := func(names ...string) (list []wire.Mailbox) {
		for _, name := range names {
			list = append(list, wire.Mailbox{Name: name, Delim: '/'})
		}
		return list
	}
	list, wires := folderNames(box("A", "A/a", "Ab"), nil, nil)
	at := spot{name: "A", wire: "A", delim: '/'}
	list = renamed(list, wires, at, spot{name: "Größe & Maß", wire: encodeName("Größe & Maß"), delim: '/'})
	const onWire = "Gr&APYA3w-e &- Ma&AN8-"
	is := func(list []mail.Folder, name, full, onWire string) {
		t.Helper()
		i := slices.IndexFunc(list, func(f mail.Folder) bool { return f.FullName() == full })
		if i < 0 || list[i].Name != name || wires[name] != onWire && (wires[name] != "" || name != onWire) {
			t.Errorf("%q is not in %+v, or not %q in %q", full, list, onWire, wires)
		}
	}
	is(list, "A", "Größe & Maß", onWire)
	is(list, "A/a", "Größe & Maß/a", onWire+"/a")
	is(list, "Ab", "Ab", "Ab")
	for range 2 {
		list, wires = folderNames(box(onWire, onWire+"/a", "Ab", "A", "A/a"), wires, map[string]bool{"Ab~": true})
		is(list, "A", "Größe & Maß", onWire)
		is(list, "A/a", "Größe & Maß/a", onWire+"/a")
		is(list, "A~", "A", "A")
		is(list, "A/a~", "A/a", "A/a")
		is(list, "Ab", "Ab", "Ab")
	}
	// It goes back to where it was, when the other one has gone.
	list, wires = folderNames(box(onWire, onWire+"/a"), wires, nil)
	list = renamed(list, wires, spot{name: "Größe & Maß", wire: onWire, delim: '/'}, at)
	is(list, "A", "A", "A")
	if len(wires) > 0 {
		t.Errorf("left: %q", wires)
	}
}

func FuzzEncodeName(f *testing.F) {
	for _, s := range []string{"", "&", "Größe & Maß", "日本", "a😀b", "&-", "é&é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) || strings.EqualFold(name, inbox) {
			t.Skip()
		}
		if got, isOdd := decodeName(encodeName(name)); got != name || isOdd {
			t.Errorf("%q becomes %q, and that %q, odd: %v", name, encodeName(name), got, isOdd)
		}
	})
}
