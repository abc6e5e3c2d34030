package imapbackend

import (
	"fmt"
	"strings"
	"testing"
)

func TestMalformedStructure(t *testing.T) {
	for name, bad := range map[string]string{
		"unescaped quote": `("text" "html" ("name" "a"b") NIL NIL "7bit" 4 1)`,
		"a NIL too few":   `("text" "html" NIL NIL "7bit" 4 1)`,
	} {
		t.Run(name, func(t *testing.T) {
			b := listed(t, fetchAnswer(func(uid int) string {
				if uid == 2 {
					return line(uid, bad, goodDate)
				}
				return line(uid, goodStructure, goodDate)
			}).start(t))
			for uid, isUnsure := range map[uint32]bool{1: false, 2: true, 3: false} {
				root, err := b.Structure(t.Context(), msg(uid))
				if err != nil || root.Unsure != isUnsure || !isUnsure && root.Type != "text/html" {
					t.Errorf("UID %d: %+v, %v, unsure: %v", uid, root, err, isUnsure)
				}
				attr, err := b.Attr(t.Context(), msg(uid))
				if err != nil || attr.Size != 20 || attr.Date.Year() < 2000 {
					t.Errorf("UID %d: %+v, %v, want size and date in spite of the structure", uid, attr, err)
				}
			}
		})
	}
}

func TestMalformedDate(t *testing.T) {
	b := listed(t, fetchAnswer(func(uid int) string {
		return fmt.Sprintf("* %d FETCH (UID %d INTERNALDATE \"yesterday\" RFC822.SIZE 20)\r\n", uid, uid)
	}).start(t))
	if _, err := b.Attr(t.Context(), msg(2)); err != nil {
		t.Error(err)
	}
}

// TestMessageThatIsNotDescribed has a server that gives the attributes of one
// message alone, along with what cannot be read.
func TestMessageThatIsNotDescribed(t *testing.T) {
	s := &script{answer: func(tag, command string) string {
		switch {
		case !strings.HasPrefix(command, "UID FETCH"):
			return ""
		case strings.Contains(command, "BODYSTRUCTURE"):
			return fetched(command, func(uid int) string { return line(uid, `("text" "html" NIL NIL "7bit" 4 1)`, goodDate) }) + tag + " OK\r\n"
		}
		return tag + " NO [LIMIT] not now\r\n"
	}}
	b := listed(t, s.start(t))
	soon(t, "asking for its attributes", func() {
		if attr, err := b.Attr(t.Context(), msg(2)); err != nil || attr.Size != 20 {
			t.Errorf("%+v, %v", attr, err)
		}
	})
}
