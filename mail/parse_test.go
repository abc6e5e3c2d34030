package mail

import (
	"fmt"
	"strings"
	"testing"
)

// tree writes the parts of a message on a line each: section, type, size of
// the body.
func tree(p *Part) string {
	var b strings.Builder
	var walk func(p *Part)
	walk = func(p *Part) {
		if p.IsMultipart() {
			fmt.Fprintf(&b, "%s %s; ", p.Section, p.Type)
		} else {
			fmt.Fprintf(&b, "%s %s %d; ", p.Section, p.Type, p.Size)
		}
		for _, c := range p.Children {
			walk(c)
		}
	}
	walk(p)
	return strings.TrimSuffix(b.String(), "; ")
}

// mixed makes a multipart message of a body with "x" as boundary.
func mixed(body string) string {
	return "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + body
}

// TestParse shows the tree of whole and broken messages. Those before "shown all
// the same" are what Dovecot 2.3.19 reports in BODYSTRUCTURE.
func TestParse(t *testing.T) {
	const text = "Content-Type: text/plain\r\n\r\n"
	for _, c := range []struct{ what, raw, want string }{
		{"empty", "", "1 text/plain 0"},
		{"no header", "\r\nbody only\r\n", "1 text/plain 11"},
		{"no body", "no header line\r\n", "1 text/plain 0"},
		{"no MIME", "Subject: s\r\n\r\nx\r\n", "1 text/plain 3"},
		{"mailbox From line", "From x y\r\nContent-Type: text/html\r\n\r\nx\r\n", "1 text/html 3"},
		{"no MIME-Version", "Content-Type: text/html\r\n\r\nx", "1 text/html 1"},
		{"two parts", mixed("pre\r\n--x\r\n" + text + "one\r\n--x\r\n\r\ntwo!\r\n--x--\r\npost"), " multipart/mixed; 1 text/plain 3; 2 text/plain 4"},
		{"LF", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n", " multipart/mixed; 1 text/plain 3"},
		{"no last boundary", mixed("--x\r\n" + text + "one\r\n"), " multipart/mixed; 1 text/plain 5"},
		{"only the last boundary", mixed("--x--\r\n"), " multipart/mixed; 1 text/plain 0"},
		{"part ends in its header", mixed("--x\r\nContent-Type: text/html\r\n--x--\r\n"), " multipart/mixed; 1 text/html 0"},
		{"boundary in pieces", "Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\r\n\r\n--ab\r\n\r\nx\r\n--ab--", " multipart/mixed; 1 text/plain 1"},
		{"unquoted boundary with =", "Content-Type: multipart/mixed; boundary=a=b\r\n\r\n--a=b\r\n\r\nx\r\n--a=b--", " multipart/mixed; 1 text/plain 1"},
		{"text behind a boundary", mixed("--x garbage\r\n" + text + "one\r\n--x--more\r\n"), " multipart/mixed; 1 text/plain 3"},
		{"parts after the end", mixed("--x\r\n\r\n1\r\n--x--\r\n--x\r\n\r\n2"), " multipart/mixed; 1 text/plain 1"},
		{"nested", mixed("--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y\r\nContent-Type: text/html\r\n\r\nbb\r\n--y--\r\n--x\r\n\r\nc\r\n--x--"),
			" multipart/mixed; 1 multipart/alternative; 1.1 text/plain 1; 1.2 text/html 2; 2 text/plain 1"},
		{"inner end missing", mixed("--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\na\r\n--x\r\n\r\nc\r\n--x--"),
			" multipart/mixed; 1 multipart/alternative; 1.1 text/plain 1; 2 text/plain 1"},
		{"prefix of another boundary", mixed("--x\r\nContent-Type: multipart/mixed; boundary=xy\r\n\r\n--xy\r\n\r\n1\r\n--xy--\r\n--x\r\n\r\n22\r\n--x--"),
			" multipart/mixed; 1 multipart/mixed; 1.1 text/plain 1; 2 text/plain 2"},
		{"same boundary twice", mixed("--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n1\r\n--x--\r\n--x\r\n\r\n22\r\n--x--"),
			" multipart/mixed; 1 multipart/mixed; 1.1 text/plain 1; 2 text/plain 2"},
		{"digest", "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nA: b\r\n\r\nc\r\n--x\r\nContent-Type: text/plain\r\n\r\nd\r\n--x--", " multipart/digest; 1 message/rfc822 9; 2 text/plain 1"},
		{"attached message", mixed("--x\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nin\r\n--y--\r\n\r\n--x\r\n\r\nout\r\n--x--"),
			" multipart/mixed; 1 message/rfc822 63; 2 text/plain 3"},
		{"bad type", "Content-Type: /\r\n\r\nx", "1 text/plain 1"},
		{"type without subtype", "Content-Type: image\r\n\r\nx", "1 application/octet-stream 1"},
		{"two types", "Content-Type: text/html\r\nContent-Type: image/gif\r\n\r\nx", "1 text/html 1"},
		{"comments and folds", "Content-Type: text/html (a comment);\r\n charset=(c)utf-8\r\n\r\nx", "1 text/html 1"},
		{"nested comment", "Content-Type: (a (b \\) c)) text/html\r\n\r\nx", "1 text/html 1"},
		{"comment without an end", "Content-Type: text/html; (a\r\n\r\nx", "1 text/html 1"},
		{"NUL", "Content-Type: text/html\r\n\r\n\x00x", "1 text/html 2"},

		{"shown all the same: no part", mixed("nothing\r\n"), " multipart/mixed; 1 text/plain 9"},
		{"text before the last boundary alone", mixed("text\r\n--x--\r\nepilogue"), " multipart/mixed; 1 text/plain 4"},
		{"no boundary parameter", "Content-Type: multipart/mixed\r\n\r\nhi\r\n", " multipart/mixed; 1 text/plain 4"},
		{"a boundary without a text", "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\nhi\r\n", " multipart/mixed; 1 text/plain 8"},
		{"encoded boundary", "Content-Type: multipart/mixed; boundary*=us-ascii''ab\r\n\r\n--ab\r\n\r\nx\r\n--ab--", " multipart/mixed; 1 text/plain 1"},
		{"boundary in encoded pieces", "Content-Type: multipart/mixed; boundary*0*=us-ascii''a; boundary*1=b\r\n\r\n--ab\r\n\r\nx\r\n--ab--", " multipart/mixed; 1 text/plain 1"},
		{"type with a comma", "Content-Type: text/html, charset=utf-8\r\n\r\nx", "1 text/html 1"},
		{"two semicolons", "Content-Type: multipart/mixed;; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x--", " multipart/mixed; 1 text/plain 3"},
		{"semicolons all over", "Content-Type: multipart/mixed; ;; charset=x ;;;boundary=x;;\r\n\r\n--x\r\n\r\none\r\n--x--", " multipart/mixed; 1 text/plain 3"},
		{"no semicolon", "Content-Type: multipart/mixed boundary=x\r\n\r\n--x\r\n\r\none\r\n--x--", " multipart/mixed; 1 text/plain 3"},
		{"words between", "Content-Type: multipart/mixed; so to say; boundary=x\r\n\r\n--x\r\n\r\none\r\n--x--", " multipart/mixed; 1 text/plain 3"},
		{"a quote without an end", "Content-Type: multipart/mixed; boundary=\"x\r\n\r\n--x\r\n\r\none\r\n--x--", " multipart/mixed; 1 text/plain 3"},
		{"a part without the empty line", mixed("--x\r\nContent-Type: text/html\r\nHello there\r\n\r\nyou\r\n--x--"), " multipart/mixed; 1 text/html 18"},
		{"and with a colon in its text", mixed("--x\r\nContent-Type: text/html\r\nthe walk: tonight\r\n--x--"), " multipart/mixed; 1 text/html 17"},
		{"a part that is text alone", mixed("--x\r\nHello there\r\n--x--"), " multipart/mixed; 1 text/plain 11"},
		{"a mailbox line in a part", mixed("--x\r\n>From a b\r\nContent-Type: text/html\r\n\r\nHello\r\n--x--"), " multipart/mixed; 1 text/html 5"},
	} {
		if got := tree(Parse([]byte(c.raw))); got != c.want {
			t.Errorf("%s: %q\n got %s\nwant %s", c.what, c.raw, got, c.want)
		}
	}
}

func TestParseBounds(t *testing.T) {
	var deep strings.Builder
	for i := range 2 * maxDepth {
		fmt.Fprintf(&deep, "Content-Type: multipart/mixed; boundary=b%04d\r\n\r\n--b%04d\r\n", i, i)
	}
	depth := 0
	for p := Parse([]byte(deep.String())); p.IsMultipart(); p = p.Children[0] {
		depth++
	}
	if depth != maxDepth-1 {
		t.Errorf("depth %d, want %d", depth, maxDepth-1)
	}
	root := Parse([]byte(mixed(strings.Repeat("--x\r\n\r\n", 2*maxParts))))
	if n := len(root.Leaves()); n > maxParts {
		t.Errorf("%d parts, want at most %d", n, maxParts)
	}
}

func TestFindAndBytes(t *testing.T) {
	raw := []byte(mixed("pre\r\n--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x\r\n\r\nlast\r\n--x--"))
	root := Parse(raw)
	for section, want := range map[string]string{"1": "--y\r\n\r\na\r\n--y--\r\n", "1.1": "a", "2": "last", "": string(raw)} {
		if got, ok := root.Bytes(raw, section); !ok || string(got) != want {
			t.Errorf("section %q: %q %v, want %q", section, got, ok, want)
		}
	}
	for _, section := range []string{"3", "1.2", "2.1", "x", "1."} {
		if got, ok := root.Bytes(raw, section); ok {
			t.Errorf("section %q exists: %q", section, got)
		}
	}
	if one := []byte("A: b\r\n\r\nbody"); string(must(Parse(one).Bytes(one, "1"))) != "body" {
		t.Error("section 1 of a message that is no multipart is its body")
	}
}

func must(b []byte, ok bool) []byte {
	if !ok {
		return nil
	}
	return b
}

func TestFilename(t *testing.T) {
	for _, c := range []struct{ header, want string }{
		{"Content-Disposition: attachment; filename=a.txt", "a.txt"},
		{"Content-Disposition: attachment; filename=\"a \\\"b\\\".txt\"", `a "b".txt`},
		{"Content-Disposition: attachment; filename*=utf-8'en'%e2%82%ac.txt", "€.txt"},
		{"Content-Disposition: attachment; filename*0*=iso-8859-1''%e4; filename*1=\" b\"; filename*2*=.txt", "ä b.txt"},
		{"Content-Disposition: attachment; filename*1=b.txt; filename*0=a", "ab.txt"},
		{"Content-Disposition: attachment; filename=plain.txt; filename*=utf-8''real.txt", "real.txt"},
		{"Content-Disposition: attachment; filename=\"=?utf-8?q?=C3=A4.txt?=\"", "ä.txt"},
		{"Content-Disposition: attachment; filename==?utf-8?q?=C3=A4.txt?=", "ä.txt"},
		{"Content-Disposition: attachment; filename=\"=?utf-8?q?=C3?= =?utf-8?q?=A4.txt?=\"", "ä.txt"},
		{"Content-Disposition: attachment; filename=\"\xe4.txt\"", "ä.txt"},
		{"Content-Type: image/png; name=n.png\r\nContent-Disposition: attachment", "n.png"},
		{"Content-Type: image/png; name=n.png\r\nContent-Disposition: attachment; filename=f.png", "f.png"},
		{"Content-Type: image/png; name=not quoted.png", "not quoted.png"},
		{"Content-Type: image/png; name=not quoted.png; x=y", "not quoted.png"},
		{"Content-Disposition: attachment; filename=Plan mit\r\n Leerzeichen.pdf\r\nContent-Type: application/pdf", "Plan mit Leerzeichen.pdf"},
		{"Content-Disposition: attachment; filename=a.txt (a comment)", "a.txt"},
		{"Content-Disposition: attachment; filename=\"no end.txt; size=3", "no end.txt"},
		{"Content-Disposition: attachment;; filename=a.txt", "a.txt"},
		{"Content-Type: attachment; filename=plan.pdf", "plan.pdf"},
		{"Content-Disposition: attachment; name=a.txt", "a.txt"},
		{"Content-Type: image/png", ""},
	} {
		if got := Parse([]byte("MIME-Version: 1.0\r\n" + c.header + "\r\n\r\n")).Filename; got != c.want {
			t.Errorf("%s: %q, want %q", c.header, got, c.want)
		}
	}
}

// TestNewPart proves that a part told of by a server is the one that Parse
// finds.
func TestNewPart(t *testing.T) {
	got := NewPart("1", "TEXT/Plain", map[string]string{"CHARSET": "UTF-8", "name*": "utf-8''%C3%A4"}, "INLINE", map[string]string{"filename*": "utf-8''%C3%B6"}, "<i@d>", "BASE64", 4)
	want := Parse([]byte("Content-Type: TEXT/Plain; CHARSET=UTF-8; name*=utf-8''%C3%A4\r\nContent-Disposition: INLINE; filename*=utf-8''%C3%B6\r\nContent-ID: <i@d>\r\nContent-Transfer-Encoding: BASE64\r\n\r\nAAAA"))
	want.start, want.end = 0, 0
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func BenchmarkParseAndBody(b *testing.B) {
	raw := []byte(mixed("--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("a line of text with some =C3=A4 in it, as mail has it\r\n", 80) + "--x--\r\n"))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		render(b, Parse(raw), raw)
	}
}
