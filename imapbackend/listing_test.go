package imapbackend

import (
	"strings"
	"testing"
)

// TestServerThatCountsAlways has servers that report the number of messages
// with each SEARCH. As long as it is the same, it is no reason to look again.
func TestServerThatCountsAlways(t *testing.T) {
	for name, where := range map[string]func(count, usual string) string{
		"before OK": func(count, usual string) string { return count + usual },
		"after OK":  func(count, usual string) string { return usual + count },
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "UID SEARCH") {
					return where("* 3 EXISTS\r\n", s.usual(tag, command))
				}
				return ""
			}
			b := listed(t, s.start(t))
			const fetches = 300
			for range fetches {
				if _, err := b.Fetch(msg(2), "", 0, -1); err != nil {
					t.Fatal(err)
				}
			}
			if n := s.count("UID SEARCH"); n != 1 {
				t.Errorf("%d times UID SEARCH beside %d fetches, want once", n, fetches)
			}
		})
	}
}

// TestNamespacesOnce has a server that refuses NAMESPACE once it has told it.
func TestNamespacesOnce(t *testing.T) {
	told := false
	s := &script{caps: "IMAP4rev1 NAMESPACE", answer: func(tag, command string) string {
		switch {
		case command == "NAMESPACE" && told:
			return tag + " NO [UNAVAILABLE] not now\r\n"
		case command == "NAMESPACE":
			told = true
			return "* NAMESPACE ((\"\" \"/\")) NIL ((\"Shared/\" \"/\"))\r\n" + tag + " OK x\r\n"
		case strings.HasPrefix(command, "LIST") && strings.Contains(command, "Shared/"):
			return "* LIST () \"/\" Shared/box\r\n" + tag + " OK x\r\n"
		}
		return ""
	}}
	b := listed(t, s.start(t))
	for i := range 2 {
		if err := b.listFolders(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if list := b.Folders(); len(list) != 2 {
			t.Error(i, list)
		}
	}
}
