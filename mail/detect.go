package mail

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// What follows guesses the charset of text that says nothing, or something wrong. The libraries that
// do so in Go take western text for something else in one of 50 subjects, or find hardly anything:
// docs/charsets.md has the rates.

// lang says how usual each letter of a language is. chars and pairs are
// groups of characters (of two characters) split by spaces: those of group n
// cost n bits, which is how surprising they are: -log2 of their frequency,
// for a pair that of its second letter after its first. "_" stands for
// anything that is no letter. Only what has a non-ASCII letter is listed.
type lang struct{ name, chars, pairs string }

// candidate is a charset, the languages it is used for, and how many bits
// it starts behind windows-1252 (rarer in mail, or less sure).
type candidate struct {
	name  string
	enc   encoding.Encoding
	cost  int
	langs string
}

// Of two that cost the same the first wins.
var candidates = []candidate{
	{"windows-1252", charmap.Windows1252, 0, "any de fr es pt it nl sv da nb fi ca is"},
	{"windows-1251", charmap.Windows1251, 4, "ru uk bg"},
	{"koi8-r", charmap.KOI8R, 4, "ru"},
	{"koi8-u", charmap.KOI8U, 6, "uk"},
	{"iso-8859-5", charmap.ISO8859_5, 10, "ru bg"},
	{"ibm866", charmap.CodePage866, 10, "ru"},
	{"windows-1250", charmap.Windows1250, 6, "pl cs hu sk sl hr"},
	{"iso-8859-2", charmap.ISO8859_2, 6, "pl cs hu sk sl hr"},
	{"windows-1253", charmap.Windows1253, 6, "el"},
	{"iso-8859-7", charmap.ISO8859_7, 7, "el"},
	{"windows-1254", charmap.Windows1254, 6, "tr"},
	{"windows-1255", charmap.Windows1255, 6, "he"},
	{"windows-1256", charmap.Windows1256, 6, "ar"},
	{"windows-874", charmap.Windows874, 6, "th"},
	{"shift_jis", japanese.ShiftJIS, 6, "ja"},
	{"euc-jp", japanese.EUCJP, 6, "ja"},
	{"gb18030", simplifiedchinese.GB18030, 6, "zh_CN"},
	{"big5", traditionalchinese.Big5, 6, "zh_TW"},
	{"euc-kr", korean.EUCKR, 6, "ko"},
}

const (
	maxScored = 2000 // bytes looked at: more text does not make it surer
	badCost   = 40   // a byte that has no meaning in the charset
	never     = 1 << 30
)

// model is a lang to look things up in, in bits.
type model struct {
	one  map[rune]int
	two  map[[2]rune]int
	wide map[rune]bool // the everyday characters of a charset with thousands
}

var models = sync.OnceValue(func() map[string]*model {
	// English, and any other western language: every letter is possible.
	west := &model{one: map[rune]int{'’': 5, '£': 8, '€': 8}}
	for c := 'ß'; c <= 'ÿ'; c++ {
		west.one[c] = 10
	}
	for _, c := range "œšžµºª" {
		west.one[c] = 11
	}
	ms := map[string]*model{"any": west}
	for _, l := range langs {
		m := &model{one: map[rune]int{}, two: map[[2]rune]int{}}
		for bits, group := range strings.Split(l.chars, " ") {
			for _, c := range group {
				m.one[c] = bits
			}
		}
		for bits, group := range strings.Split(l.pairs, " ") {
			rs := []rune(group)
			for i := 0; i+1 < len(rs); i += 2 {
				m.two[[2]rune{rs[i], rs[i+1]}] = bits
			}
		}
		ms[l.name] = m
	}
	// The first rows of the Asian sets hold the characters in daily use.
	for _, w := range []struct {
		lang        string
		enc         encoding.Encoding
		first, last byte
	}{{"ja", japanese.EUCJP, 0xb0, 0xcf}, {"zh_CN", simplifiedchinese.GBK, 0xb0, 0xd7}, {"zh_TW", traditionalchinese.Big5, 0xa4, 0xc6}, {"ko", korean.EUCKR, 0xb0, 0xc8}} {
		m := ms[w.lang]
		m.wide = map[rune]bool{}
		for a := int(w.first); a <= int(w.last); a++ {
			for b := 0x40; b < 0xff; b++ {
				if b < 0xa1 && (w.lang != "zh_TW" || b > 0x7e) {
					continue
				}
				s, _ := w.enc.NewDecoder().Bytes([]byte{byte(a), byte(b)})
				m.wide[[]rune(string(s))[0]] = true
			}
		}
	}
	return ms
})

// detect guesses the charset of text that is neither UTF-8 nor ISO-2022-JP.
// It decodes text with each candidate and adds up how surprising the result
// would be in each of its languages; the least surprising wins. behind is how many bits
// windows-1252 is behind it; ok is false when text is ASCII or fits no candidate.
func detect(text []byte) (found encoding.Encoding, behind int, ok bool) {
	// Only lines with non-ASCII bytes tell something. No charset here has the
	// line feed as part of a longer character.
	var lines []byte
	high := 0
	for line := range bytes.Lines(text) {
		n := 0
		for _, b := range line {
			if b >= 0x80 {
				n++
			}
		}
		if n > 0 {
			lines = append(lines, line...)
			high += n
		}
		if len(lines) > maxScored {
			break
		}
	}
	text = lines
	if len(text) > maxScored {
		// Cut after ASCII, where there is some, not inside a character. (A cut
		// character costs badCost, which a text so long can bear.)
		text = text[:maxScored]
		if i := bytes.LastIndexAny(text, " \n"); i > maxScored/2 {
			text = text[:i]
		}
	}
	if high == 0 {
		return nil, 0, false
	}
	ms := models()
	best, western := never, never
	for _, c := range candidates {
		s, err := c.enc.NewDecoder().Bytes(text)
		if err != nil {
			continue
		}
		start := c.cost
		if high < 4 && start > 0 {
			start += 6 // too little to be sure: rather stay with windows-1252
		}
		rs := []rune(string(s))
		if c.cost > 0 && !slices.ContainsFunc(rs, isForeignLetter) {
			continue // nothing speaks for it
		}
		for _, l := range strings.Fields(c.langs) {
			if cost := ms[l].surprise(rs, start, best); cost < best {
				best, found = cost, c.enc
			}
		}
		if c.cost == 0 { // the first one
			western = best
		}
	}
	return found, western - best, found != nil
}

func isForeignLetter(c rune) bool { return c >= 0x80 && unicode.IsLetter(c) }

// surprise adds up the bits of rs, from cost on; it stops at limit.
func (m *model) surprise(rs []rune, cost, limit int) int {
	prev, upper := '_', 0 // the letter before, and how many capitals lead to it
	lower := false        // whether a small letter of the same word stands before
	var mark rune         // a symbol right before, and whether it follows a letter
	glued := false
	last := '_' // the letter before, also of an earlier word
	for _, c := range rs {
		if cost >= limit {
			return limit
		}
		if c < 0x80 && !('a' <= c|0x20 && c|0x20 <= 'z') {
			if prev >= 0x80 {
				cost += m.after(prev, '_')
			}
			prev, upper, lower, mark = '_', 0, false, 0
			continue
		}
		if c >= 0x80 && !unicode.IsLetter(c) && !unicode.IsMark(c) {
			cost += m.symbol(c)
			if prev >= 0x80 {
				cost += m.after(prev, '_')
			}
			mark, glued = c, prev != '_'
			prev, upper, lower = '_', 0, false
			continue
		}
		// Symbols inside a word are wrong letters; "ci¶g", "ca³y".
		switch {
		case mark == 0 || m.wide != nil:
		case mark == 0xa0 && glued:
			cost += 3
		case glued && !strings.ContainsRune("“”‘’„‚–—…«»·", mark):
			cost += 10
		case !glued && (mark == '’' || mark == '¶'):
			cost += 5
		}
		mark = 0
		k := unicode.ToLower(c)
		// A word of another alphabet among Latin ones: "questo и buono".
		if k >= 0x80 && prev == '_' && m.mixed(last, k) {
			cost += 5
		}
		if k >= 0x80 || prev >= 0x80 {
			cost += m.after(prev, k)
			// Capitals stand at the start of a word, or in all of it.
			switch {
			case k != c && lower:
				cost += 8
			case k != c && upper == 1:
				cost += 3
			case k != c && upper == 0:
				cost += 2
			case k == c && upper > 1 && unicode.IsLower(c):
				cost += 6
			}
		}
		if k != c {
			upper, lower = upper+1, false
		} else {
			upper, lower = 0, true
		}
		prev, last = k, k
	}
	if prev >= 0x80 {
		cost += m.after(prev, '_')
	}
	return cost
}

// after tells the bits of the letter c (or '_') after prev.
func (m *model) after(prev, c rune) int {
	if m.mixed(prev, c) {
		return 14
	}
	if n, ok := m.two[[2]rune{prev, c}]; ok {
		return n
	}
	if m.wide != nil { // no pairs are known: mixing with Latin letters is usual
		switch {
		case c == '_':
			return 0
		case c < 0x80:
			return 5
		}
	}
	if c == '_' {
		return 5
	}
	if c < 0x80 {
		if len(m.two) == 0 {
			return 4
		}
		return 9
	}
	n, ok := m.one[c]
	switch {
	case ok && m.wide == nil && len(m.two) > 0:
		n += 3 // an unusual pair
	case ok:
	case m.wide[c]:
		n = 13
	case c >= 0xff61 && c <= 0xff9f: // half width kana
		n = 14
	default:
		n = 17 // not of the language
	}
	if m.wide != nil && prev < 0x80 && prev != '_' {
		n += 2
	}
	return n
}

// mixed tells whether a Latin letter stands beside one of another alphabet
// (East Asian text has no spaces, there it is usual).
func (m *model) mixed(a, b rune) bool {
	if m.wide != nil || a == '_' || b == '_' {
		return false
	}
	return unicode.Is(unicode.Latin, a) != unicode.Is(unicode.Latin, b)
}

// symbol tells the bits of c, no letter.
func (m *model) symbol(c rune) int {
	if n, ok := m.one[c]; ok {
		return n
	}
	switch {
	case c < 0xa0 || c == 0xfffd || unicode.Is(unicode.Co, c):
		return badCost
	case strings.ContainsRune("“”‘’„‚–—…«»•\u00a0", c):
		return 7
	case strings.ContainsRune("€°§©®™", c):
		return 9
	case c >= 0x3000 && c < 0x3020 || c >= 0xff01 && c < 0xff60:
		return 12
	case c < 0x100:
		return 13
	}
	return 17
}
