package mail

import "testing"

func TestDecodeCharset(t *testing.T) {
	for _, c := range []struct{ charset, text, want string }{
		{"", "abc", "abc"},
		{"", "\xc3\xa4", "ä"},
		{"", "\xe4 \x80", "ä €"},
		{"us-ascii", "\xe4", "ä"},
		{"us-ascii", "\xc3\xa4", "ä"},
		{"utf-8", "\xe4", "ä"},
		{"UTF-8", "ääääää\xe4", "ääääää\uFFFD"},
		{"iso-8859-1", "\x93x\x94", "“x”"},
		{"iso-8859-15", "\xa4", "€"},
		{"ISO8859_2", "\xb1", "ą"},
		{"koi8-r", "\xd0\xd2", "пр"},
		{"gb2312", "\xd6\xd0\x81\x30\x81\x30", "中\u0080"},
		{"ks_c_5601-1987", "\xc7\xd1", "한"},
		{"iso-2022-jp", "\x1b$B$\"\x1b(B", "あ"},
		{"", "\x1b$B$\"\x1b(B b", "あ b"},
		{"us-ascii", "\x1b$@$\"\x1b(J b", "あ b"},
		{"utf-8", "a\x1b$B!", "a\x1b$B!"},
		{"", "ä\x1b$B$\"\x1b(B", "ä\x1b$B$\"\x1b(B"},
		{"hz-gb-2312", "~{Dc:C~} b~~", "你好 b~"},
		{"shift_jis", "\x82\xa0", "あ"},
		{"big5", "\xa4\xa4", "中"},
		{"cp1251", "\xef", "п"},
		{"cp-850", "\x84", "ä"},
		{"ansi_x3.4-1968", "\xe4", "ä"},
		{"x-unknown", "\xc3\xa4", "ä"},
		{"unknown-8bit", "\xe4", "ä"},
		{"no-such-charset", "\xe4", "ä"},
		{"utf-7", "a+AOQ-b+-c", "aäb+c"},
		{"utf-16", "\xff\xfea\x00", "a"},
		{"utf-16", "\x00a\x00b", "ab"},
		{"utf-16", "a\x00b\x00", "ab"},
		{"", "\xfe\xff\x00a", "a"},
		{"utf-32", "\x00\x00\xfe\xff\x00\x00\x00a", "a"},
		{"iso-8859-1", "\xef\xbb\xbfä", "ä"},
		{"\"utf-8\"", "ä", "ä"},
		{"windows-1252*de", "\xe4", "ä"},
	} {
		if got := decodeCharset(c.charset, []byte(c.text)); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.charset, c.text, got, c.want)
		}
	}
}
