package mail

import (
	"bytes"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SplitHeader returns the header of a message with the empty line that ends
// it, as the server gives it for BODY[HEADER] (RFC 9051 §6.4.5). Without an
// empty line all of it is header.
func SplitHeader(raw []byte) (header []byte) {
	for pos := 0; pos < len(raw); {
		i := bytes.IndexByte(raw[pos:], '\n')
		if i < 0 {
			break
		}
		end := pos + i + 1
		if i == 0 || i == 1 && raw[pos] == '\r' {
			return raw[:end:end]
		}
		pos = end
	}
	return raw
}

// MessageID returns the Message-ID in a header (RFC 5322 §3.6.4), "" for none.
func MessageID(header []byte) string {
	for line := range bytes.Lines(HeadersText(header, "")) {
		const name = "message-id:"
		if len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			return string(bytes.TrimSpace(line[len(name):]))
		}
	}
	return ""
}

// HeadersText writes headers.txt: every field in order on a line of its own,
// unfolded (RFC 5322 §2.2.3; a fold becomes one space), with RFC 2047 words
// decoded wherever they stand, as UTF-8 with LF. A line that is not a field,
// such as the "From " line of a mailbox file, stays as it is. Control
// characters become spaces: no field can pretend to be two. Bytes that are neither
// in words nor UTF-8 are in charset if they can be, which is that of the message
// (Part.Charset); else it is guessed.
func HeadersText(header []byte, charset string) []byte {
	var out bytes.Buffer
	for field := range fields(header) {
		writeField(&out, field, charset)
	}
	return out.Bytes()
}

// fields yields the lines of a header, each unfolded (RFC 5322 §2.2.3). One is good until
// the next one.
func fields(header []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var field []byte
		for len(header) > 0 {
			line, rest, _ := bytes.Cut(header, []byte("\n"))
			header = rest
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(line) == 0 {
				break
			}
			if field != nil && (line[0] == ' ' || line[0] == '\t') {
				field = append(bytes.TrimRight(field, " \t"), ' ')
				field = append(field, bytes.TrimLeft(line, " \t")...)
				continue
			}
			if field != nil && !yield(field) {
				return
			}
			field = append([]byte{}, line...)
		}
		if field != nil {
			yield(field)
		}
	}
}

// writeField writes one unfolded field as "Name: value".
func writeField(out *bytes.Buffer, field []byte, charset string) {
	name, value, ok := bytes.Cut(field, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if ok && isFieldName(name) {
		out.Write(name)
		out.WriteByte(':')
		if v := strings.TrimSpace(oneLine(decodeWords(string(value), charset))); v != "" {
			out.WriteByte(' ')
			out.WriteString(v)
		}
	} else {
		out.WriteString(oneLine(decodeRaw(charset, field)))
	}
	out.WriteByte('\n')
}

// isFieldName says whether name is one by RFC 5322 §2.2: printable ASCII.
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(name) > 0
}

// oneLine replaces everything that can end a line or control a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || r == 0x2028 || r == 0x2029) {
			return ' '
		}
		return r
	}, s)
}

// decodeRaw reads text that says nothing of itself, in the charset that it may be in.
func decodeRaw(charset string, text []byte) string {
	if utf8.Valid(text) {
		charset = "" // what is UTF-8 is nothing else by chance
	}
	return decodeCharset(charset, text)
}

// decodeWords decodes the RFC 2047 words in a header value, also where they
// are not allowed (inside quotes, without white space around them). For bytes
// outside of words see decodeRaw. White space
// between two words goes (§6.2). Neighbours of the same charset are decoded
// together, because many programs cut a character in two;
// mime.WordDecoder, which takes each word by itself, would lose it.
func decodeWords(s, raw string) string {
	if isPlain := !strings.Contains(s, "=?"); isPlain || strings.Contains(s, "\x1b$") { // in ISO-2022-JP these can be letters
		if s = decodeRaw(raw, []byte(s)); isPlain {
			return s
		}
	}
	var b strings.Builder
	var charset string // of the words not yet written
	var pending []byte
	inWord := false
	flush := func() {
		if inWord {
			b.WriteString(decodeCharset(charset, pending))
			pending, inWord = nil, false
		}
	}
	var plain []byte // not yet written, and not in a word
	write := func() {
		b.WriteString(decodeRaw(raw, plain))
		plain = plain[:0]
	}
	for s != "" {
		start := strings.Index(s, "=?")
		if start < 0 {
			break
		}
		cs, text, n, ok := encodedWord(s[start:])
		if !ok {
			flush()
			plain = append(plain, s[:start+2]...)
			s = s[start+2:]
			continue
		}
		between := s[:start]
		s = s[start+n:]
		if !inWord || strings.Trim(between, " \t\r\n") != "" {
			flush()
			plain = append(plain, between...)
			write()
		} else if !strings.EqualFold(cs, charset) {
			flush()
		}
		charset, inWord = cs, true
		pending = append(pending, text...)
	}
	flush()
	plain = append(plain, s...)
	write()
	return b.String()
}

// maxWord bounds an RFC 2047 word, in bytes. The RFC allows 75; some programs
// write a whole subject as one. Without a bound, many words that do not end
// would take quadratic time.
const maxWord = 8192

// encodedWord reads the RFC 2047 word at the start of s: its charset, its
// bytes, and its length. It allows white space in the text of a Q word, which
// some programs leave there.
func encodedWord(s string) (charset string, text []byte, n int, ok bool) {
	s = s[:min(len(s), maxWord)]
	cs, rest, ok := strings.Cut(s[2:], "?")
	if !ok || cs == "" || strings.ContainsAny(cs, " \t=") || len(rest) < 2 || rest[1] != '?' {
		return "", nil, 0, false
	}
	enc := rest[0]
	body := rest[2:]
	end := strings.Index(body, "?=")
	if end < 0 {
		return "", nil, 0, false
	}
	n = 2 + len(cs) + 1 + 2 + end + 2
	switch enc {
	case 'b', 'B':
		text = decodeAll("base64", []byte(body[:end]))
	case 'q', 'Q':
		text = decodeAll("quoted-printable", []byte(strings.ReplaceAll(body[:end], "_", " ")))
	default:
		return "", nil, 0, false
	}
	return cs, text, n, true
}
