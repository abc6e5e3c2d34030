package mail

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHostile has messages that are made to cost much. What takes more than
// linear time does not end here before the tests' time limit.
func TestHostile(t *testing.T) {
	deep := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String()
	}
	many := func(n int, header string) string {
		return mixed(strings.Repeat("--x\r\n"+header+"\r\n\r\na\r\n", n) + "--x--\r\n")
	}
	word := "=?utf-8?B?" + strings.Repeat("QUFB", 15) + "?= "
	html := func(s string) string { return part("text/html", s) }
	for what, raw := range map[string]string{
		"multiparts 100,000 deep":          deep(100_000),
		"messages 100,000 deep":            strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100_000),
		"50,000 texts":                     many(50_000, "Content-Type: text/plain"),
		"50,000 attachments":               many(50_000, "Content-Type: image/png; name=a.png"),
		"50,000 HTML alternatives":         strings.Replace(many(50_000, "Content-Type: text/html"), "mixed", "alternative", 1),
		"50,000 parts, none the start":     strings.Replace(many(50_000, "Content-ID: <a>"), "mixed", "related; start=b", 1),
		"a million header lines":           strings.Repeat("X: y\r\n", 1_000_000) + "\r\nbody",
		"a million Content lines":          strings.Repeat("Content-Type: text/html\r\n", 1_000_000) + "\r\nbody",
		"a field of a million lines":       "Content-Type: text/html;\r\n" + strings.Repeat(" a=b;\r\n", 1_000_000) + "\r\nbody",
		"a Subject of a million lines":     "Subject: a\r\n" + strings.Repeat(" b\r\n", 1_000_000) + "\r\nbody",
		"a Subject of white space":         "Subject: a\r\n" + strings.Repeat(" \t\r\n", 1_000_000) + "\r\nbody",
		"a million parameters":             "Content-Type: text/html" + parameters(1_000_000) + "\r\n\r\nbody",
		"a name in 100,000 pieces":         "Content-Type: text/html" + pieces(100_000) + "\r\n\r\nbody",
		"a name of 10 MB":                  many(1, "Content-Type: image/png; name=\""+strings.Repeat("ä", 5<<20)+"\""),
		"comments 1,000,000 deep":          "Content-Type: text/html" + strings.Repeat("(", 1_000_000) + "\r\n\r\nbody",
		"encoded words":                    "Subject: " + strings.Repeat(word, 100_000) + "\r\n\r\nbody",
		"encoded words that do not end":    "Subject: " + strings.Repeat("=?utf-8?B?", 300_000) + "\r\n\r\nbody",
		"encoded words of many charsets":   "Subject: " + strings.Repeat("=?utf-8?B?QQ==?= =?utf-7?B?QQ==?= ", 50_000) + "\r\n\r\nbody",
		"HTML elements 1,000,000 deep":     html(strings.Repeat("<div>", 200_000)),
		"HTML formatting 100,000 deep":     html(strings.Repeat("<b><i>", 80_000) + "x"),
		"HTML tables":                      html(strings.Repeat("<table><tr><td>", 60_000)),
		"HTML attributes":                  html("<p " + strings.Repeat("a=b ", 200_000) + ">x"),
		"HTML different attributes":        html("<p " + attributes(60_000) + ">x"),
		"HTML quotes":                      html(strings.Repeat("<blockquote>", 500) + strings.Repeat("x<br>", 50_000)),
		"HTML links":                       html(strings.Repeat("<a href=x>", 90_000)),
		"HTML that closes nothing":         html(strings.Repeat("x</p>", 150_000)),
		"HTML entities":                    html(strings.Repeat("&CounterClockwiseContourIntegral", 30_000)),
		"HTML comment that does not end":   html(strings.Repeat("<!--", 250_000)),
		"HTML of 20 MB":                    html(strings.Repeat("<p>text</p>", 2_000_000)),
		"boundaries that look like others": mixed(strings.Repeat("--xy\r\n--x-\r\n", 500_000)),
	} {
		t.Run(what, func(t *testing.T) {
			root := Parse([]byte(raw))
			names := make(map[string]bool)
			for _, a := range root.Attachments() {
				if len(a.Name) > maxName || names[a.Name] {
					t.Fatalf("name %.300q", a.Name)
				}
				names[a.Name] = true
			}
			root.HTML()
			body, _ := render(t, root, []byte(raw))
			if !utf8.Valid(body) {
				t.Error("body.txt is not UTF-8")
			}
			if n := len(HeadersText(SplitHeader([]byte(raw)), "")); n > 2*len(raw)+100 {
				t.Errorf("headers.txt has %d bytes, the message %d", n, len(raw))
			}
			if root.Find("1.2.3.4") != nil && !strings.Contains(what, "deep") {
				t.Error("a part that is not there")
			}
		})
	}
}

// TestManyParts has a tree from a server, whose number of parts only the size
// of its answer bounds.
func TestManyParts(t *testing.T) {
	root := &Part{Type: "multipart/mixed"}
	for i := range 50_000 {
		root.Children = append(root.Children, NewPart(fmt.Sprint(i+1), "text/plain", nil, "", nil, "", "", 1))
	}
	if n := len(root.Text()); n != 50_000 {
		t.Errorf("%d texts", n)
	}
	if n := len(root.Attachments()); n != 0 {
		t.Errorf("%d attachments", n)
	}
	root.Type = "multipart/alternative"
	for _, c := range root.Children {
		c.Type = "text/html"
	}
	if n := len(root.Attachments()); n != 49_999 {
		t.Errorf("%d attachments", n)
	}
}

func parameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "; a%d=b", i)
	}
	return b.String()
}

func pieces(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "; name*%d=b", i)
	}
	return b.String()
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d=b ", i)
	}
	return b.String()
}
