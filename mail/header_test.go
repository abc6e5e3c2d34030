package mail

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSplitHeader(t *testing.T) {
	for raw, want := range map[string]string{
		"A: b\r\n\r\nbody\r\n\r\n": "A: b\r\n\r\n",
		"A: b\n\nbody":             "A: b\n\n",
		"\r\nbody":                 "\r\n",
		"A: b\r\n":                 "A: b\r\n",
		"":                         "",
	} {
		if got := string(SplitHeader([]byte(raw))); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestHeadersText(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{"", ""},
		{"\r\n", ""},
		{"A: b\r\nC:d\r\n\r\nbody", "A: b\nC: d\n"},
		{"A:\r\n", "A:\n"},
		{"A : b", "A: b\n"},
		{"A: b\r\n\tc\r\n   d\r\n", "A: b c d\n"},
		{"A: b \r\n c", "A: b c\n"},
		{"From x@y  Mon Jan  1 12:00:00 2000\nA: b\n", "From x@y  Mon Jan  1 12:00:00 2000\nA: b\n"},
		{"no colon here\nA: b", "no colon here\nA: b\n"},
		{" first line folded\nA: b", " first line folded\nA: b\n"},
		{"S: =?utf-8?q?=C3=A4_b?=", "S: ä b\n"},
		{"S: =?utf-8?B?w6Q=?= =?iso-8859-1?Q?=F6?=", "S: äö\n"},
		{"S: =?utf-8?B?w6Q=?=\r\n =?utf-8?B?w6Q=?= x", "S: ää x\n"},
		{"S: =?utf-8?B?ww==?= =?utf-8?B?pA==?=", "S: ä\n"},
		{"S: \"=?utf-8?q?=C3=A4?=\" <a@b>", "S: \"ä\" <a@b>\n"},
		{"S: a=?utf-8?q?=C3=A4?=b", "S: aäb\n"},
		{"S: =?utf-8?q?two words?=", "S: two words\n"},
		{"S: =?utf-8?B?w6Q?=", "S: ä\n"},
		{"S: =?utf-8*en?q?=C3=A4?=", "S: ä\n"},
		{"S: =?no-such?q?=E4?=", "S: ä\n"},
		{"S: =?utf-8?x?abc?= =?broken", "S: =?utf-8?x?abc?= =?broken\n"},
		{"S: Stra\xdfe", "S: Straße\n"},
		{"S: \xc3\xa4", "S: ä\n"},
		{"S: =?utf-8?q?a=0D=0AX:_y=00=1B?=", "S: a  X: y\n"},
		{"S: a\rb\x00c\td", "S: a b c\td\n"},
		{"S: =?utf-8?q?=E2=80=A8x?=", "S: x\n"},
	} {
		if got := string(HeadersText([]byte(c.raw), "")); got != c.want {
			t.Errorf("%q: %q, want %q", c.raw, got, c.want)
		}
	}
}

// TestHostileHeader has words without an end: each must not be searched for to
// the end of the header.
func TestHostileHeader(t *testing.T) {
	raw := "S: " + strings.Repeat("=?a?q?x", 1<<18)
	if got := string(HeadersText([]byte(raw), "")); got != raw+"\n" {
		t.Errorf("%d bytes, want %d", len(got), len(raw)+1)
	}
}

func FuzzHeadersText(f *testing.F) {
	for _, s := range []string{"A: b\r\n c\r\n", "S: =?utf-8?B?w6Q=?= =?x?q?=0A?=", "From x\n\n", "\xff:\x85\n", "\r", "A: =?utf-7?q?+AAo-?="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		got := string(HeadersText(header, ""))
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		if got != "" && !strings.HasSuffix(got, "\n") {
			t.Fatalf("does not end with LF: %q", got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }); i >= 0 {
			t.Fatalf("control character in %q", got)
		}
		fields := 0
		for i, line := range strings.Split(string(header), "\n") {
			line = strings.TrimSuffix(line, "\r")
			if line == "" {
				break
			}
			if i == 0 || line[0] != ' ' && line[0] != '\t' {
				fields++
			}
		}
		if n := strings.Count(got, "\n"); n != fields {
			t.Fatalf("%d lines of %d fields: %q", n, fields, got)
		}
	})
}

// TestRawHeaders reads bytes that say nothing of themselves by the charset of the text.
func TestRawHeaders(t *testing.T) {
	for _, c := range []struct{ header, charset, want string }{
		{"S: \xc6\xcf\xce\xc1\xd2\xd8", "koi8-r", "S: фонарь\n"},
		{"S: \xc6\xcf \xce\xc1\xd2\xd8\r\nT: =?utf-8?q?=C3=A4?= \xd8", "koi8-r", "S: фо нарь\nT: ä ь\n"},
		{"S: \xc3\xa4", "koi8-r", "S: ä\n"},
		{"S: \x93\xfa\x96{", "shift_jis", "S: 日本\n"},
		{"S: =?iso-8859-1?q?Gr\xfc\xdfe?=", "", "S: Grüße\n"},
		{"S: =?iso-8859-1?q?Gr\xfc\xdfe?= \xfc", "", "S: Grüße ü\n"},
		{"S: =?koi8-r?q?\xc6=CF?= \xc6", "koi8-r", "S: фо ф\n"},
		{"S: =?utf-8?q?Gr\xc3\xbc\xc3\x9fe?= \xc3\xbc", "koi8-r", "S: Grüße ü\n"},
		{"not a field \xc6\xcf", "koi8-r", "not a field фо\n"},
	} {
		if got := string(HeadersText([]byte(c.header), c.charset)); got != c.want {
			t.Errorf("%q in %s: %q, want %q", c.header, c.charset, got, c.want)
		}
	}
	raw := []byte("Subject: \xc6\xcf\xce\xc1\xd2\xd8\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=koi8-r\r\n\r\n\xc6\r\n--x--\r\n")
	if charset := Parse(raw).Charset(); charset != "koi8-r" {
		t.Errorf("the charset of a multipart is %q", charset)
	}
}
