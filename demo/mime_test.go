package demo

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

type sectionTest struct {
	item imap.FetchItemBodySection
	want string
}

func TestSections(t *testing.T) {
	const raw = `From: a@example.org
Subject: outer
Content-Type: multipart/mixed; boundary=o

preamble
--o
Content-Type: text/plain

one
--o
Content-Type: message/rfc822

Subject: middle
Content-Type: multipart/alternative; boundary=i

--i
X-Part: 2.1

two-one
--i
Content-Type: text/html

two-two
--i--
--o

three
--o--
epilogue
`
	s := start(t, Options{})
	check(t, s.Append("INBOX", []byte(raw), time.Time{}))
	check(t, s.Append("INBOX", []byte("Subject: single\n\nbody\n"), time.Time{}))
	check(t, s.Append("INBOX", []byte("Content-Type: message/rfc822\n\nSubject: in\n\nbody\n"), time.Time{}))
	c := dial(t, s, nil)
	selectBox(t, c, "INBOX")

	p := func(nums ...int) []int { return nums }
	for uid, tests := range map[imap.UID][]sectionTest{
		1: {
			{imap.FetchItemBodySection{}, raw},
			{imap.FetchItemBodySection{Specifier: "HEADER"}, raw[:strings.Index(raw, "preamble")]},
			{imap.FetchItemBodySection{Specifier: "TEXT"}, raw[strings.Index(raw, "preamble"):]},
			{imap.FetchItemBodySection{Specifier: "HEADER", HeaderFields: []string{"subject", "X"}}, "Subject: outer\n\n"},
			{imap.FetchItemBodySection{Specifier: "HEADER", HeaderFieldsNot: []string{"Content-Type", "From"}}, "Subject: outer\n\n"},
			{imap.FetchItemBodySection{Part: p(1)}, "one"},
			{imap.FetchItemBodySection{Part: p(1), Specifier: "MIME"}, "Content-Type: text/plain\n\n"},
			{imap.FetchItemBodySection{Part: p(1), Specifier: "HEADER"}, ""},
			{imap.FetchItemBodySection{Part: p(2), Specifier: "MIME"}, "Content-Type: message/rfc822\n\n"},
			{imap.FetchItemBodySection{Part: p(2), Specifier: "HEADER"}, "Subject: middle\nContent-Type: multipart/alternative; boundary=i\n\n"},
			{imap.FetchItemBodySection{Part: p(2, 1)}, "two-one"},
			{imap.FetchItemBodySection{Part: p(2, 1), Specifier: "MIME"}, "X-Part: 2.1\n\n"},
			{imap.FetchItemBodySection{Part: p(2, 2)}, "two-two"},
			{imap.FetchItemBodySection{Part: p(3)}, "three"},
			{imap.FetchItemBodySection{Part: p(3), Specifier: "MIME"}, "\n"},
			{imap.FetchItemBodySection{Part: p(4)}, ""},
			{imap.FetchItemBodySection{Part: p(1, 1)}, ""},
			{imap.FetchItemBodySection{Partial: &imap.SectionPartial{Offset: 6, Size: 13}}, "a@example.org"},
			{imap.FetchItemBodySection{Part: p(2, 2), Partial: &imap.SectionPartial{Offset: 4, Size: 100}}, "two"},
			{imap.FetchItemBodySection{Part: p(3), Partial: &imap.SectionPartial{Offset: 100, Size: 100}}, ""},
		},
		2: {
			{imap.FetchItemBodySection{Part: p(1)}, "body\n"},
			{imap.FetchItemBodySection{Part: p(1), Specifier: "MIME"}, "Subject: single\n\n"},
			{imap.FetchItemBodySection{Part: p(2)}, ""},
		},
		3: {
			{imap.FetchItemBodySection{Part: p(1)}, "Subject: in\n\nbody\n"},
			{imap.FetchItemBodySection{Part: p(1, 1)}, "body\n"},
			{imap.FetchItemBodySection{Part: p(1), Specifier: "HEADER"}, "Subject: in\n\n"},
		},
	} {
		for _, tt := range tests {
			got := body(t, c, uid, tt.item)
			if want := strings.ReplaceAll(tt.want, "\n", "\r\n"); got != want {
				t.Errorf("UID %d BODY%v.%s: %q, want %q", uid, tt.item.Part, tt.item.Specifier, got, want)
			}
		}
	}
}

func TestBodyStructure(t *testing.T) {
	for name, tt := range map[string]struct {
		raw  string
		want string
	}{
		"no header":          {"\ntext\n", `1 text/plain map[]`},
		"only a header":      {"Subject: x\n", `1 text/plain map[]`},
		"case is kept":       {"Content-Type: TEXT/Html; Charset=\"X\"\n\n", `1 TEXT/Html map[charset:X]`},
		"no type":            {"Content-Type: ; charset=x\n\n", `1 text/plain map[]`},
		"half a type":        {"Content-Type: text\n\n", `1 text/plain map[]`},
		"quotes":             {"Content-Type: a/b; name=\"x \\\"y\\\"; z\"\n\n", `1 a/b map[name:x "y"; z]`},
		"nothing is decoded": {"Content-Type: a/b; name*0*=utf-8''%C3;\n name*1*=%B6\n\n", `1 a/b map[name*0*:utf-8''%C3 name*1*:%B6]`},
		"raw 8-bit name":     {"Content-Type: a/b; name=Stückliste.txt\n\n", `1 a/b map[name:Stückliste.txt]`},
		"no parts":           {"Content-Type: multipart/mixed; boundary=x\n\ntext\n", `1 text/plain map[]`},
		"no boundary":        {"Content-Type: multipart/mixed\n\n--\n\ntext\n", `1 text/plain map[]`},
		"no last boundary":   {"Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\n\nb", `1 text/plain map[] 2 text/plain map[]`},
		"boundary in text":   {"Content-Type: multipart/mixed; boundary=x\n\n--x\n\n--xy\n --x\n--x-- \n--x\n\nafter\n", `1 text/plain map[]`},
		"digest":             {"Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: in\n\ntext\n--x--\n", `1 message/rfc822 map[] 1.1 text/plain map[]`},
		"inner runs over":    {"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\na\n--o\n\nb\n--o--\n", `1.1 text/plain map[] 2 text/plain map[]`},
	} {
		s := start(t, Options{})
		check(t, s.Append("INBOX", []byte(tt.raw), time.Time{}))
		c := dial(t, s, nil)
		selectBox(t, c, "INBOX")
		msg := fetch(t, c, allUIDs, &imap.FetchOptions{BodyStructure: &imap.FetchItemBodyStructure{Extended: true}})[0]
		var got []string
		msg.BodyStructure.Walk(func(path []int, p imap.BodyStructure) bool {
			if leaf, ok := p.(*imap.BodyStructureSinglePart); ok {
				number := strings.ReplaceAll(strings.Trim(fmt.Sprint(path), "[]"), " ", ".")
				got = append(got, fmt.Sprintf("%s %s/%s %v", number, leaf.Type, leaf.Subtype, leaf.Params))
				if m := leaf.MessageRFC822; m != nil {
					inner := m.BodyStructure.(*imap.BodyStructureSinglePart)
					got = append(got, fmt.Sprintf("%s.1 %s/%s %v", number, inner.Type, inner.Subtype, inner.Params))
				}
				// The size promised is the size sent.
				if n := len(body(t, c, 1, imap.FetchItemBodySection{Part: path})); n != int(leaf.Size) {
					t.Errorf("%s: part %v has %d bytes, BODYSTRUCTURE says %d", name, path, n, leaf.Size)
				}
			}
			return true
		})
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %s\nwant %s", name, strings.Join(got, " "), tt.want)
		}
	}
}

func TestDeepNesting(t *testing.T) {
	raw := "text"
	for i := range 500 {
		b := fmt.Sprint("b", i)
		raw = "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n" + raw + "\n--" + b + "--"
	}
	depth := 0
	for p := parsePart(crlf([]byte(raw)), "text/plain"); len(p.children) > 0; p = p.children[0] {
		depth++
	}
	if depth != maxDepth {
		t.Errorf("descends %d levels, want %d", depth, maxDepth)
	}
}

// TestManyFolds parses a field of a megabyte, in many lines; it must end within
// the test's time, and leave the message as it was.
func TestManyFolds(t *testing.T) {
	const folds = 200_000
	header := []byte("X-Long: a\r\n" + strings.Repeat(" b\r\n", folds) + "Subject: after\r\n\r\n")
	before := string(header)
	list := fields(header)
	if len(list) != 2 || len(list[0].value()) != 1+2*folds || list[1].value() != "after" {
		t.Errorf("%d fields, the first of %d bytes", len(list), len(list[0].value()))
	}
	if string(header) != before {
		t.Error("the message has changed")
	}
}

func TestParseParams(t *testing.T) {
	for in, want := range map[string]map[string]string{
		`attachment`:                       nil,
		`attachment;`:                      nil,
		`attachment; filename`:             nil,
		`attachment; filename=`:            {"filename": ""},
		`attachment; filename=""`:          {"filename": ""},
		`attachment; FileName="a;b"; x=1`:  {"filename": "a;b", "x": "1"},
		`attachment; filename="open`:       {"filename": "open"},
		`attachment; filename=a b.txt`:     {"filename": "a b.txt"},
		`attachment; filename = "a.txt" ;`: {"filename": "a.txt"},
		`attachment; n="=?utf-8?q?x?="`:    {"n": "=?utf-8?q?x?="}, // imapclient decodes it, so ask here
		`attachment; a=1; a=2`:             {"a": "1"},
		`attachment; filename="a\\b\"c"`:   {"filename": `a\b"c`},
	} {
		if value, got := parseParams(in); value != "attachment" || !maps.Equal(got, want) {
			t.Errorf("%s: %s %v, want %v", in, value, got, want)
		}
	}
}
