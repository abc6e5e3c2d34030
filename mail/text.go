package mail

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
)

// choice says what becomes of each leaf of a message: shown ones make up
// body.txt, the html ones body.html (they may be shown ones too), all others are
// attachments.
type choice struct {
	shown []*Part
	html  []*Part
	used  map[*Part]bool // the shown ones and the html ones
}

// Text returns the leaves whose text makes up body.txt, in order.
func (root *Part) Text() []*Part { return root.choose().shown }

// HTML returns the leaves whose text makes up body.html, in order: the HTML that is the body or
// the alternative of the body. There can be several, around pictures.
func (root *Part) HTML() []*Part { return root.choose().html }

// choose picks what a mail reader displays.
func (root *Part) choose() choice {
	leaves := root.Leaves()
	if len(leaves) == 0 {
		return choice{}
	}
	var s choice
	var others []*Part
	if root.IsMultipart() {
		c := &chooser{first: leaves[0]}
		if s.shown, others = c.pick(root); len(s.shown) == 0 {
			// Any text is better than none.
			c.any = true
			s.shown, others = c.pick(root)
		}
	} else if strings.HasPrefix(root.Type, "text/") {
		// Nothing but one leaf: any text is the body, whatever it calls itself.
		s.shown = leaves
	}
	s.used = make(map[*Part]bool)
	for _, p := range slices.Concat(s.shown, others) {
		s.used[p] = true
	}
	for _, p := range leaves {
		if p.Type == "text/html" && s.used[p] {
			s.html = append(s.html, p)
		}
	}
	return s
}

type chooser struct {
	first *Part // the very first leaf
	any   bool  // any text may be displayed, also one that has a name
}

// pick returns the leaves of p that are displayed, and the HTML leaves that
// are alternatives of displayed ones.
func (c *chooser) pick(p *Part) (shown, others []*Part) {
	if !p.IsMultipart() {
		if c.displayable(p) {
			return []*Part{p}, nil
		}
		return nil, nil
	}
	switch p.Type {
	case "multipart/alternative":
		return c.alternative(p)
	case "multipart/related":
		// RFC 2387 §3.2: the root is the start parameter's, else the first.
		root := p.Children[0]
		if start := p.Params["start"]; start != "" {
			for _, child := range p.Children {
				if trimID(child.ContentID) == trimID(start) {
					root = child
					break
				}
			}
		}
		return c.pick(root)
	}
	for _, child := range p.Children {
		s, o := c.pick(child)
		shown = append(shown, s...)
		others = append(others, o...)
	}
	return shown, others
}

// blankSize is the size of a part that holds no more than line ends.
const blankSize = 4

// alternative picks from a multipart/alternative (RFC 2046 §5.1.4): the first
// child with plain text, else the first with anything to display. Where the
// plain text is there for form's sake only, the HTML is shown too: BodyText
// leaves out what is blank.
func (c *chooser) alternative(p *Part) (shown, others []*Part) {
	best := -1
	plain := false
	picked := make([][]*Part, len(p.Children))
	inside := make([][]*Part, len(p.Children)) // alternatives of these
	for i, child := range p.Children {
		picked[i], inside[i] = c.pick(child)
		hasPlain := slices.ContainsFunc(picked[i], func(q *Part) bool { return q.Type != "text/html" })
		if len(picked[i]) > 0 && (best < 0 || hasPlain && !plain) {
			best, plain = i, hasPlain
		}
	}
	if best < 0 {
		return nil, nil
	}
	shown = picked[best]
	// The HTML of the first child that has any.
	var instead []*Part
	for i, list := range picked {
		var html []*Part
		for _, q := range slices.Concat(list, inside[i]) {
			if q.Type == "text/html" {
				html = append(html, q)
			}
		}
		if len(html) > 0 {
			if instead = html; i == best {
				instead = inside[i]
			}
			break
		}
	}
	if plain && !slices.ContainsFunc(shown, func(q *Part) bool { return q.Size > blankSize }) {
		shown = slices.Concat(shown, instead)
	}
	return shown, instead
}

func trimID(id string) string { return strings.Trim(id, "<> \t\r\n") }

// displayable says whether a leaf inside a multipart is for reading, and not a
// file. Some programs give the body a name too.
func (c *chooser) displayable(p *Part) bool {
	switch {
	case p.Disposition == "attachment" || !strings.HasPrefix(p.Type, "text/"):
		return false
	case c.any:
		return true
	}
	return isProse(p.Type) && (p.Filename == "" || p == c.first)
}

// isProse tells whether a type is text that people write.
func isProse(typ string) bool {
	switch typ {
	case "text/plain", "text/html", "text/enriched", "text/richtext", "text/markdown", "text/x-markdown", "text/x-web-markdown":
		return true
	}
	return false
}

// BodyText writes body.txt from the encoded bodies of the parts that Text
// returns: decoded, as UTF-8 with LF, HTML as text, with an empty line between
// parts. It ends with exactly one LF unless it is empty.
func BodyText(parts []*Part, bodies [][]byte) []byte {
	var out []byte
	for i, p := range parts {
		if i >= len(bodies) {
			break
		}
		text := decodeAll(p.Encoding, bodies[i])
		s := cleanText(p.plainText(text))
		s = bytes.TrimRight(s, "\n")
		if len(bytes.TrimSpace(s)) == 0 {
			continue
		}
		if len(out) > 0 {
			out = append(out, '\n')
		}
		out = append(out, s...)
		out = append(out, '\n')
	}
	return out
}

// plainText returns what a person reads of the decoded content of a part.
func (p *Part) plainText(text []byte) string {
	if p.Type == "text/html" {
		return htmlText(htmlString(p, text))
	}
	s := decodeCharset(p.Params["charset"], text)
	switch {
	case p.Type == "text/enriched" || p.Type == "text/richtext":
		return enrichedText(s, p.Type == "text/richtext")
	case p.Type == "text/plain" && strings.EqualFold(p.Params["format"], "flowed"):
		return unflow(s, strings.EqualFold(p.Params["delsp"], "yes"))
	}
	return s
}

// cleanText makes CRLF and CR to LF, and drops control characters, which could
// be commands to a terminal.
func cleanText(s string) []byte {
	out := make([]byte, 0, len(s)+1)
	for i, r := range s {
		switch {
		case r == '\r':
			if i+1 == len(s) || s[i+1] != '\n' {
				out = append(out, '\n')
			}
		case r == '\n' || r == '\t' || r == '\f':
			out = append(out, byte(r))
		case r < 0x20 || r >= 0x7f && unicode.IsControl(r):
		case r < 0x80:
			out = append(out, byte(r))
		default:
			out = append(out, string(r)...)
		}
	}
	return out
}
