package mail

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
)

// choice says what becomes of each leaf of a message: shown ones make up
// body.txt, html is body.html (it may be a shown one too), all others are
// attachments.
type choice struct {
	shown []*Part
	html  *Part
	used  map[*Part]bool // the shown ones and html
}

// Text returns the leaves whose text makes up body.txt, in order.
func (root *Part) Text() []*Part { return root.choose().shown }

// HTML returns the leaf shown as body.html: the first HTML that is the body or
// the alternative of the body; nil if there is none.
func (root *Part) HTML() *Part { return root.choose().html }

// choose picks what a mail reader displays.
func (root *Part) choose() choice {
	leaves := root.Leaves()
	if len(leaves) == 0 {
		return choice{}
	}
	var s choice
	var others []*Part
	if root.IsMultipart() {
		s.shown, others = (&chooser{first: leaves[0]}).pick(root)
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
			s.html = p
			break
		}
	}
	for _, p := range others {
		delete(s.used, p)
	}
	for _, p := range s.shown {
		s.used[p] = true
	}
	if s.html != nil {
		s.used[s.html] = true
	}
	return s
}

type chooser struct {
	first *Part // the very first leaf
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
	for i, child := range p.Children {
		var o []*Part
		picked[i], o = c.pick(child)
		others = append(others, o...)
		hasPlain := slices.ContainsFunc(picked[i], func(q *Part) bool { return q.Type != "text/html" })
		if len(picked[i]) > 0 && (best < 0 || hasPlain && !plain) {
			best, plain = i, hasPlain
		}
	}
	var instead []*Part // the HTML of the first child that has any
	for i, list := range picked {
		if i == best {
			shown = list
			continue
		}
		var html []*Part
		for _, q := range list {
			if q.Type == "text/html" {
				html = append(html, q)
			}
		}
		others = append(others, html...)
		if instead == nil {
			instead = html
		}
	}
	if plain && !slices.ContainsFunc(shown, func(q *Part) bool { return q.Size > blankSize }) {
		shown = slices.Concat(shown, instead)
	}
	return shown, others
}

func trimID(id string) string { return strings.Trim(id, "<> \t\r\n") }

// displayable says whether a leaf inside a multipart is for reading, and not a
// file. Some programs give the body a name too.
func (c *chooser) displayable(p *Part) bool {
	if p.Type != "text/plain" && p.Type != "text/html" || p.Disposition == "attachment" {
		return false
	}
	return p.Filename == "" || p == c.first
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
		var s []byte
		if p.Type == "text/html" {
			s = cleanText(htmlText(htmlString(p, text)))
		} else {
			s = cleanText(decodeCharset(p.Params["charset"], text))
		}
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
