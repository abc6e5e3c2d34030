package mail

import (
	"bytes"
	"strconv"
	"strings"
)

// Bounds for hostile messages. Dovecot has the same ones.
const (
	maxDepth = 100   // multiparts and messages inside one another
	maxParts = 10000 // in one message
	// maxBoundary is longer than the 70 characters of RFC 2046 §5.1.1; what a
	// boundary has beyond this does not count.
	maxBoundary = 80
)

// Parse finds the MIME tree of a message (RFC 2045, RFC 2046). It never fails:
// what is not MIME is text/plain. Where a message breaks the rules the tree is
// the one Dovecot reports, so that it does not matter whether the tree came
// from a server or from the bytes, but where that would hide what other programs
// show (Part.IsDoubtful knows when). In particular:
//   - A header ends with an empty line, the end, or the boundary of a part
//     around it; that of a part ends with a line that is no field too.
//   - Content-* fields count if there is a Content-Type or MIME-Version field,
//     the first one of each name (a Content-Disposition without parameters
//     gives way to a later one).
//   - A boundary line needs only to begin with the boundary; the longest
//     boundary that fits wins, then the innermost. It ends all parts inside
//     that multipart, also those whose own last boundary is missing. So
//     attached messages are parsed as well, although they are leaves.
//   - A multipart in which no part begins, or that has no boundary parameter,
//     has one text/plain part, which is all of it.
//
// Sizes are those of the raw bytes: a server counts line ends as CRLF.
func Parse(raw []byte) *Part {
	p := &parser{raw: raw}
	p.root = &node{}
	p.run()
	root := p.root.part("", 0)
	if !root.IsMultipart() {
		root.Section = "1"
	}
	return root
}

// node is a part while it is being parsed. Unlike a Part, an attached message
// has its parts here.
type node struct {
	parent   *node
	children []*node
	digest   bool // multipart/digest: its parts are messages by default
	message  bool // message/rfc822
	multi    bool
	mime     bool // Content-* fields count

	header      partHeader
	bodyAt, end int // of the body
	textEnd     int // where the text of a multipart without parts ends; 0: with the body
	floor       int // where the text after the header or the last boundary begins
}

// partHeader holds the fields of a part's header that matter here, each the
// first of its name; nil means there was none.
type partHeader struct {
	contentType, encoding, disposition, id *string
}

// boundary is a multipart whose parts are being read.
type boundary struct {
	text []byte
	node *node
}

type parser struct {
	raw   []byte
	pos   int
	root  *node
	cur   *node
	open  []boundary // innermost last
	parts int
}

func (p *parser) run() {
	p.cur = p.root
	p.parts = 1
	p.headers()
	for p.pos < len(p.raw) {
		lineStart := p.pos
		line, next := p.line()
		if b, last := p.match(line); b >= 0 {
			// The line end before a boundary belongs to the boundary.
			p.close(b, p.newlineBefore(lineStart), last)
			p.pos = next
			p.cur.floor = next
			if !last && next > lineStart && p.raw[next-1] == '\n' {
				p.begin()
			}
			continue
		}
		p.pos = next
	}
	for n := p.cur; n != nil; n = n.parent {
		n.end = len(p.raw)
	}
}

// line returns the line at the position, without its line end, and where the
// next one begins.
func (p *parser) line() (line []byte, next int) {
	rest := p.raw[p.pos:]
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		return rest, len(p.raw)
	}
	next = p.pos + i + 1
	if i > 0 && rest[i-1] == '\r' {
		i--
	}
	return rest[:i], next
}

// newlineBefore returns the offset of the line end before off, but not one
// that belongs to the header of the current part or to its last boundary.
func (p *parser) newlineBefore(off int) int {
	if off > p.cur.floor && p.raw[off-1] == '\n' {
		off--
		if off > p.cur.floor && p.raw[off-1] == '\r' {
			off--
		}
	}
	return off
}

// match finds the open multipart that a line belongs to, if it is a boundary
// line (RFC 2046 §5.1.1). It returns -1 if there is none; last says that it
// ends the multipart.
func (p *parser) match(line []byte) (best int, last bool) {
	best = -1
	if len(p.open) == 0 || !bytes.HasPrefix(line, []byte("--")) || p.parts >= maxParts {
		return -1, false
	}
	line = line[2:]
	short := line
	if len(short) > maxBoundary {
		short = short[:maxBoundary]
	}
	for i := len(p.open) - 1; i >= 0; i-- {
		text := p.open[i].text
		if !bytes.HasPrefix(short, text) || best >= 0 && len(p.open[best].text) >= len(text) {
			continue
		}
		best = i
		// "x--" can be the end of "x" or a part of "x--": the innermost
		// multipart it fits exactly has it.
		if len(text) == len(short) || len(text) == len(short)-2 && bytes.HasSuffix(line, []byte("--")) {
			break
		}
	}
	return best, best >= 0 && bytes.HasPrefix(line[len(p.open[best].text):], []byte("--"))
}

// close ends all parts inside open multipart b at offset end, and the list of
// its parts if this is its last boundary.
func (p *parser) close(b, end int, last bool) {
	owner := p.open[b].node
	for p.cur != owner {
		p.cur.end = max(end, p.cur.bodyAt)
		p.cur = p.cur.parent
	}
	if last {
		p.open = p.open[:b]
		if len(owner.children) == 0 {
			owner.textEnd = max(end, owner.bodyAt)
		}
	} else {
		p.open = p.open[:b+1]
	}
}

// begin starts a part of the current multipart or message, and reads its
// header.
func (p *parser) begin() {
	n := &node{parent: p.cur, mime: p.cur.multi}
	p.cur.children = append(p.cur.children, n)
	p.cur = n
	p.parts++
	p.headers()
}

// headers reads the header of the current part, and of the message inside, if
// it is one.
func (p *parser) headers() {
	n := p.cur
	stopped := p.readHeader(n)
	n.bodyAt, n.end, n.floor = p.pos, p.pos, p.pos

	h := &n.header
	if !n.mime {
		*h = partHeader{}
	}
	depth := 0
	for up := n.parent; up != nil; up = up.parent {
		depth++
	}
	var typ string
	var params map[string]string
	if h.contentType != nil {
		typ, params = parseContentType(*h.contentType)
	}
	switch {
	case h.contentType == nil:
		n.message = n.parent != nil && n.parent.digest
	case typ == "message/rfc822":
		n.message = true
	case strings.HasPrefix(typ, "multipart/") && depth < maxDepth-1:
		n.multi = true
		n.digest = typ == "multipart/digest"
		if text, ok := boundaryParam(params); ok && !stopped {
			p.open = append(p.open, boundary{[]byte(text[:min(len(text), maxBoundary)]), n})
		}
	}
	if n.message && !stopped && depth < maxDepth-1 {
		p.begin()
	}
}

// boundaryParam returns the boundary, also one that is written in pieces or encoded (RFC 2231
// §3, §4).
func boundaryParam(params map[string]string) (text string, ok bool) {
	if text, ok = params["boundary"]; !ok {
		text, ok = DecodeParams(params)["boundary"]
	}
	return text, ok && text != ""
}

// readHeader reads the header lines at the position into n and passes the
// empty line behind them. It returns true when a boundary line of a part
// around this one ended the header; the position is then before that line.
func (p *parser) readHeader(n *node) (stopped bool) {
	var name string
	var value []byte
	field := func() {
		n.header.set(n, name, value)
		name, value = "", nil
	}
	for first := true; p.pos < len(p.raw); first = false {
		at := p.pos
		line, next := p.line()
		if len(line) == 0 {
			field()
			p.pos = next
			return false
		}
		if b, _ := p.match(line); b >= 0 {
			field()
			return true
		}
		p.pos = next
		if !first && (line[0] == ' ' || line[0] == '\t') {
			if name != "" {
				value = append(value, '\n')
				value = append(value, p.raw[at:at+len(line)]...)
			}
			continue
		}
		field()
		before, after, ok := bytes.Cut(line, []byte(":"))
		if name := bytes.TrimRight(before, " \t"); n.parent != nil && (!ok || !isFieldName(name)) && !(first && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))) {
			// The empty line is missing: this is the text.
			p.pos = at
			return false
		}
		if ok && isContentField(before) {
			name = strings.ToLower(string(bytes.TrimRight(before, " \t")))
			value = append([]byte(nil), after...)
		}
	}
	field()
	return false
}

// isContentField is a quick look for the fields that set reads.
func isContentField(name []byte) bool {
	return len(name) >= 10 && (name[0]|0x20 == 'c' || name[0]|0x20 == 'm')
}

func (h *partHeader) set(n *node, name string, value []byte) {
	var f **string
	switch name {
	case "mime-version":
		n.mime = true
		return
	case "content-type":
		n.mime = true
		f = &h.contentType
	case "content-transfer-encoding":
		f = &h.encoding
	case "content-disposition":
		f = &h.disposition
	case "content-id":
		f = &h.id
	default:
		return
	}
	if *f == nil || f == &h.disposition && !strings.Contains(**f, "=") {
		v := string(value)
		*f = &v
	}
}

// part turns the node into a Part with this section number, and its children
// too. depth counts the multiparts around it.
func (n *node) part(section string, depth int) *Part {
	p := &Part{Section: section, Type: "text/plain", Encoding: "7bit", start: n.bodyAt, end: n.end}
	p.Size = int64(p.end - p.start)
	h := &n.header
	switch {
	case h.contentType != nil:
		typ, params := parseContentType(*h.contentType)
		p.Type = plainType(typ)
		if strings.HasPrefix(p.Type, "multipart/") && !n.multi {
			p.Type = "application/octet-stream" // too deep to look into
		}
		p.Params = DecodeParams(params)
	case n.message:
		p.Type = "message/rfc822"
	}
	if h.encoding != nil {
		if e := parseEncoding(*h.encoding); e != "" {
			p.Encoding = e
		}
	}
	if h.id != nil {
		p.ContentID = strings.TrimSpace(*h.id)
	}
	var disp map[string]string
	if h.disposition != nil {
		p.Disposition, disp = parseDisposition(*h.disposition)
	}
	p.setFilename(DecodeParams(disp))
	if !n.multi {
		return p
	}
	prefix := section
	if prefix != "" {
		prefix += "."
	}
	for i, c := range n.children {
		p.Children = append(p.Children, c.part(prefix+strconv.Itoa(i+1), depth+1))
	}
	if len(p.Children) == 0 {
		// No part begins, so that all of it is text as it stands.
		end := n.end
		if n.textEnd > 0 {
			end = n.textEnd
		}
		p.Children = []*Part{{Section: prefix + "1", Type: "text/plain", Encoding: "7bit", Size: int64(end - n.bodyAt), start: n.bodyAt, end: end}}
	}
	return p
}
