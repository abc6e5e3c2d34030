package imapbackend

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapfs/mail"
	"imapfs/query"
)

// TestSearchEach takes each answer for that of its folder, and what cannot be believed for none.
func TestSearchEach(t *testing.T) {
	const ok = "A OK done\r\n"
	opened := func(validity, next int) string {
		return fmt.Sprintf("* 9 EXISTS\r\n* OK [UIDVALIDITY %d] x\r\n* OK [UIDNEXT %d] x\r\n", validity, next)
	}
	folders := []struct {
		name, examine, search string
		want                  string // UIDVALIDITY, the highest UID, and what is found
	}{
		{"a", opened(1, 10) + ok, "* ESEARCH (TAG \"A\") UID ALL 2,5:6\r\n" + ok, "1 9 [2 5 6]"},
		{"nothing", opened(2, 20) + ok, "* ESEARCH (TAG \"A\") UID\r\n" + ok, "2 19 []"},
		{"shut", "A NO you may not\r\n", "A BAD nothing is open\r\n", ""},
		{"b", opened(3, 30) + ok, "* ESEARCH (TAG \"A\") UID ALL 29\r\n" + ok, "3 29 [29]"},
		{"refuses", opened(4, 40) + ok, "A NO [BADCHARSET] no\r\n", ""},
		{"silent", opened(5, 50) + ok, ok, ""},
		{"no UIDs", opened(6, 60) + ok, "* ESEARCH (TAG \"A\") ALL 1:3\r\n" + ok, ""},
		{"untold", "* 9 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n" + ok, "* ESEARCH (TAG \"A\") UID ALL 1,3\r\n" + ok, "7 3 [1 3]"},
		{"many", opened(8, 80) + ok, "* ESEARCH (TAG \"A\") UID ALL 1:4000000\r\n" + ok, ""},
		{"c", opened(9, 90) + ok, "* ESEARCH (TAG \"A\") UID ALL 88:89\r\n" + ok, "9 89 [88 89]"},
	}
	at := 0
	s := &script{answer: func(tag, command string) string {
		word, rest, _ := strings.Cut(command, " ")
		answer := ""
		switch {
		case word == "EXAMINE":
			at = slices.IndexFunc(folders, func(f struct{ name, examine, search, want string }) bool { return f.name == strings.Trim(rest, `"`) })
			answer = folders[at].examine
		case strings.HasPrefix(command, "UID SEARCH") && strings.Contains(command, "SUBJECT"):
			answer = folders[at].search
		}
		return strings.NewReplacer("A OK", tag+" OK", "A NO", tag+" NO", "A BAD", tag+" BAD", `"A"`, `"`+tag+`"`).Replace(answer)
	}}
	b := connect(t, s.start(t))
	q, err := query.Parse("subject:x", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	want, got := make(map[string]string), make(map[string]string)
	for _, f := range folders {
		names = append(names, f.name)
		if f.want != "" {
			want[f.name] = f.want
		}
	}
	err = b.SearchEach(t.Context(), names, q, func(folder string, l mail.Listing, newest uint32) {
		got[folder] = fmt.Sprint(l.UIDValidity, newest, l.UIDs)
	})
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("found %v, %v; want %v", got, err, want)
	}
	if n := s.count("EXAMINE"); n != len(folders) {
		t.Errorf("%d folders were opened", n)
	}
}

// TestGmailKnowsAttachments asks Gmail for what IMAP cannot ask for.
func TestGmailKnowsAttachments(t *testing.T) {
	s := &script{caps: "IMAP4rev1 UIDPLUS ESEARCH X-GM-EXT-1", answer: func(tag, command string) string {
		if strings.Contains(command, "X-GM-RAW") {
			return "* ESEARCH (TAG \"" + tag + "\") UID ALL 2\r\n" + tag + " OK done\r\n"
		}
		return ""
	}}
	b := connect(t, s.start(t))
	q, err := query.Parse("has:attachment is:unread", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	found, err := b.Search(t.Context(), "INBOX", 7, 1, 1<<32-1, q)
	if err != nil || !slices.Equal(found, []uint32{2}) {
		t.Errorf("found %v, %v", found, err)
	}
	if n := s.count(`UID SEARCH RETURN (ALL) (X-GM-RAW "has:attachment") NOT (SEEN)`); n != 1 {
		t.Errorf("sent %q", s.since("UID SEARCH"))
	}
}
