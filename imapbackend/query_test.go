package imapbackend

import (
	"errors"
	"testing"
	"time"

	"imapfs/mail"
	"imapfs/query"
)

// TestKeysStayOneCommand refuses keys of SEARCH that would be something else on the wire.
func TestKeysStayOneCommand(t *testing.T) {
	for keys, ok := range map[string]bool{
		"SEEN":                                  true,
		`OR (FROM "a) b") SUBJECT "\"x\\"`:      true,
		"KEYWORD $x NOT (ANSWERED OR 1:* SEEN)": true,
		`X-GM-RAW "has:attachment"`:             true,
		"":                                      false,
		" ":                                     false,
		"SEEN\r\nx DELETE INBOX":                false,
		"SEEN)":                                 false,
		"SEEN) (ALL":                            false,
		"(SEEN":                                 false,
		`SUBJECT "a`:                            false,
		`SUBJECT "a\"`:                          false,
		"SUBJECT {3}":                           false,
		"SUBJECT {3+}\r\nabc":                   false,
		"SUBJECT é":                             false,
		"SEEN\x00":                              false,
	} {
		if err := checkKeys(keys); (err == nil) != ok || err != nil && !errors.Is(err, mail.ErrQuery) {
			t.Errorf("%q: %v", keys, err)
		}
	}
}

func TestCriteria(t *testing.T) {
	for s, want := range map[string]bool{ // whether there is something to ask for
		"a":                       true,
		"smaller:0":               false,
		"smaller:0 or a":          true,
		"-smaller:0":              true,
		"a smaller:0":             false,
		"tag:'a b'":               false,
		"tag:ä":                   false,
		"-tag:'a b'":              true,
		"larger:0":                true,
		"(a or b or c) -(d or e)": true,
	} {
		q, err := query.Parse(s, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c, err := criteriaOf(q, false)
		if err != nil || (c != nil) != want {
			t.Errorf("%s: %v, %v", s, c, err)
		}
	}
	if _, err := criteriaOf(query.Query{Op: query.Attachment}, false); !errors.Is(err, mail.ErrUnsupported) {
		t.Errorf("attachments: %v", err)
	}
}
