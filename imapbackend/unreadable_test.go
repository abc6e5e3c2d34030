package imapbackend

import (
	"fmt"
	"strings"
	"testing"
)

// TestMalformedStructure has a message whose parts cannot be read, and who asks for
// what first. It has size and date in spite of it, and the others have all.
func TestMalformedStructure(t *testing.T) {
	for name, bad := range map[string]string{
		"unescaped quote": `("text" "html" ("name" "a"b") NIL NIL "7bit" 4 1)`,
		"a NIL too few":   `("text" "html" NIL NIL "7bit" 4 1)`,
	} {
		for order, uids := range map[string][]uint32{"in order": {1, 2, 3}, "first": {2, 1, 3}, "last": {3, 1, 2}} {
			for _, attrFirst := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %s, attributes first %v", name, order, attrFirst), func(t *testing.T) {
					b := listed(t, fetchAnswer(func(uid int) string {
						if uid == 2 {
							return line(uid, bad, goodDate)
						}
						return line(uid, goodStructure, goodDate)
					}).start(t))
					for _, uid := range uids {
						structure := func() {
							root, err := b.Structure(t.Context(), msg(uid))
							if isUnsure := uid == 2; err != nil || root.Unsure != isUnsure || !isUnsure && root.Type != "text/html" {
								t.Errorf("UID %d: %+v, %v, unsure: %v", uid, root, err, isUnsure)
							}
						}
						if !attrFirst {
							structure()
						}
						attr, err := b.Attr(t.Context(), msg(uid))
						if err != nil || attr.Size != 20 || attr.Date.Year() < 2000 {
							t.Errorf("UID %d: %+v, %v, want size and date in spite of the structure", uid, attr, err)
						}
						if attrFirst {
							structure()
						}
					}
				})
			}
		}
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
