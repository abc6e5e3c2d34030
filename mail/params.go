package mail

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fieldScanner reads the structured fields of MIME headers the way servers do:
// it takes what can be read and goes on at the next parameter, where
// mime.ParseMediaType would refuse the whole field. Comments count as white
// space (RFC 5322 §3.2.2).
type fieldScanner struct {
	s   string
	pos int
}

func (f *fieldScanner) done() bool { return f.pos >= len(f.s) }

// skip passes over white space and comments. It returns false at the end and
// at a comment that does not end.
func (f *fieldScanner) skip() bool {
	for !f.done() {
		switch f.s[f.pos] {
		case ' ', '\t', '\r', '\n':
			f.pos++
		case '(':
			if !f.comment() {
				return false
			}
		default:
			return true
		}
	}
	return false
}

func (f *fieldScanner) comment() bool {
	for level := 0; !f.done(); f.pos++ {
		switch f.s[f.pos] {
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				f.pos++
				return true
			}
		case '\\':
			f.pos++
		}
	}
	f.pos = len(f.s)
	return false
}

// token reads a MIME token (RFC 2045 §5.1), which may be empty, and what
// separates it from the next one. Bytes above ASCII count as letters.
func (f *fieldScanner) token() string {
	start := f.pos
	for !f.done() && isTokenByte(f.s[f.pos]) {
		f.pos++
	}
	t := f.s[start:f.pos]
	f.skip()
	return t
}

func isTokenByte(c byte) bool {
	return c > ' ' && c != 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(c))
}

// quoted reads a quoted string (RFC 5322 §3.2.4) whose opening quote is next.
// It returns false when the closing one is missing.
func (f *fieldScanner) quoted() (string, bool) {
	var b strings.Builder
	for f.pos++; !f.done(); f.pos++ {
		switch c := f.s[f.pos]; c {
		case '"':
			f.pos++
			f.skip()
			return b.String(), true
		case '\r', '\n':
			// A fold: its line end goes, the white space after it stays.
		case '\\':
			if f.pos++; f.done() {
				return b.String(), false
			}
			b.WriteByte(f.s[f.pos])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), false
}

// parameter reads one "; name=value" (RFC 2045 §5.1). ok is false when there
// was none here. Some programs write several semicolons, or none.
func (f *fieldScanner) parameter() (name, value string, ok bool) {
	for !f.done() && f.s[f.pos] == ';' {
		f.pos++
		if !f.skip() {
			return "", "", false
		}
	}
	name = f.token()
	if f.done() || f.s[f.pos] != '=' {
		return "", "", false
	}
	f.pos++
	if !f.skip() {
		return name, "", true
	}
	switch f.s[f.pos] {
	case '"':
		start := f.pos
		if value, ok = f.quoted(); !ok { // it goes to the end of the line then, or to the next parameter
			value = f.s[start+1:]
			if i := strings.IndexAny(value, ";\r\n"); i >= 0 {
				value = value[:i]
			}
			f.pos = start + 1 + len(value)
			value = strings.TrimSpace(value)
		}
		return name, value, true
	case '=':
		// An RFC 2047 word where a token should be: name==?utf-8?q?...?=
		start := f.pos
		for !f.done() && !strings.ContainsRune("; \t\r\n", rune(f.s[f.pos])) {
			f.pos++
		}
		return name, f.s[start:f.pos], true
	}
	start := f.pos
	value = f.token()
	if name := strings.ToLower(name); name == "filename" || name == "name" {
		// With spaces, and without the quotes that it needs then.
		if end := strings.IndexByte(f.s[start:], ';'); end >= 0 {
			f.pos = start + end
		} else {
			f.pos = len(f.s)
		}
		if whole := f.s[start:f.pos]; !strings.ContainsAny(whole, "(\"") {
			value = strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(whole))
		}
	}
	return name, value, true
}

// parameters reads all parameters up to the end of the field; the first of
// equal names counts.
func (f *fieldScanner) parameters() map[string]string {
	var m map[string]string
	for !f.done() {
		at := f.pos
		name, value, ok := f.parameter()
		if !ok {
			if f.pos == at {
				f.pos++
			}
			continue
		}
		name = strings.ToLower(name)
		if _, dup := m[name]; dup || name == "" {
			continue
		}
		if m == nil {
			m = make(map[string]string)
		}
		m[name] = value
	}
	return m
}

// parseContentType splits a Content-Type value. Where it is broken, typ is what
// could be read.
func parseContentType(value string) (typ string, params map[string]string) {
	f := &fieldScanner{s: value}
	f.skip()
	typ = strings.ToLower(f.token())
	if f.done() || f.s[f.pos] != '/' {
		return typ, f.parameters()
	}
	f.pos++
	if !f.skip() {
		return typ, nil
	}
	typ += "/" + strings.ToLower(f.token())
	return typ, f.parameters()
}

// plainType completes a Content-Type of which a half is missing: as RFC 2045
// §5.2 has it, what is not valid is text/plain; but what claims to be something
// else is hardly text.
func plainType(typ string) string {
	major, minor, _ := strings.Cut(strings.ToLower(typ), "/")
	switch {
	case major != "" && minor != "":
		return major + "/" + minor
	case major == "" || major == "text":
		return "text/plain"
	}
	return "application/octet-stream"
}

// parseDisposition splits a Content-Disposition value (RFC 2183).
func parseDisposition(value string) (disposition string, params map[string]string) {
	f := &fieldScanner{s: value}
	f.skip()
	disposition = strings.ToLower(f.token())
	return disposition, f.parameters()
}

// parseEncoding reads a Content-Transfer-Encoding value (RFC 2045 §6.1): one token, which some
// programs put into quotes, or write something behind.
func parseEncoding(value string) string {
	f := &fieldScanner{s: value}
	f.skip()
	if !f.done() && f.s[f.pos] == '"' {
		t, _ := f.quoted()
		return strings.ToLower(strings.TrimSpace(t))
	}
	return strings.ToLower(f.token())
}

// DecodeParams undoes the two ways to write a parameter that is not plain
// ASCII: RFC 2231 (name*=utf-8”%e2%82%ac, in pieces name*0*, name*1) and,
// though not allowed there, RFC 2047 words. Names become lower case. Servers
// differ in how much of this they have done already.
func DecodeParams(raw map[string]string) map[string]string {
	if len(raw) == 0 {
		return nil
	}
	m := make(map[string]string, len(raw))
	pieces := make(map[string][]paramPiece)
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		name := strings.ToLower(key)
		if base, p, ok := pieceOf(name, raw[key]); ok {
			pieces[base] = append(pieces[base], p)
		} else {
			m[name] = decodeWords(raw[key], "")
		}
	}
	for base, ps := range pieces {
		m[base] = joinPieces(ps)
	}
	return m
}

// paramPiece is a piece of a parameter: name*1*=value (RFC 2231 §3).
type paramPiece struct {
	n       int
	encoded bool
	value   string
}

// pieceOf reads the name of a piece; base is that of the parameter.
func pieceOf(name, value string) (base string, p paramPiece, ok bool) {
	base, rest, star := strings.Cut(name, "*")
	p = paramPiece{value: value, encoded: rest == "" || strings.HasSuffix(rest, "*")}
	if number := strings.TrimSuffix(rest, "*"); number != "" {
		var err error
		if p.n, err = strconv.Atoi(number); err != nil || p.n < 0 {
			return "", p, false
		}
	}
	return base, p, star
}

// joinPieces puts a parameter together.
func joinPieces(ps []paramPiece) string {
	slices.SortStableFunc(ps, func(a, b paramPiece) int { return a.n - b.n })
	var text []byte
	charset, encoded := "", false
	for i, p := range ps {
		if !p.encoded {
			text = append(text, p.value...)
			continue
		}
		encoded = true
		// charset'language'text (RFC 2231 §4)
		if parts := strings.SplitN(p.value, "'", 3); i == 0 && len(parts) == 3 {
			charset, p.value = parts[0], parts[2]
		}
		text = append(text, percentDecode(p.value)...)
	}
	if encoded {
		return decodeCharset(charset, text)
	}
	// Pieces without a charset: some programs cut up a 2047 word.
	return decodeWords(string(text), "")
}

func percentDecode(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return b
}
