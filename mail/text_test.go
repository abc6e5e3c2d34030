package mail

import (
	"strings"
	"testing"
)

// part writes one MIME part for multi; header is its type and more.
func part(header, body string) string { return "Content-Type: " + header + "\r\n\r\n" + body }

// multi writes a multipart with its parts.
func multi(sub, boundary string, parts ...string) string {
	s := "Content-Type: multipart/" + sub + "; boundary=" + boundary + "\r\n\r\n"
	for _, p := range parts {
		s += "--" + boundary + "\r\n" + p + "\r\n"
	}
	return s + "--" + boundary + "--\r\n"
}

// TestFiles shows which files a message has, and what is in body.txt.
func TestFiles(t *testing.T) {
	plain := part("text/plain", "plain")
	html := part("text/html", "<p>html</p>")
	pdf := part("application/pdf; name=a.pdf", "%PDF")
	img := part("image/png\r\nContent-ID: <pic>", "png")
	named := part("text/plain; name=notes.txt", "notes")
	attached := part("text/plain\r\nContent-Disposition: attachment; filename=t.txt", "file")
	for _, c := range []struct{ what, raw, body, html, files string }{
		{"plain", plain, "plain\n", "", ""},
		{"HTML", html, "html\n", "1", ""},
		{"other text", part("text/x-log", "log"), "log\n", "", ""},
		{"named text alone", named, "notes\n", "", ""},
		{"a picture alone", img, "", "", "part-1.png"},
		{"alternative", multi("alternative", "x", plain, html), "plain\n", "2", ""},
		{"alternative, HTML first", multi("alternative", "x", html, plain), "plain\n", "1", ""},
		{"alternative without plain", multi("alternative", "x", img, html), "html\n", "2", "part-1.png"},
		{"alternative with blank plain", multi("alternative", "x", part("text/plain", " \r\n"), multi("related", "y", html, img)), "html\n", "2.1", "part-2.2.png"},
		{"alternative with blank plain, two HTML", multi("alternative", "x", html, part("text/plain", ""), html), "html\n", "1", "part-3.html"},
		{"invitation", multi("alternative", "x", plain, html, part("text/calendar", "BEGIN")), "plain\n", "2", "part-3.ics"},
		{"mixed", multi("mixed", "x", plain, pdf, html), "plain\n\nhtml\n", "3", "a.pdf"},
		{"named body", multi("mixed", "x", named, pdf), "notes\n", "", "a.pdf"},
		{"markdown", multi("mixed", "x", part("text/markdown", "# plain"), pdf), "# plain\n", "", "a.pdf"},
		{"enriched alternative", multi("alternative", "x", plain, part("text/enriched", "<bold>x</bold>")), "plain\n", "", "part-2.txt"},
		{"an invitation alone", multi("mixed", "x", part("text/calendar", "BEGIN:VCALENDAR")), "BEGIN:VCALENDAR\n", "", ""},
		{"named text and nothing else", multi("mixed", "x", pdf, part("text/plain; name=notes.txt\r\nContent-Disposition: inline", "notes")), "notes\n", "", "a.pdf"},
		{"attached text and nothing else", multi("mixed", "x", pdf, attached), "", "", "a.pdf|t.txt"},
		{"a boundary that does not occur", multi("mixed; boundary=other", "x", plain), "--x\nContent-Type: text/plain\n\nplain\n--x--\n", "", ""},
		{"named text later", multi("mixed", "x", plain, named), "plain\n", "", "notes.txt"},
		{"attached text", multi("mixed", "x", plain, attached), "plain\n", "", "t.txt"},
		{"attached text first", multi("mixed", "x", attached, plain), "plain\n", "", "t.txt"},
		{"related", multi("related", "x", html, img), "html\n", "1", "part-2.png"},
		{"related, start", multi(`related; start="<h>"`, "x", img, part("text/html\r\nContent-ID: <h>", "<p>html</p>")), "html\n", "2", "part-1.png"},
		{"alternative with related", multi("alternative", "x", plain, multi("related", "y", html, img)), "plain\n", "2.1", "part-2.2.png"},
		{"related with alternative", multi("related", "x", multi("alternative", "y", plain, html), img), "plain\n", "1.2", "part-2.png"},
		{"mixed with alternative", multi("mixed", "x", multi("alternative", "y", plain, html), pdf), "plain\n", "1.2", "a.pdf"},
		{"two alternatives", multi("mixed", "x", multi("alternative", "y", plain, html), multi("alternative", "z", plain, html)), "plain\n\nplain\n", "1.2 2.2", ""},
		{"HTML around a picture", multi("alternative", "x", plain, multi("mixed", "y", html, img, html)), "plain\n", "2.1 2.3", "part-2.2.png"},
		{"HTML around a picture alone", multi("mixed", "y", html, img, html), "html\n\nhtml\n", "1 3", "part-2.png"},
		{"AppleDouble", multi("mixed", "x", plain, multi("appledouble", "y", part("application/applefile; name=a.pdf", "fork"), pdf)), "plain\n", "", "part-2.1.bin|a.pdf"},
		{"AppleDouble, the name at the fork", multi("mixed", "x", plain, multi("appledouble", "y", part("application/applefile; name=a.pdf", "fork"), part("application/pdf", ""))), "plain\n", "", "part-2.1.bin|a.pdf"},
		{"AppleSingle", multi("mixed", "x", plain, part("application/applefile; name=a.pdf", "both")), "plain\n", "", "a.pdf"},
		{"two HTML alternatives", multi("alternative", "x", plain, html, html), "plain\n", "2", "part-3.html"},
		{"related HTML in related", multi("alternative", "x", plain, multi("related", "y", multi("mixed", "z", html, pdf, html), img)), "plain\n", "2.1.1 2.1.3", "a.pdf|part-2.2.png"},
		{"signed", multi("signed", "x", plain, part("application/pgp-signature", "sig")), "plain\n", "", "part-2.asc"},
		{"report", multi("report", "x", plain, part("message/delivery-status", "s"), part("message/rfc822", "A: b\r\n\r\n")), "plain\n", "", "part-2.txt|part-3.eml"},
		{"digest", multi("digest", "x", "\r\nA: b\r\n\r\nc"), "", "", "part-1.eml"},
		{"message with a name", multi("mixed", "x", plain, part("message/rfc822; name=Re: hello", "A: b\r\n\r\n")), "plain\n", "", "Re: hello.eml"},
		{"equal names", multi("mixed", "x", plain, pdf, pdf, part("application/pdf; name=\"a (2).pdf\"", ""), pdf), "plain\n", "", "a.pdf|a (2).pdf|a (2) (2).pdf|a (3).pdf"},
		{"empty parts", multi("mixed", "x", part("text/plain", "\r\n\r\n"), plain), "plain\n", "", ""},
	} {
		raw := []byte("MIME-Version: 1.0\r\n" + c.raw)
		root := Parse(raw)
		body, _ := render(t, root, raw)
		if string(body) != c.body {
			t.Errorf("%s: body.txt %q, want %q", c.what, body, c.body)
		}
		var sections []string
		for _, h := range root.HTML() {
			sections = append(sections, h.Section)
		}
		if got := strings.Join(sections, " "); got != c.html {
			t.Errorf("%s: body.html is section %q, want %q", c.what, got, c.html)
		}
		var names []string
		for _, a := range root.Attachments() {
			names = append(names, a.Name)
		}
		if got := strings.Join(names, "|"); got != c.files {
			t.Errorf("%s: attachments %q, want %q", c.what, got, c.files)
		}
	}
}

func TestBodyText(t *testing.T) {
	for _, c := range []struct{ header, body, want string }{
		{"text/plain", "a\r\nb\rc\n\n\n", "a\nb\nc\n"},
		{"text/plain", "", ""},
		{"text/plain", "a\x00b\x1b[31mc\x07", "ab[31mc\n"},
		{"text/plain; format=flowed", "soft \r\nbreak", "soft break\n"},
		{"text/plain; format=Flowed; delsp=yes", "sof \r\nt brea \r\nk\r\nhard", "soft break\nhard\n"},
		{"text/plain; format=flowed", ">> so \r\n>>goes \r\n> on\r\n>\r\n> new", ">> so goes \n> on\n>\n> new\n"},
		{"text/plain; format=flowed", " From here \r\n >no quote\r\n\r\nend \r\n-- \r\nAnn", "From here >no quote\n\nend \n-- \nAnn\n"},
		{"text/plain; format=flowed", "stays \r\n\r\nopen ", "stays \n\nopen \n"},
		{"text/plain", "not \r\nflowed", "not \nflowed\n"},
		{"text/plain\r\nContent-Transfer-Encoding: \"quoted-printable\"", "a=20b", "a b\n"},
		{"text/plain\r\nContent-Transfer-Encoding: quoted-printable (safe)", "a=20b", "a b\n"},
		{"text/plain\r\nContent-Transfer-Encoding: Quoted_Printable;", "a=20b", "a b\n"},
		{"text/plain\r\nContent-Transfer-Encoding: base64, 7bit", "YSBi", "a b\n"},
		{"text/enriched", "<bold>Now</bold> is << the\r\ntime<param>x</param>\r\n\r\nfor <nofill>a\r\n  b</nofill>", "Now is < the time\nfor a\n  b\n"},
		{"text/richtext", "<bold>Now</bold> a <lt> b\r\nc<nl>d<comment>no</comment>", "Now a < b c\nd\n"},
		{"text/html", "<p>x</p><pre>def f():\n    if a:\n\n\n        return\n</pre>", "x\n\ndef f():\n    if a:\n\n\n        return\n"},
		{"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", "w6Q=", "ä\n"},
		{"text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable", "=E4=80", "ä€\n"},
		{"text/html", "<title>t</title><script>bad()</script><style>x{}</style><!-- c --><p>Fish &amp; chips&nbsp;&eacute;</p>", "Fish & chips\u00a0é\n"},
		{"text/html", "See <a href=\"http://a.example/\">click here</a>", "See click here ( http://a.example/ )\n"},
		{"text/html", "<ul><li>one<li>two</ul>", "* one\n* two\n"},
		{"text/html", "a<br>b", "a\nb\n"},
		{"text/html", "<a href=u><img src=x alt=Logo></a>", "Logo ( u )\n"},
		{"text/html", "<noscript>without script</noscript><iframe>old</iframe>", "without script\n"},
		{"text/html", "<meta charset=koi8-r>\xd0\xd2", "пр\n"},
		{"text/html; charset=us-ascii", "<meta charset=koi8-r>\xd0\xd2", "пр\n"},
	} {
		raw := []byte("Content-Type: " + c.header + "\r\n\r\n" + c.body)
		got, _ := render(t, Parse(raw), raw)
		if string(got) != c.want {
			t.Errorf("%s, %q: %q, want %q", c.header, c.body, got, c.want)
		}
	}
}

// TestDeepHTML gives HTML whose nesting would multiply the work or the result.
func TestDeepHTML(t *testing.T) {
	p := &Part{Type: "text/html", Encoding: "7bit"}
	for _, piece := range []string{"<b>", "<h1>", "<blockquote>", "<strong><blockquote>", "<pre>", "<li>", "<h2><b>"} {
		doc := strings.Repeat(piece, 400/strings.Count(piece, "<")) + strings.Repeat("text<br>", 50000)
		got := BodyText([]*Part{p}, [][]byte{[]byte(doc)})
		if len(got) > 10*len(doc) || strings.Count(string(got), "text") != 50000 {
			t.Errorf("%q: %d bytes become %d", piece, len(doc), len(got))
		}
	}
}

// TestHostileHTML gives HTML that could take a renderer's stack, time or
// memory; each must end within the test's time and show its text.
func TestHostileHTML(t *testing.T) {
	p := &Part{Type: "text/html", Encoding: "7bit"}
	for _, piece := range []string{"<div>", "<", "<b><p>", "x</b>", "<a href=x", "<table><tr><td>", "<font a=1>", "&amp", "<blockquote>", "<!--", "<ul><li>"} {
		for _, size := range []int{256 << 10, 2 << 20} {
			doc := "VISIBLE" + strings.Repeat(piece, size/len(piece))
			if got := BodyText([]*Part{p}, [][]byte{[]byte(doc)}); !strings.Contains(string(got), "VISIBLE") {
				t.Errorf("%q repeated to %d bytes: the text is lost", piece, size)
			}
		}
	}
}

func TestStripTags(t *testing.T) {
	got := stripTags("<head><title>t</title></head><script>s</script><p>a&lt;b<div><div>c <b>d</b></div>")
	if want := "a<b\nc d\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHTMLFile(t *testing.T) {
	p := &Part{Type: "text/html", Params: map[string]string{"charset": "iso-8859-1"}}
	if got := string(HTMLFile([]*Part{p}, [][]byte{[]byte("<p>\xe4")})); got != "\uFEFF<p>ä" {
		t.Errorf("not ASCII: %q", got)
	}
	if got := string(HTMLFile([]*Part{p, p}, [][]byte{[]byte("<p>a"), []byte("b")})); got != "<p>a\nb" {
		t.Errorf("ASCII: %q", got)
	}
}
