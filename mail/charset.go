package mail

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// charsetNames are the readings that neither the WHATWG's index nor IANA's
// has, or where the name in use means a larger set than its definition.
var charsetNames = map[string]encoding.Encoding{
	"hz-gb-2312":      simplifiedchinese.HZGB2312,
	"hz":              simplifiedchinese.HZGB2312,
	"gb2312":          simplifiedchinese.GB18030,
	"gb_2312-80":      simplifiedchinese.GB18030,
	"x-gbk":           simplifiedchinese.GB18030,
	"gbk":             simplifiedchinese.GB18030,
	"cp936":           simplifiedchinese.GB18030,
	"ks_c_5601-1987":  korean.EUCKR,
	"cp949":           korean.EUCKR,
	"ms949":           korean.EUCKR,
	"cp950":           traditionalchinese.Big5,
	"iso-8859-1":      charmap.Windows1252,
	"iso8859-1":       charmap.Windows1252,
	"iso-8859-8-i":    charmap.ISO8859_8,
	"iso-8859-8-e":    charmap.ISO8859_8,
	"iso-8859-6-i":    charmap.ISO8859_6,
	"iso-8859-6-e":    charmap.ISO8859_6,
	"utf-16":          unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-16le":        unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"utf-16be":        unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"utf-32":          utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	"utf-32le":        utf32.UTF32(utf32.LittleEndian, utf32.UseBOM),
	"utf-32be":        utf32.UTF32(utf32.BigEndian, utf32.UseBOM),
	"x-mac-roman":     charmap.Macintosh,
	"macroman":        charmap.Macintosh,
	"x-mac-cyrillic":  charmap.MacintoshCyrillic,
	"macintosh":       charmap.Macintosh,
	"x-user-defined":  nil,
	"replacement":     nil,
	"x-unknown":       nil,
	"unknown-8bit":    nil,
	"ansi_x3.4-1968":  nil,
	"iso-10646-ucs-2": unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	"ucs-2":           unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
}

// decodeCharset turns text in the named charset into valid UTF-8. It never
// fails: without a name, with one that is unknown, and where US-ASCII or UTF-8
// was declared and is not true, the text is ISO-2022-JP or UTF-8 if it can be,
// else windows-1252, which has a character for nearly every byte.
func decodeCharset(name string, text []byte) string {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	// RFC 2231 §5: a language after an asterisk.
	name, _, _ = strings.Cut(name, "*")
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) && utf8.Valid(text) {
		return string(text[3:])
	}
	if strings.HasPrefix(name, "utf-7") || strings.HasPrefix(name, "unicode-1-1-utf-7") {
		return decodeUTF7(text)
	}
	enc := findEncoding(name)
	if enc == nil {
		switch {
		case bytes.HasPrefix(text, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(text, []byte{0, 0, 0xfe, 0xff}):
			enc = charsetNames["utf-32"]
		case bytes.HasPrefix(text, []byte{0xff, 0xfe}), bytes.HasPrefix(text, []byte{0xfe, 0xff}):
			enc = charsetNames["utf-16"]
		}
	}
	if name == "utf-16" && !bytes.HasPrefix(text, []byte{0xff, 0xfe}) && looksLittleEndian(text) {
		enc = charsetNames["utf-16le"]
	}
	if enc == nil {
		return guess(name, text)
	}
	if isASCII(text) && !bytes.ContainsAny(text, "\x00\x1b~") {
		return string(text)
	}
	out, err := enc.NewDecoder().Bytes(text)
	if err != nil || bytes.Contains(out, []byte("\uFFFD")) && utf8.Valid(text) {
		return guess("", text)
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// guess reads text of which nothing is known for sure.
func guess(name string, text []byte) string {
	if s, ok := unlabelledJapanese(text); ok {
		return s
	}
	if utf8.Valid(text) {
		return string(text)
	}
	if name == "utf-8" && mostlyUTF8(text) {
		return strings.ToValidUTF8(string(text), "\uFFFD")
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(text)
	if err != nil {
		return strings.ToValidUTF8(string(text), "\uFFFD")
	}
	return string(out)
}

// unlabelledJapanese reads ISO-2022-JP (RFC 1468), which much Japanese mail does
// not name, and which nothing else looks like: ASCII with escape sequences that
// switch to two bytes for a character.
func unlabelledJapanese(text []byte) (s string, ok bool) {
	if !bytes.Contains(text, []byte("\x1b$B")) && !bytes.Contains(text, []byte("\x1b$@")) || !isASCII(text) {
		return "", false
	}
	out, err := japanese.ISO2022JP.NewDecoder().Bytes(text)
	if err != nil || bytes.Contains(out, []byte("\uFFFD")) {
		return "", false
	}
	return string(out), true
}

// mostlyUTF8 says whether text is UTF-8 with some damage, such as a character
// that was cut in two, rather than something else.
func mostlyUTF8(text []byte) bool {
	good, bad := 0, 0
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case n > 1:
			good++
		case r == utf8.RuneError:
			bad++
		}
		text = text[n:]
	}
	return good > 4*bad
}

// findEncoding looks a charset up: first ours, then the WHATWG's index (which
// knows what such names mean in practice), then IANA's. It returns nil if there is none, or if the text has to be guessed anyway.
func findEncoding(name string) encoding.Encoding {
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return nil
	}
	if enc, ok := charsetNames[name]; ok {
		return enc
	}
	names := []string{name}
	if rest, ok := strings.CutPrefix(name, "x-"); ok {
		names = append(names, rest)
	}
	for _, prefix := range []string{"cp-", "cp", "windows", "win-", "win", "ms-", "ms"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			names = append(names, "windows-"+rest, "ibm"+rest)
		}
	}
	if rest, ok := strings.CutPrefix(name, "iso"); ok {
		rest = strings.TrimLeft(rest, "-_ ")
		if rest, ok = strings.CutPrefix(rest, "8859"); ok {
			names = append(names, "iso-8859-"+strings.TrimLeft(rest, "-_ "))
		}
	}
	for _, n := range names {
		if enc, err := htmlindex.Get(n); err == nil {
			if canonical, _ := htmlindex.Name(enc); canonical == "utf-8" || canonical == "replacement" || canonical == "x-user-defined" {
				return nil
			}
			return enc
		}
	}
	for _, n := range names {
		if enc, err := ianaindex.MIME.Encoding(n); err == nil && enc != nil {
			return enc
		}
	}
	return nil
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// looksLittleEndian guesses the byte order of UTF-16 without a mark: most text
// has more characters below U+0100 than others.
func looksLittleEndian(text []byte) bool {
	even, odd := 0, 0
	for i, c := range text {
		if c == 0 {
			if i%2 == 0 {
				even++
			} else {
				odd++
			}
		}
	}
	return odd > even
}

// decodeUTF7 reads UTF-7 (RFC 2152). What is not valid stays as it is.
func decodeUTF7(text []byte) string {
	var b strings.Builder
	for len(text) > 0 {
		i := bytes.IndexByte(text, '+')
		if i < 0 {
			i = len(text)
		}
		b.WriteString(guess("", text[:i]))
		if text = text[i:]; len(text) == 0 {
			break
		}
		n := 1
		for n < len(text) && base64Value[text[n]] != 0xff {
			n++
		}
		run := text[1:n]
		if n < len(text) && text[n] == '-' {
			n++
		}
		if len(run) == 0 {
			b.WriteByte('+')
			text = text[n:]
			continue
		}
		raw := decodeAll("base64", run)
		units := make([]uint16, 0, len(raw)/2)
		for j := 0; j+1 < len(raw); j += 2 {
			units = append(units, uint16(raw[j])<<8|uint16(raw[j+1]))
		}
		b.WriteString(string(utf16.Decode(units)))
		text = text[n:]
	}
	return b.String()
}
