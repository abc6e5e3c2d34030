package mail

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
)

// readISO2022KR reads ISO-2022-KR (RFC 1557): ASCII and, between SO and SI, KS X 1001 in seven bits,
// which is EUC-KR without the eighth. A line begins in ASCII.
func readISO2022KR(text []byte) []byte {
	const shiftOut, shiftIn = 0x0e, 0x0f
	text = bytes.ReplaceAll(text, []byte("\x1b$)C"), nil)
	euc := make([]byte, 0, len(text))
	out := false
	for _, c := range text {
		switch {
		case c == shiftOut:
			out = true
		case c == shiftIn:
			out = false
		case out && c > ' ' && c < 0x7f:
			euc = append(euc, c|0x80)
		default:
			out = out && c != '\n'
			euc = append(euc, c)
		}
	}
	return by(korean.EUCKR)(euc)
}

// The letters of a syllable in Johab, by their five bits: the number of each in Unicode's order of
// syllables (The Unicode Standard §3.12). 0xff is for none, fill for a syllable without.
const (
	none = 0xff
	fill = 0xfe
)

var (
	johabInitials = [32]byte{none, fill, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
		none, none, none, none, none, none, none, none, none, none, none}
	johabVowels = [32]byte{none, none, fill, 0, 1, 2, 3, 4, none, none, 5, 6, 7, 8, 9, 10, none, none, 11, 12, 13, 14, 15, 16,
		none, none, 17, 18, 19, 20, none, none}
	johabFinals = [32]byte{none, fill, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, none, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
		none, none}
)

// Letters that stand alone, in the same order (Hangul Compatibility Jamo, from U+3131).
const (
	loneInitials = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
	loneFinals   = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"
)

// readJohab reads Johab (KS X 1001:1992, annex 3; code page 1361): a syllable is two bytes, a bit and
// five for each of its letters; all else is KS X 1001 at other places.
func readJohab(text []byte) []byte {
	out := make([]byte, 0, len(text)*2)
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c < utf8.RuneSelf {
			out = append(out, c)
			continue
		}
		r := utf8.RuneError
		if i+1 < len(text) && text[i+1] > ' ' {
			if r = johab(c, text[i+1]); r != utf8.RuneError {
				i++
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func johab(c, d byte) rune {
	if c < 0xd8 {
		initial, vowel, final := johabInitials[c>>2&31], johabVowels[c<<3&0x18|d>>5], johabFinals[d&31]
		switch {
		case initial == none || vowel == none || final == none:
		case initial < fill && vowel < fill:
			if final == fill {
				final = 0
			}
			return 0xac00 + (rune(initial)*21+rune(vowel))*28 + rune(final)
		case initial < fill && vowel == fill && final == fill:
			return []rune(loneInitials)[initial]
		case initial == fill && vowel < fill && final == fill:
			return 'ㅏ' + rune(vowel)
		case initial == fill && vowel == fill && final < fill:
			return []rune(loneFinals)[final-1]
		case initial == fill && vowel == fill && final == fill:
			return '\u3000'
		}
		return utf8.RuneError
	}
	if c == 0xdf || c > 0xf9 || d < 0x31 || d >= 0x80 && d < 0x91 || d&0x7f == 0x7f {
		return utf8.RuneError
	}
	row, cell := 2*int(c)-0x197, int(d)-0x43
	if c < 0xe0 {
		row = 2 * (int(c) - 0xd9)
	}
	if d < 0x91 {
		cell = int(d) - 0x31
	}
	if cell >= 94 {
		row, cell = row+1, cell-94
	}
	r, _ := utf8.DecodeRune(by(korean.EUCKR)([]byte{byte(row + 0xa1), byte(cell + 0xa1)}))
	return r
}
