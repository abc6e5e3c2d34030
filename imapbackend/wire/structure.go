package wire

import (
	"strconv"
	"strings"

	"imapfs/mail"
)

// deepest is how deep a tree is looked into. Servers count levels as deep as they
// like; a tree deeper than any real mail is cut to a leaf.
const deepest = 100

// structure turns a BODYSTRUCTURE (RFC 9051 §7.5.2) into a tree of parts, nil if
// it cannot be read without guessing.
func structure(v value) *mail.Part { return part(v, "", 0) }

func part(v value, section string, depth int) *mail.Part {
	if v.kind != isList || len(v.list) == 0 {
		return nil
	}
	if v.list[0].kind == isList {
		return multipart(v.list, section, depth)
	}
	if section == "" {
		section = "1"
	}
	fields := v.list
	if len(fields) < 7 {
		return nil
	}
	typ, params, id, encoding := fields[0], fields[2], fields[3], fields[5]
	size, err := strconv.ParseInt(fields[6].text, 10, 64)
	if typ.kind == isList || fields[1].kind == isList || id.kind == isList || params.kind == isWord || fields[4].kind == isList || encoding.kind == isList || isNumber(encoding) ||
		fields[6].kind != isWord || err != nil || size < 0 {
		return nil
	}
	mediaType := typ.text + "/" + fields[1].text
	more := fields[7:]
	switch {
	case strings.EqualFold(typ.text, "text"):
		if len(more) > 0 && isNumber(more[0]) { // lines
			more = more[1:]
		}
	case strings.EqualFold(typ.text, "message"):
		if len(more) > 2 && more[0].kind == isList { // envelope, structure, lines
			more = more[3:]
		}
	}
	var disposition, dispParams value
	if len(more) > 1 { // behind the MD5
		if disposition = more[1]; disposition.kind == isList {
			list := append(disposition.list, value{}, value{})
			disposition, dispParams = list[0], list[1]
		} else if disposition.kind != isString {
			disposition = value{}
		}
	}
	p := mail.NewPart(section, mediaType, parameters(params), disposition.text, parameters(dispParams), id.text, encoding.text, size)
	// Without an encoding text may be as it is; anything else is mostly encoded.
	isText := strings.HasPrefix(p.Type, "text/") || p.Type == "message/rfc822"
	p.Unsure = !mail.IsEncoding(encoding.text) && (encoding.text != "" || !isText)
	return p
}

func isNumber(v value) bool {
	_, err := strconv.ParseUint(v.text, 10, 64)
	return v.kind == isWord && err == nil
}

func multipart(fields []value, section string, depth int) *mail.Part {
	n := 0
	for n < len(fields) && fields[n].kind == isList {
		n++
	}
	if n == len(fields) || fields[n].kind == isWord {
		return nil // the subtype is missing
	}
	root := &mail.Part{Section: section, Type: "multipart/" + strings.ToLower(fields[n].text), Encoding: "7bit"}
	if n+1 < len(fields) {
		root.Params = mail.DecodeParams(parameters(fields[n+1]))
	}
	if depth == deepest {
		return root
	}
	for i, child := range fields[:n] {
		number := strconv.Itoa(i + 1)
		if section != "" {
			number = section + "." + number
		}
		p := part(child, number, depth+1)
		if p == nil {
			return nil
		}
		root.Children = append(root.Children, p)
		root.Unsure, p.Unsure = root.Unsure || p.Unsure, false
	}
	return root
}

// parameters reads a list of names and values. NIL and an empty list are none.
func parameters(v value) map[string]string {
	if len(v.list) < 2 {
		return nil
	}
	m := make(map[string]string, len(v.list)/2)
	for i := 0; i+1 < len(v.list); i += 2 {
		name := strings.ToLower(v.list[i].text)
		if _, twice := m[name]; !twice {
			m[name] = v.list[i+1].text
		}
	}
	return m
}
