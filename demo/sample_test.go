package demo

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image/png"
	"io"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
)

// sampleCases are what the sample mailbox must have an example of.
var sampleCases = []string{
	// text and how it is carried
	"plain ASCII", "UTF-8 in 8bit", "quoted-printable", "base64 text", "uuencode in the text",
	"format=flowed", "very long lines", "empty body",
	// charsets
	"iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r", "iso-2022-jp", "shift_jis", "euc-kr", "gb2312",
	"gb18030", "big5", "utf-16", "UTF-7", "unknown charset", "says us-ascii, is UTF-8", "says utf-8, is ISO-8859-1",
	// headers
	"encoded words in many charsets", "raw UTF-8 header", "raw ISO-8859-1 header", "duplicate header fields",
	"no Date field", "folded header",
	// multiparts
	"HTML only", "multipart/alternative", "text/calendar alternative", "related with inline images",
	"nested alternative, related and mixed", "mixed with several inline texts", "attached message",
	"attached message with an attachment", "the message is a message", "multipart/digest", "multipart/signed",
	"multipart/report", "uuencode as transfer encoding", "10 MB attachment",
	// names
	"RFC 2231 names", "RFC 2047 names", "raw 8-bit names", "equal names", "hostile names", "no name",
	"zero-byte attachment", "only an attachment",
	// against the rules
	"only a header", "no header", "missing final boundary", "multipart without parts",
	"multipart without a boundary", "broken Content-Type", "broken base64", "a line that is no header field",
	// folders
	"a folder named ..", "a folder with a percent sign", "a folder in Japanese", "a folder of digits",
	"a folder of digits below one without messages",
}

func sampleMessage(t *testing.T, about string) Message {
	t.Helper()
	list := Sample()
	i := slices.IndexFunc(list, func(m Message) bool { return m.Case == about })
	if i < 0 {
		t.Fatalf("no sample message for %q", about)
	}
	return list[i]
}

func TestSampleCases(t *testing.T) {
	cases := make(map[string]bool)
	for _, m := range Sample() {
		if cases[m.Case] {
			t.Errorf("two messages for %q", m.Case)
		}
		cases[m.Case] = true
		if m.Date.IsZero() || bytes.Count(m.Raw, []byte("\n")) != bytes.Count(m.Raw, []byte("\r\n")) {
			t.Errorf("%s: no date, or a line end that is not CRLF", m.Case)
		}
	}
	for _, about := range sampleCases {
		if !cases[about] {
			t.Errorf("no message for %q", about)
		}
	}
	if len(cases) < 30 {
		t.Errorf("%d messages, want at least 30", len(cases))
	}
}

// Every run has the same mail, so that two mounts show the same.
func TestSampleIsDeterministic(t *testing.T) {
	a, b := compose(), compose()
	for i := range a {
		if !bytes.Equal(a[i].Raw, b[i].Raw) || !a[i].Date.Equal(b[i].Date) {
			t.Errorf("%s differs from call to call", a[i].Case)
		}
	}
}

func TestAddSample(t *testing.T) {
	s := start(t, Options{})
	check(t, s.AddSample())
	c := dial(t, s, nil)
	list, err := c.List("", "*", nil).Collect()
	check(t, err)
	attrs := make(map[string][]imap.MailboxAttr)
	for _, data := range list {
		attrs[data.Mailbox] = data.Attrs
	}
	for name, attr := range map[string]imap.MailboxAttr{
		"INBOX": "", "INBOX/Receipts": "", "Archive": imap.MailboxAttrArchive, "Archive/2023": "", "Archive/2024": "",
		"Projects": imap.MailboxAttrNoSelect, "Projects/Größe & Maße": "", "Projects/..": "", "日本のともだち": "",
		"Sent": imap.MailboxAttrSent, "Trash": imap.MailboxAttrTrash, "Drafts": imap.MailboxAttrDrafts,
	} {
		if got, ok := attrs[name]; !ok || attr != "" && !slices.Contains(got, attr) {
			t.Errorf("%s: %v, want %s", name, got, attr)
		}
	}

	// What comes over the wire is what was put in.
	want := make(map[string][]Message)
	for _, m := range Sample() {
		want[m.Mailbox] = append(want[m.Mailbox], m)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		selectBox(t, c, name)
		msgs := fetch(t, c, allUIDs, &imap.FetchOptions{
			InternalDate: true, RFC822Size: true, Flags: true, Envelope: true,
			BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
			BodySection:   []*imap.FetchItemBodySection{whole},
		})
		if len(msgs) != len(want[name]) {
			t.Errorf("%s has %d messages, want %d", name, len(msgs), len(want[name]))
			continue
		}
		for i, msg := range msgs {
			m := want[name][i]
			raw := msg.FindBodySection(whole)
			if !bytes.Equal(raw, m.Raw) || msg.RFC822Size != int64(len(m.Raw)) || !msg.InternalDate.Equal(m.Date) {
				t.Errorf("%s (%s): message, size or date differ from the sample", m.Case, name)
			}
			if len(msg.Flags) != len(m.Flags) {
				t.Errorf("%s: flags %v, want %v", m.Case, msg.Flags, m.Flags)
			}
			msg.BodyStructure.Walk(func(path []int, p imap.BodyStructure) bool {
				leaf, ok := p.(*imap.BodyStructureSinglePart)
				if ok && leaf.Size < 1<<20 {
					if n := len(body(t, c, msg.UID, imap.FetchItemBodySection{Part: path})); n != int(leaf.Size) {
						t.Errorf("%s: part %v has %d bytes, BODYSTRUCTURE says %d", m.Case, path, n, leaf.Size)
					}
				}
				return true
			})
		}
	}
}

// Each text is decoded again by other means than those which encoded it.
func TestSampleTexts(t *testing.T) {
	// What the label does not tell, or nothing knows.
	truth := map[string]encoding.Encoding{
		"unknown charset":           unicode.UTF8,
		"says us-ascii, is UTF-8":   unicode.UTF8,
		"says utf-8, is ISO-8859-1": charmap.ISO8859_1,
		"UTF-7":                     nil, // decodeUTF7
		"broken Content-Type":       unicode.UTF8,
		"gb2312":                    mustGet(htmlindex.Get("gb2312")),
		"plain ASCII":               unicode.UTF8,
		"a folder in Japanese":      unicode.UTF8,
	}
	n := 0
	for _, m := range Sample() {
		if m.Text == "" {
			continue
		}
		p := parsePart(m.Raw, "text/plain")
		if len(p.children) > 0 {
			continue // multiparts choose and join; that is for package mail to test
		}
		n++
		content := decodeTransfer(t, fieldValue(p.header, "Content-Transfer-Encoding"), p.body)
		enc, known := truth[m.Case]
		if !known {
			var err error
			if enc, err = ianaindex.MIME.Encoding(p.params["charset"]); err != nil || enc == nil {
				t.Errorf("%s: charset %q: %v", m.Case, p.params["charset"], err)
				continue
			}
		}
		got := ""
		if m.Case == "UTF-7" {
			got = decodeUTF7(string(content))
		} else {
			b, err := enc.NewDecoder().Bytes(content)
			check(t, err)
			got = string(b)
		}
		if got = strings.ReplaceAll(got, "\r\n", "\n"); got != m.Text {
			t.Errorf("%s: reads %q, want %q", m.Case, got, m.Text)
		}
	}
	if n < 20 {
		t.Errorf("only %d texts looked at", n)
	}
}

func mustGet(e encoding.Encoding, err error) encoding.Encoding {
	if err != nil {
		panic(err)
	}
	return e
}

func decodeTransfer(t *testing.T, name string, body []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch name {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	out, err := io.ReadAll(r)
	check(t, err)
	return out
}

// decodeUTF7 decodes RFC 2152.
func decodeUTF7(s string) string {
	return regexp.MustCompile(`\+[A-Za-z0-9+/]*-`).ReplaceAllStringFunc(s, func(word string) string {
		if word == "+-" {
			return "+"
		}
		raw, err := base64.RawStdEncoding.DecodeString(word[1 : len(word)-1])
		if err != nil {
			return word
		}
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(raw[2*i:])
		}
		return string(utf16.Decode(units))
	})
}

func TestSampleSubject(t *testing.T) {
	m := sampleMessage(t, "encoded words in many charsets")
	dec := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		enc, err := ianaindex.MIME.Encoding(charset)
		return enc.NewDecoder().Reader(r), err
	}}
	got, err := dec.DecodeHeader(fieldValue(m.Raw, "Subject"))
	check(t, err)
	if want := "Sommerfest: Würstchen,чай提灯and café 🏮"; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("subject reads %q, want %q", got, want)
	}
	if _, err := mail.ParseAddressList(fieldValue(m.Raw, "From")); err != nil {
		t.Errorf("From: %v", err)
	}
}

func TestSampleAttachments(t *testing.T) {
	kiln := parsePart(sampleMessage(t, "10 MB attachment").Raw, "").find([]int{2})
	if got := decodeTransfer(t, "base64", kiln.body); len(got) != 10_000_000 || !bytes.HasPrefix(got, []byte("second,celsius\n0,20.0\n1,20.7\n")) {
		t.Errorf("the large attachment has %d bytes", len(got))
	}
	zero := parsePart(sampleMessage(t, "zero-byte attachment").Raw, "").find([]int{2})
	if len(zero.body) != 0 {
		t.Errorf("the empty attachment is %q", zero.body)
	}
	picture := parsePart(sampleMessage(t, "related with inline images").Raw, "").find([]int{2})
	if _, err := png.Decode(bytes.NewReader(decodeTransfer(t, "base64", picture.body))); err != nil {
		t.Errorf("the picture is no PNG: %v", err)
	}
	var names []string
	for _, p := range parsePart(sampleMessage(t, "hostile names").Raw, "").children[1:] {
		_, params := parseParams(fieldValue(p.header, "Content-Disposition"))
		names = append(names, params["filename"]+params["filename*"])
	}
	for _, want := range []string{"../../etc/passwd", "a/b", `..\..\boot.ini`, ".", "..", "", strings.Repeat("ß", 148) + ".txt"} {
		if !slices.Contains(names, want) {
			t.Errorf("no attachment is named %q: %q", want, names)
		}
	}
	if got := uu("cat.txt", "Cat"); got != "begin 644 cat.txt\n#0V%T\n`\nend\n" {
		t.Errorf("uuencode: %q", got)
	}
}
