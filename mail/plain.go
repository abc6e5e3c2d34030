package mail

import (
	"strings"
	"unicode"
)

// Plain makes a stranger's words fit to be shown on a terminal, on one line:
// without control characters, which could be commands to it, and without what
// is invisible or changes the direction of text.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || isInvisible(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// isInvisible says whether r is a bidirectional control (Unicode Standard Annex
// #9), a line or paragraph separator, or has no shape of its own: the format
// characters, such as zero width spaces and the tags of U+E0000, but for those
// that can be seen (Arabic number signs), and what else Unicode lists as to be
// ignored in display (Hangul fillers, for example). Variation selectors, which
// are part of emoji, stay.
func isInvisible(r rune) bool {
	switch {
	case r < 0x80:
		return false
	case unicode.Is(unicode.Cf, r):
		return !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
	}
	return unicode.In(r, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

// maxMarks bounds the combining marks on one character. No language needs as
// many; piles of them reach into the lines above.
const maxMarks = 8

// isMark says whether r is put onto the character before it.
func isMark(r rune) bool {
	return r >= 0x300 && unicode.In(r, unicode.Mn, unicode.Me)
}
