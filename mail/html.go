package mail

import (
	"bytes"
	"strings"

	"github.com/inbucket/html2text"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// HTMLFile writes body.html from the encoded bodies of the parts that HTML
// returns: decoded, and as UTF-8. Unless all of it is ASCII it begins with a
// byte order mark, which for a browser counts more than a <meta> that names
// the charset of before.
func HTMLFile(parts []*Part, bodies [][]byte) []byte {
	var out []byte
	for i, part := range parts {
		if i > 0 {
			out = append(out, '\n')
		}
		out = append(out, htmlString(part, decodeAll(part.Encoding, bodies[i]))...)
	}
	if isASCII(out) {
		return out
	}
	return append([]byte("\uFEFF"), out...)
}

// htmlString converts HTML to UTF-8. The charset is that of the part, else
// what the document says of itself.
func htmlString(part *Part, text []byte) string {
	cs := part.Params["charset"]
	if strings.EqualFold(cs, "us-ascii") {
		cs = "" // the default, which some servers fill in
	}
	if cs == "" && !isASCII(text) {
		_, cs, _ = charset.DetermineEncoding(text[:min(len(text), 1024)], "")
	}
	return decodeCharset(cs, text)
}

// maxHTML bounds the HTML that is rendered with its structure, in bytes. The
// parser of x/net/html needs quadratic time for some hostile input; longer
// documents only lose their tags.
const maxHTML = 1 << 20

// htmlText renders HTML as text to read: blocks on lines of their own, lists
// with asterisks, link targets behind the link's text. What html2text cannot
// do (too large, too deeply nested, or it panics) loses its tags only.
func htmlText(s string) (text string) {
	if len(s) > maxHTML || tooManyPieces(s) {
		return stripTags(s)
	}
	defer func() {
		if recover() != nil {
			text = stripTags(s)
		}
	}()
	// Scripts do not run here, so what <noscript> holds is part of the text.
	doc, err := html.ParseWithOptions(strings.NewReader(s), html.ParseOptionEnableScripting(false))
	if err != nil {
		return stripTags(s) // more than 512 elements inside one another
	}
	simplify(doc, around{})
	text, err = html2text.FromHTMLNode(doc)
	if err != nil {
		return stripTags(s)
	}
	return text
}

// maxQuotes bounds the ">" signs in front of a line.
const maxQuotes = 16

// around is what an element is in.
type around struct {
	bold, pre bool
	quotes    int
}

// preLine stands at the start of the lines of <pre>: html2text would take away a blank there, and
// empty lines. It goes with the other control characters (cleanText).
const preLine = "\n\x01"

// simplify removes what a browser never shows and the parser keeps as text,
// and puts an image's alternative text in its place. It also undoes nesting
// that html2text pays for: each bold element or heading copies its text, and
// each quote marks every line, which multiplies with 500 levels of them. The
// parser allows no more than 512, so recursion is safe.
func simplify(n *html.Node, in around) {
	for c := n.FirstChild; c != nil; {
		next := c.NextSibling
		inner := in
		switch c.DataAtom {
		case atom.Iframe, atom.Noframes, atom.Noembed, atom.Template, atom.Script, atom.Style, atom.Title:
			n.RemoveChild(c)
		case atom.Img:
			for _, a := range c.Attr {
				if alt := strings.TrimSpace(a.Val); a.Key == "alt" && alt != "" {
					n.InsertBefore(&html.Node{Type: html.TextNode, Data: " " + alt + " "}, c)
				}
			}
			n.RemoveChild(c)
		case atom.B, atom.Strong, atom.H1, atom.H2, atom.H3:
			if in.bold {
				c.DataAtom = atom.Span
			}
			inner.bold = true
			simplify(c, inner)
		case atom.Blockquote:
			if in.quotes >= maxQuotes {
				c.DataAtom = atom.Div
			}
			inner.quotes++
			simplify(c, inner)
		case atom.Pre:
			inner.pre = true
			simplify(c, inner)
		default:
			if c.Type == html.TextNode && in.pre {
				c.Data = strings.ReplaceAll(c.Data, "\n", preLine)
			}
			simplify(c, inner)
		}
		c = next
	}
}

// tooManyPieces looks for text cut into very many pieces by end tags that end
// nothing: the parser joins such pieces, copying all of them each time.
func tooManyPieces(s string) bool {
	return strings.Count(s, "</") > strings.Count(s, "<")/2+20000
}

// stripTags is the plain way to turn HTML into text: without its tags, with
// line ends where blocks begin and end. It takes linear time.
func stripTags(s string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	newline := true // b ends with one, so that empty blocks do not pile up
	var skip atom.Atom
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			text := z.Text()
			if skip == 0 && len(bytes.TrimSpace(text)) > 0 {
				b.Write(text)
				newline = false
			} else if skip == 0 && !newline {
				b.WriteByte(' ')
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			token := z.Token()
			switch token.DataAtom {
			case atom.Script, atom.Style, atom.Title, atom.Head:
				skip = 0
				if token.Type == html.StartTagToken && token.DataAtom != atom.Head {
					skip = token.DataAtom
				}
			case atom.Br, atom.P, atom.Div, atom.Tr, atom.Li, atom.Ul, atom.Ol, atom.Table, atom.Blockquote, atom.Pre,
				atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
				if !newline {
					b.WriteByte('\n')
					newline = true
				}
			}
		}
	}
}
