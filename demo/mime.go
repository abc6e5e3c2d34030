package demo

import (
	"bytes"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// part is one node of a message's MIME tree. Its slices point into the bytes of
// the message.
type part struct {
	header []byte // with the empty line that ends it
	body   []byte // without the boundaries around it

	mediaType string // such as "text/plain", as written
	params    map[string]string
	children  []*part // of a multipart
	message   *part   // inside a message/rfc822
}

// maxDepth ends the descent into parts within parts. No honest message comes
// near it.
const maxDepth = 50

// parsePart parses a message or a body part. It fails on nothing: what cannot
// be understood is text. defaultType is the type of a part that names none.
func parsePart(raw []byte, defaultType string) *part { return parseDepth(raw, defaultType, 0) }

func parseDepth(raw []byte, defaultType string, depth int) *part {
	p := &part{}
	p.header, p.body = splitHeader(raw)
	p.mediaType, p.params = parseParams(fieldValue(p.header, "Content-Type"))
	if major, minor, ok := strings.Cut(p.mediaType, "/"); !ok || major == "" || minor == "" {
		p.mediaType, p.params = defaultType, nil // RFC 2045 §5.2
	}
	if depth == maxDepth {
		p.mediaType, p.params = "application/octet-stream", nil
		return p
	}
	switch {
	case p.isMultipart():
		childType := "text/plain"
		if strings.EqualFold(p.mediaType, "multipart/digest") {
			childType = "message/rfc822" // RFC 2046 §5.1.5
		}
		for _, raw := range splitMultipart(p.body, p.params["boundary"]) {
			p.children = append(p.children, parseDepth(raw, childType, depth+1))
		}
		if len(p.children) == 0 {
			// BODYSTRUCTURE cannot say "no parts". Like Dovecot, say that there
			// is an empty one.
			p.children = []*part{{mediaType: "text/plain"}}
		}
	case p.isMessage():
		p.message = parseDepth(p.body, "text/plain", depth+1)
	}
	return p
}

func (p *part) isMultipart() bool {
	return len(p.mediaType) > 10 && strings.EqualFold(p.mediaType[:10], "multipart/")
}

func (p *part) isMessage() bool {
	return strings.EqualFold(p.mediaType, "message/rfc822") || strings.EqualFold(p.mediaType, "message/global")
}

// splitHeader cuts after the first empty line. Without one, all is header.
func splitHeader(raw []byte) (header, body []byte) {
	if bytes.HasPrefix(raw, []byte("\r\n")) {
		return raw[:2], raw[2:]
	}
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		return raw[:i+4], raw[i+4:]
	}
	return raw, nil
}

// splitMultipart returns what is between the boundaries (RFC 2046 §5.1.1). The
// last part may lack the boundary after it.
func splitMultipart(body []byte, boundary string) [][]byte {
	if boundary == "" {
		return nil
	}
	delimiter := []byte("--" + boundary)
	var parts [][]byte
	start := -1 // where the open part begins
	for pos := 0; pos < len(body); {
		line, next := body[pos:], len(body)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i+1], pos+i+1
		}
		if rest, ok := bytes.CutPrefix(line, delimiter); ok {
			last := bytes.HasPrefix(rest, []byte("--"))
			if last || len(bytes.TrimSpace(rest)) == 0 {
				if start >= 0 {
					// The line end before a boundary belongs to the boundary.
					parts = append(parts, bytes.TrimSuffix(body[start:max(start, pos)], []byte("\r\n")))
				}
				if last {
					return parts
				}
				start = next
			}
		}
		pos = next
	}
	if start >= 0 {
		parts = append(parts, body[start:])
	}
	return parts
}

// section returns the bytes of BODY[section] (RFC 9051 §6.4.5.1).
func (msg *message) section(item *imap.FetchItemBodySection) []byte {
	data := msg.wholeSection(item)
	if p := item.Partial; p != nil {
		from := min(p.Offset, int64(len(data)))
		data = data[from:min(from+p.Size, int64(len(data)))]
	}
	return data
}

func (msg *message) wholeSection(item *imap.FetchItemBodySection) []byte {
	p := msg.root().find(item.Part)
	if p == nil {
		return nil
	}
	switch item.Specifier {
	case imap.PartSpecifierMIME:
		return p.header
	case imap.PartSpecifierHeader, imap.PartSpecifierText:
		if len(item.Part) > 0 {
			if p = p.message; p == nil { // only messages have these
				return nil
			}
		}
		if item.Specifier == imap.PartSpecifierText {
			return p.body
		}
		return filterHeader(p.header, item.HeaderFields, item.HeaderFieldsNot)
	}
	if len(item.Part) == 0 {
		return msg.raw
	}
	return p.body
}

// find follows part numbers down the tree. It returns nil where there is none.
func (p *part) find(path []int) *part {
	isMessage := true // whether p stands for a message, whose text is its part 1
	for _, n := range path {
		if !isMessage && p.message != nil {
			p, isMessage = p.message, true
		}
		switch {
		case len(p.children) > 0:
			if n < 1 || n > len(p.children) {
				return nil
			}
			p, isMessage = p.children[n-1], false
		case isMessage && n == 1:
			isMessage = false
		default:
			return nil
		}
	}
	return p
}

// bodyStructure describes the tree below p, in the words of the headers:
// nothing in them is decoded (RFC 9051 §7.5.2).
func (p *part) bodyStructure() imap.BodyStructure {
	major, minor, _ := strings.Cut(p.mediaType, "/")
	disposition := p.disposition()
	var language []string
	if v := fieldValue(p.header, "Content-Language"); v != "" {
		for lang := range strings.SplitSeq(v, ",") {
			language = append(language, strings.TrimSpace(lang))
		}
	}
	location := fieldValue(p.header, "Content-Location")

	if len(p.children) > 0 {
		bs := &imap.BodyStructureMultiPart{
			Subtype: minor,
			Extended: &imap.BodyStructureMultiPartExt{
				Params: p.params, Disposition: disposition, Language: language, Location: location,
			},
		}
		for _, child := range p.children {
			bs.Children = append(bs.Children, child.bodyStructure())
		}
		return bs
	}
	bs := &imap.BodyStructureSinglePart{
		Type:        major,
		Subtype:     minor,
		Params:      p.params,
		ID:          fieldValue(p.header, "Content-Id"),
		Description: fieldValue(p.header, "Content-Description"),
		Encoding:    fieldValue(p.header, "Content-Transfer-Encoding"),
		Size:        uint32(len(p.body)),
		Extended: &imap.BodyStructureSinglePartExt{
			Disposition: disposition, Language: language, Location: location,
		},
	}
	lines := int64(bytes.Count(p.body, []byte("\n")))
	switch {
	case p.message != nil:
		bs.MessageRFC822 = &imap.BodyStructureMessageRFC822{
			Envelope:      envelope(p.message.header),
			BodyStructure: p.message.bodyStructure(),
			NumLines:      lines,
		}
	case strings.EqualFold(major, "text"):
		bs.Text = &imap.BodyStructureText{NumLines: lines}
	}
	return bs
}

func (p *part) disposition() *imap.BodyStructureDisposition {
	value, params := parseParams(fieldValue(p.header, "Content-Disposition"))
	if value == "" {
		return nil
	}
	return &imap.BodyStructureDisposition{Value: value, Params: params}
}

// rawField is one header field as it stands.
type rawField struct {
	name string
	raw  []byte // with name, folding and line end
}

// value is what comes after the colon, unfolded.
func (f rawField) value() string {
	_, v, _ := strings.Cut(string(f.raw), ":")
	v = strings.NewReplacer("\r\n", "", "\n", "").Replace(v)
	return strings.Trim(v, " \t")
}

// fields cuts a header into its fields. Lines that belong to none are dropped.
func fields(header []byte) []rawField {
	var list []rawField
	for line := range bytes.Lines(header) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if n := len(list); n > 0 {
				list[n-1].raw = append(list[n-1].raw, line...)
			}
			continue
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); ok {
			// Clipped, so that a fold is put behind a copy, not over the message.
			list = append(list, rawField{string(bytes.TrimRight(name, " \t")), slices.Clip(line)})
		}
	}
	return list
}

// fieldValue returns the first field of that name, "" if there is none.
func fieldValue(header []byte, name string) string {
	for _, f := range fields(header) {
		if strings.EqualFold(f.name, name) {
			return f.value()
		}
	}
	return ""
}

// filterHeader is HEADER.FIELDS and HEADER.FIELDS.NOT.
func filterHeader(header []byte, only, not []string) []byte {
	if len(only)+len(not) == 0 {
		return header
	}
	in := func(list []string, name string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
	}
	var out []byte
	for _, f := range fields(header) {
		if len(only) > 0 && !in(only, f.name) || in(not, f.name) {
			continue
		}
		out = append(out, f.raw...)
	}
	return append(out, "\r\n"...)
}

// parseParams reads a value with parameters, such as `text/plain; charset=x`.
// It does not mind what is missing or too much, as mail is full of both.
func parseParams(s string) (value string, params map[string]string) {
	value, s = cutToken(s)
	for s != "" {
		var item string
		item, s = cutToken(s)
		k, v, ok := strings.Cut(item, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if !ok || k == "" {
			continue
		}
		if params == nil {
			params = make(map[string]string)
		}
		if _, twice := params[k]; !twice {
			params[k] = unquote(strings.TrimSpace(v))
		}
	}
	return value, params
}

// cutToken cuts s at the first semicolon outside of quotes.
func cutToken(s string) (token, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ';' && !quoted:
			return strings.TrimSpace(s[:i]), s[i+1:]
		}
	}
	return strings.TrimSpace(s), ""
}

// unquote returns what a quoted string stands for.
func unquote(s string) string {
	if len(s) == 0 || s[0] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
