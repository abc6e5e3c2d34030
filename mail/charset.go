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

// reading turns text into UTF-8, with U+FFFD for what it cannot read.
type reading func(text []byte) []byte

// by reads with an encoding of golang.org/x/text.
func by(enc encoding.Encoding) reading {
	return func(text []byte) []byte {
		out, err := enc.NewDecoder().Bytes(text)
		if err != nil {
			return []byte("\uFFFD")
		}
		return out
	}
}

// byPage reads with a table of codepages.
func byPage(name string) reading {
	return func(text []byte) []byte {
		page := []rune(codepages[name])
		out := make([]byte, 0, 2*len(text))
		for _, c := range text {
			if c < utf8.RuneSelf {
				out = append(out, c)
			} else {
				out = utf8.AppendRune(out, page[c-utf8.RuneSelf])
			}
		}
		return out
	}
}

// charsetNames are the readings that neither the WHATWG's index nor IANA's has, or where the name
// in use means a larger set than its definition, by the names of those, of Windows, Apple, IBM and
// Java. They are written with letters and digits alone, see squeeze. nil is for what is none.
var charsetNames = func() map[string]reading {
	names := make(map[string]reading)
	add := func(r reading, all string) {
		for name := range strings.FieldsSeq(all) {
			names[name] = r
		}
	}
	add(by(japanese.ShiftJIS), "shiftjis sjis mskanji windows31j cp932 ms932 windows932 cp943 cp943c ibm943 ibm943c ibm932 sjis0213 shiftjis2004 pck")
	add(by(japanese.EUCJP), "eucjp ujis eucjpms eucjpwin eucjpopen eucjplinux cp51932 windows51932 euc extendedunixcodepackedformatforjapanese eucpkdfmtjapanese eucjis2004 ibmeucjp")
	add(by(japanese.ISO2022JP), "iso2022jp jis iso2022jp1 iso2022jp2 iso2022jp3 iso2022jpms iso2022jp2004 windowsiso2022jp cp50220 cp50221 cp50222 windows50220 windows50221 jisautodetect")
	add(by(korean.EUCKR), "ksc56011987 ksc56011989 ksc5601 ksx1001 isoir149 korean euckr uhc cp949 ms949 windows949 ibm949 cp1363 cp51949 wansung")
	add(readISO2022KR, "iso2022kr cp50225 windows50225")
	add(readJohab, "johab cp1361 ms1361 windows1361 ksc56011992")
	add(by(traditionalchinese.Big5), "big5 bigfive cnbig5 xbig5 big5eten big5hkscs ms950hkscs cp950 ms950 windows950 ibm950")
	add(by(simplifiedchinese.GB18030), "gb2312 gb231280 isoir58 chinese euccn gbk gb18030 gb180302000 gb180302022 cp936 ms936 windows936 ibm1386 cp54936 windows54936 cngb cp51936 gb1988")
	add(by(simplifiedchinese.HZGB2312), "hzgb2312 hz hzgb cp52936")
	add(by(charmap.Windows1252), "iso88591 isoir100 latin1 l1 ibm819 cp819 88591 iso885911987")
	add(by(charmap.ISO8859_8), "iso88598i iso88598e logical visual")
	add(by(charmap.ISO8859_6), "iso88596i iso88596e")
	add(by(charmap.ISO8859_15), "latin9 latin0 l9 ibm923 cp923")
	add(by(charmap.Windows874), "tis620 tis6200 tis6202529 tis62025291 tis6202533 tis62025330 tis62025331 iso885911 thai8 cp874 ms874 windows874 ibm874 dos874")
	for name, enc := range map[string]*charmap.Charmap{"msee": charmap.Windows1250, "mscyrl": charmap.Windows1251, "msansi": charmap.Windows1252,
		"msgreek": charmap.Windows1253, "msturk": charmap.Windows1254, "mshebr": charmap.Windows1255, "msarab": charmap.Windows1256, "winbaltrim": charmap.Windows1257} {
		add(by(enc), name)
	}
	add(by(charmap.KOI8R), "koi8 koi koi8r cskoi8r cp878 ibm878 windows20866 cp20866")
	add(by(charmap.KOI8U), "koi8u koi8ru windows21866 cp21866")
	add(by(charmap.Macintosh), "macintosh mac macroman macosroman windows10000 cp10000")
	add(by(charmap.MacintoshCyrillic), "maccyrillic macukrainian macukraine macuk windows10007 windows10017")
	add(by(unicode.UTF16(unicode.BigEndian, unicode.UseBOM)), "utf16 utf16be iso10646ucs2 ucs2 ucs2be unicode unicodebig unicodebigunmarked unicodefffe csunicode11")
	add(by(unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)), "utf16le ucs2le unicodelittle unicodelittleunmarked")
	add(by(utf32.UTF32(utf32.BigEndian, utf32.UseBOM)), "utf32 utf32be iso10646ucs4 ucs4 ucs4be")
	add(by(utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)), "utf32le ucs4le")
	for name := range codepages {
		add(byPage(name), squeeze(name))
	}
	for name, others := range map[string]string{
		"mac-ce": "maccentraleurope maclatin2 maceastereurope maccentraleuroman windows10029", "mac-greek": "windows10006",
		"mac-turkish": "windows10081", "mac-iceland": "macicelandic macis windows10079", "mac-croatian": "windows10082",
		"mac-romanian": "macromania windows10010", "hp-roman8": "roman8 r8 ibm1051 cp1051", "kz-1048": "strk10482002 rk1048",
		"ptcp154": "pt154 cp154 cyrillicasian", "iso-ir-111": "koi8e ecmacyrillic iso111ecmacyrillic",
		"viscii": "viscii11", "tcvn": "tcvn5712 tcvn57121 tcvn571211993 cp1258tcvn", "armscii-8": "armscii8", "cp1125": "ruscii ibm848",
		"cp720": "dos720 ibm720", "cp737": "dos737 ibm737", "cp775": "dos775 ibm775 pc775baltic", "cp857": "dos857 ibm857", "cp861": "dos861 ibm861 cpis",
		"cp864": "dos864 ibm864", "cp869": "dos869 ibm869 cpgr",
	} {
		add(byPage(name), others)
	}
	// What says nothing, and what is UTF-8 or ASCII: the text itself tells.
	add(nil, "userdefined replacement unknown unknown8bit ansix341968 ansix341986 iso646us iso646irv1991 isoir6 us cp367 ibm367 646 ascii usascii "+
		"utf8 utf8mac utf8n unicode11utf8 unicode20utf8 cp65001 windows65001 utf8bom utf8mb4 utf8mb3 binary 8bit 7bit none default none")
	return names
}()

// squeeze writes the name of a charset with small letters and digits alone.
func squeeze(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, name)
}

// decodeCharset turns text in the named charset into valid UTF-8. It never
// fails: without a name, with one that is unknown, and where US-ASCII or UTF-8
// was declared and is not true, the text is ISO-2022-JP or UTF-8 if it can be,
// else what detect finds. So it is where another charset was declared that does not fit.
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
	read := findCharset(name)
	if read == nil {
		switch {
		case bytes.HasPrefix(text, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(text, []byte{0, 0, 0xfe, 0xff}):
			read = charsetNames["utf32"]
		case bytes.HasPrefix(text, []byte{0xff, 0xfe}), bytes.HasPrefix(text, []byte{0xfe, 0xff}):
			read = charsetNames["utf16"]
		}
	}
	if squeeze(name) == "utf16" && !bytes.HasPrefix(text, []byte{0xff, 0xfe}) && looksLittleEndian(text) {
		read = charsetNames["utf16le"]
	}
	if read == nil {
		return guess(name, text)
	}
	if isASCII(text) && !bytes.ContainsAny(text, "\x00\x0e\x1b~") {
		return string(text)
	}
	out := read(text)
	switch bad := bytes.Count(out, []byte("\uFFFD")); {
	case bad > 0 && (utf8.Valid(text) || bad*10 > highBytes(text)):
		return guess("", text) // it does not fit
	case isForeign(text) && isWestern(out):
		if enc, behind, ok := detect(text); ok && behind >= muchBehind {
			out = by(enc)(text)
		}
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// muchBehind is by how many bits a western charset has to be behind another one not to be believed: no
// western text was misread without any (docs/charsets.md).
const muchBehind = 30

// highBytes counts bytes that are not ASCII.
func highBytes(text []byte) (n int) {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

// isForeign tells whether most bytes that are not ASCII stand three or more together, as they do not in
// languages with Latin letters.
func isForeign(text []byte) bool {
	high, together, run := 0, 0, 0
	for _, c := range text {
		if c < utf8.RuneSelf {
			run = 0
			continue
		}
		high++
		if run++; run == 3 {
			together += 3
		} else if run > 3 {
			together++
		}
	}
	return high >= 6 && together*2 > high
}

// isWestern tells whether all of a text is in windows-1252, the charset that many programs name whatever
// they send.
func isWestern(text []byte) bool {
	for _, r := range string(text) {
		if r >= 0x100 && r != utf8.RuneError { // five bytes mean nothing in it
			if _, ok := charmap.Windows1252.EncodeRune(r); !ok {
				return false
			}
		}
	}
	return true
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
	enc, _, ok := detect(text)
	if !ok {
		enc = charmap.Windows1252
	}
	return strings.ToValidUTF8(string(by(enc)(text)), "\uFFFD")
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

// findCharset looks a charset up: first ours, then the WHATWG's index (which knows what such names
// mean in practice), then IANA's. It returns nil if there is none, or if the text has to be guessed
// anyway.
func findCharset(name string) reading {
	short := squeeze(name)
	if short == "" {
		return nil
	}
	for _, prefix := range []string{"", "x", "cs", "xx", "xcp", "iso"} {
		if rest, ok := strings.CutPrefix(short, prefix); ok {
			if read, ok := charsetNames[rest]; ok {
				return read
			}
		}
	}
	names := []string{name}
	if rest, ok := strings.CutPrefix(name, "x-"); ok {
		names = append(names, rest)
	}
	for _, prefix := range []string{"xmscp", "mscp", "xcp", "xwindows", "xibm", "cp0", "ansi", "cp", "windows", "win", "msdos", "ms", "dos", "ibm00", "ibm0", "ibm", "oem", "pc", "codepage", "cspc", "csibm", ""} {
		if rest, ok := strings.CutPrefix(short, prefix); ok && len(rest) > 2 && rest[0] >= '1' && rest[0] <= '9' {
			if read, ok := charsetNames["cp"+rest]; ok {
				return read
			}
			names = append(names, "windows-"+rest, "ibm"+rest, "ibm00"+rest)
		}
	}
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(short, "iso"), "8859"); ok {
		names = append(names, "iso-8859-"+rest)
	}
	for _, n := range names {
		if enc, err := htmlindex.Get(n); err == nil {
			if canonical, _ := htmlindex.Name(enc); canonical == "utf-8" || canonical == "replacement" || canonical == "x-user-defined" {
				return nil
			}
			return by(enc)
		}
	}
	for _, n := range names {
		if enc, err := ianaindex.MIME.Encoding(n); err == nil && enc != nil {
			return by(enc)
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
