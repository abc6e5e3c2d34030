package mail

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

// FuzzParse checks what must hold for every message, however broken.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "A: b\r\n\r\nc", mixed("--x\r\n\r\na\r\n--x--"),
		multi("alternative", "x", part("text/plain", "a"), part("text/html; charset=utf-7", "<b>+AOQ-"), part("text/calendar", "")),
		multi("related; start=\"<a>\"", "x", part("image/png\r\nContent-ID: <b>", ""), part("text/html\r\nContent-ID: <a>", "<p>")),
		multi("digest", "x", "\r\nA: b\r\n\r\n"+multi("mixed", "x", "\r\n")),
		part("application/x; name*0*=utf-8''%ff; name=\"=?b?q?a?=\"\r\nContent-Transfer-Encoding: base64", "QUJD"),
		part("text/plain\r\nContent-Transfer-Encoding: x-uuencode", "begin 644 a\n#0V%T\n`\nend"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		root := Parse(raw)
		sections := make(map[string]bool)
		var walk func(p *Part)
		walk = func(p *Part) {
			if sections[p.Section] {
				t.Fatalf("section %q twice", p.Section)
			}
			sections[p.Section] = true
			if root.Find(p.Section) != p {
				t.Fatalf("section %q not found", p.Section)
			}
			body, ok := root.Bytes(raw, p.Section)
			if !ok || p.Section != "" && int64(len(body)) != p.Size && !p.IsMultipart() {
				t.Fatalf("section %q: %d bytes, size %d", p.Section, len(body), p.Size)
			}
			for _, c := range p.Children {
				walk(c)
			}
		}
		walk(root)

		seen := make(map[*Part]int)
		for _, p := range root.Text() {
			seen[p]++
		}
		for _, h := range root.HTML() {
			if seen[h] == 0 {
				seen[h]++
			}
		}
		names := make(map[string]bool)
		for _, a := range root.Attachments() {
			seen[a.Part]++
			checkName(t, a.Name)
			if names[a.Name] {
				t.Fatalf("name %q twice", a.Name)
			}
			names[a.Name] = true
		}
		for _, p := range root.Leaves() {
			if seen[p] != 1 {
				t.Fatalf("section %q is used %d times", p.Section, seen[p])
			}
		}

		body, _ := render(t, root, raw)
		if !utf8.Valid(body) {
			t.Fatal("body.txt is not UTF-8")
		}
		if len(body) > 0 && (body[len(body)-1] != '\n' || bytes.HasSuffix(body, []byte("\n\n"))) {
			t.Fatalf("body.txt does not end with one LF: %q", body)
		}
		var bodies [][]byte
		for _, h := range root.HTML() {
			b, _ := root.Bytes(raw, h.Section)
			bodies = append(bodies, b)
		}
		if !utf8.Valid(HTMLFile(root.HTML(), bodies)) {
			t.Fatal("body.html is not UTF-8")
		}
		if !utf8.Valid(HeadersText(SplitHeader(raw), root.Charset())) {
			t.Fatal("headers.txt is not UTF-8")
		}
	})
}
