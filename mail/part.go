package mail

import (
	"cmp"
	"slices"
	"strings"
)

// Part is one node of a message's MIME tree. A tree comes from Parse, or from
// a server's BODYSTRUCTURE (RFC 9051 §7.5.2); both give the same one.
type Part struct {
	Section     string            // IMAP section number "1", "2.1" (RFC 9051 §6.4.5); "" only for a multipart root
	Type        string            // "text/plain", lower case
	Params      map[string]string // Content-Type parameters, lower-case names, decoded; may be nil
	ContentID   string            // Content-ID with its angle brackets, "" for none (RFC 2392)
	Disposition string            // "attachment", "inline" or "" (RFC 2183), lower case
	Filename    string            // decoded name of Content-Disposition, else Content-Type; raw, not yet safe
	Encoding    string            // Content-Transfer-Encoding, lower case; "7bit" if there is none
	Size        int64             // octets of the encoded body
	Children    []*Part           // of a multipart; message/rfc822 is a leaf
	Unsure      bool              // of a root: the server's word, against which something speaks

	// Where Parse found the body in the raw message.
	start, end int
}

// Charset returns that of the message's text, "" if it does not say.
func (root *Part) Charset() string {
	for _, p := range root.Leaves() {
		if charset := p.Params["charset"]; strings.HasPrefix(p.Type, "text/") && charset != "" {
			return charset
		}
	}
	return ""
}

// IsMultipart says whether the part has parts instead of a content of its own.
func (p *Part) IsMultipart() bool { return len(p.Children) > 0 }

// Find returns the part with this section number, or nil. The root of a
// message that is not a multipart has number "1".
func (root *Part) Find(section string) *Part {
	if root == nil || root.Section == section {
		return root
	}
	for _, c := range root.Children {
		if section == c.Section || strings.HasPrefix(section, c.Section+".") {
			return c.Find(section)
		}
	}
	return nil
}

// Bytes returns the encoded body of a section, as the server gives it for
// BODY[section] (RFC 9051 §6.4.5); the empty section is the whole message. It
// returns false if there is no such section. root must come from Parse(raw).
func (root *Part) Bytes(raw []byte, section string) ([]byte, bool) {
	if section == "" {
		return raw, true
	}
	p := root.Find(section)
	if p == nil || p.start > p.end || p.end > len(raw) {
		return nil, false
	}
	return raw[p.start:p.end:p.end], true
}

// Range returns where the part's body is in the message that it was parsed
// from: the offsets of its first byte and of the one behind it.
func (p *Part) Range() (from, to int, ok bool) { return p.start, p.end, p.start <= p.end && p.end > 0 }

// Leaves returns the leaves of the tree in order.
func (root *Part) Leaves() []*Part {
	if root == nil {
		return nil
	}
	if !root.IsMultipart() {
		return []*Part{root}
	}
	var all []*Part
	for _, c := range root.Children {
		all = append(all, c.Leaves()...)
	}
	return all
}

// setFilename fills in Filename from the parameters of the two header fields
// that can hold one (RFC 2183 §2.3; the name of Content-Type is older, and some programs confuse
// them).
func (p *Part) setFilename(disposition map[string]string) {
	p.Filename = cmp.Or(disposition["filename"], p.Params["name"], disposition["name"], p.Params["filename"])
}

// IsDoubtful tells whether a tree that a server tells may be another one than
// Parse finds. header is the raw Content-* and MIME-Version fields of the message:
// a server that reads these in another way takes the whole message for something
// else. Further signs are a multipart without parts, or with one that is empty, boundaries of which one begins
// like the other, which many readers confuse, a name without an extension, and an attached message that is all
// there is: in that, servers do not agree on what the first part is.
func (root *Part) IsDoubtful(header []byte) bool {
	mine := Parse(header)
	if mine.IsMultipart() != root.IsMultipart() || mine.Type != root.Type {
		return true
	}
	if root.IsMultipart() {
		return mine.Params["boundary"] != root.Params["boundary"] || root.isConfused(nil)
	}
	return root.Type == "message/rfc822" || mine.Filename != root.Filename || mine.Disposition != root.Disposition ||
		mine.ContentID != root.ContentID ||
		// What is not told is not the same on all servers, but means the same.
		plainEncoding(mine.Encoding) != plainEncoding(root.Encoding) || !strings.EqualFold(mine.charset(), root.charset())
}

// mostDoubted bounds the attachments that are loaded to find out how they are called, in bytes.
const mostDoubted = 1 << 20

// isCutShort tells whether the name of a part may go on: of one with spaces and without
// quotes servers tell the first word only.
func (p *Part) isCutShort() bool {
	return p.Filename != "" && !strings.Contains(p.Filename, ".") && p.Size < mostDoubted
}

// isConfused tells whether a server may have taken the boundary of one multipart
// for that of another. around has those of the multiparts around this one.
func (p *Part) isConfused(around []string) bool {
	if !p.IsMultipart() {
		return strings.HasPrefix(p.Type, "multipart/") || p.isCutShort()
	}
	boundary := p.Params["boundary"]
	if c := p.Children[0]; len(p.Children) == 1 && c.Type == "text/plain" && c.Size == 0 {
		return true // no part begins, which Parse reads as text
	}
	for _, other := range around {
		if strings.HasPrefix(boundary, other) || strings.HasPrefix(other, boundary) {
			return true
		}
	}
	around = append(around, boundary)
	for _, c := range p.Children {
		if c.isConfused(around) {
			return true
		}
	}
	return false
}

// IsEncoding tells whether a Content-Transfer-Encoding is a known one (RFC 2045 §6).
func IsEncoding(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue":
		return true
	}
	return false
}

// plainEncoding has one name for those that change nothing (RFC 2045 §6.2).
func plainEncoding(encoding string) string {
	switch encoding {
	case "8bit", "binary":
		return "7bit"
	}
	return encoding
}

// charset is that of the Content-Type, or the default (RFC 2045 §5.2).
func (p *Part) charset() string {
	if c := p.Params["charset"]; c != "" {
		return c
	}
	return "us-ascii"
}

// Same tells whether two trees have the same parts with the same names.
func (root *Part) Same(other *Part) bool {
	return root.Section == other.Section && root.Type == other.Type && root.Encoding == other.Encoding &&
		root.Filename == other.Filename && root.Disposition == other.Disposition && slices.EqualFunc(root.Children, other.Children, (*Part).Same)
}

// NewPart makes a leaf from what BODYSTRUCTURE tells of it (RFC 9051 §7.5.2),
// with the same reading of parameters as Parse. typ is "type/subtype";
// params and dispParams are as the server sent them.
func NewPart(section, typ string, params map[string]string, disposition string, dispParams map[string]string, contentID, encoding string, size int64) *Part {
	p := &Part{
		Section:     section,
		Type:        plainType(typ),
		Params:      DecodeParams(params),
		ContentID:   strings.TrimSpace(contentID),
		Disposition: strings.ToLower(disposition),
		Encoding:    strings.ToLower(encoding),
		Size:        size,
	}
	if p.Encoding == "" {
		p.Encoding = "7bit"
	}
	p.setFilename(DecodeParams(dispParams))
	return p
}
