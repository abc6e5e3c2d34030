package imapbackend

import (
	"strings"
	"testing"
)

// TestFlagsNobodyAskedFor has another client change flags while this one asks.
// What the server says of them is no answer.
func TestFlagsNobodyAskedFor(t *testing.T) {
	for _, unasked := range []string{
		`* 2 FETCH (UID 2 FLAGS (\Seen))`,
		`* 2 FETCH (FLAGS (\Seen \Flagged [odd] $x) UID 2)`,
		`* 2 FETCH (UID 2 MODSEQ (12) FLAGS ())`,
		`* 2 fetch (flags () modseq (12) uid 2)`,
		`* 2 FETCH (FLAGS (\Seen))`,
		"* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (UID 3 FLAGS ())",
		`* 2 FETCH (UID 2 FLAGS (` + strings.Repeat(`\Seen `, 600) + `x))`,
	} {
		t.Run(unasked[:min(len(unasked), 60)], func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "UID FETCH") {
					return unasked + "\r\n" + s.usual(tag, command)
				}
				return ""
			}
			b := listed(t, s.start(t))
			if a, err := b.Attr(t.Context(), msg(2)); err != nil || a.Size == 0 {
				t.Errorf("attributes: %v, %v", a, err)
			}
			if _, err := b.Structure(t.Context(), msg(2)); err != nil {
				t.Errorf("structure: %v", err)
			}
			if got, err := b.Fetch(msg(3), "", 0, -1); err != nil || string(got) != rawMail {
				t.Errorf("content: %q, %v", got, err)
			}
			if got, want := s.count("UID FETCH"), 3; got > want || s.n != 1 {
				t.Errorf("%d FETCH on %d connections, want %d on 1", got, s.n, want)
			}
		})
	}
}

// TestUnaskedList has a server that says more of its folders behind the end.
func TestUnaskedList(t *testing.T) {
	s := &script{caps: "IMAP4rev1 NAMESPACE", answer: func(tag, command string) string {
		switch {
		case command == "NAMESPACE":
			return "* NAMESPACE ((\"\" \"/\")) NIL ((\"A/\" \"/\")(\"B/\" \"/\"))\r\n" + tag + " OK x\r\n" + strings.Repeat("* LIST () \"/\" A\r\n* NAMESPACE ((\"\" \"/\")) NIL ((\"A/\" \"/\")(\"B/\" \"/\"))\r\n", 100)
		}
		return ""
	}}
	b := listed(t, s.start(t))
	for range 20 {
		if err := b.listFolders(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}
