package mail

import (
	"strings"
	"testing"
)

// TestCharsetNames has the names that charsets go by: those of IANA and of the WHATWG, and of Windows,
// Apple, IBM and Java.
func TestCharsetNames(t *testing.T) {
	for _, c := range []struct{ names, text, want string }{
		{"csWindows31J windows-31j cp932 MS932 x-ms-cp932 x-sjis Shift-JIS sjis ms_kanji CP943C x-IBM943", "\x92\xf1\x93\x94\x87@", "提灯①"},
		{"eucJP EUC_JP ujis eucJP-ms cp51932 x-euc x-euc-jp csEUCPkdFmtJapanese Extended_UNIX_Code_Packed_Format_for_Japanese", "\xc4\xf3\xc5\xf4\xa4\xce\xbb\xb6\xca\xe2", "提灯の散歩"},
		{"iso-2022-jp csISO2022JP ISO2022JP x-windows-iso2022jp cp50220 x-windows-50221", "\x1b$BDsEt\x1b(B", "提灯"},
		{"uhc cp949 ms949 windows-949 x-windows-949 ks_c_5601-1987 KSC5601 korean EUC_KR csEUCKR", "\x8cc\xb9\xe6\xb0\xa2\xc7\xcf", "똠방각하"},
		{"ISO-2022-KR csISO2022KR ISO2022KR", "\x1b$)C\x0e>H3g\x0f \x0eGO<<?d\x0f\x0aab", "안녕 하세요\nab"},
		{"johab x-Johab cp1361 ms1361", "\xb4e\x91w\xd0a\xadA\xb6a \xf7\xd3\xf1\xae \x88A\x84a\xd93\xa6\xca", "안녕하세요 漢字 ㄱㅏ。뷁"},
		{"ms950 cp950 big-5 Big5 x-windows-950 x-big5 Big5-HKSCS cn-big5", "\xbfO\xc5\xa2\xb4\xb2\xa8B", "燈籠散步"},
		{"euc-cn x-euc-cn EUC_CN gb2312-80 GB_2312-80 csGB2312 chinese gbk MS936 cp936 x-gbk gb18030 iso-ir-58", "\xb5\xc6\xc1\xfd\xc9\xa2\xb2\xbd", "灯笼散步"},
		{"latin9 latin-9 ISO-8859-15 iso8859_15 ISO8859-15 8859_15 csISO885915 l9", "\xbcuvre \xe0 5 \xa4", "Œuvre à 5 €"},
		{"latin1 8859_1 ISO_8859-1 iso-8859-1 cp1252 csISOLatin1 l1 Cp819", "Gr\xfc\xdfe", "Grüße"},
		{"latin2 8859_2 iso-8859-2 csISOLatin2 ISO8859_2 l2 windows-1250 cp1250 x-cp1250", "Za\xbf\xf3\xb3\xe6", "Zażółć"},
		{"mac-cyrillic x-mac-cyrillic x-MacCyrillic maccyrillic", "\x94\xee\xed\xe0\xf0\xfc", "Фонарь"},
		{"x-mac-ce x-MacCentralEurope mac-ce maclatin2", "Za\xfd\x97\xb8\x8d", "Zażółć"},
		{"x-mac-greek x-MacGreek", "\xbc\xe1\xee\xc0\xf2\xe9", "Φανάρι"},
		{"x-mac-turkish x-MacTurkish", "I\xdf\xddk", "Işık"},
		{"x-mac-icelandic x-MacIceland", "\xdeorskur \xdd", "Þorskur ð"},
		{"macintosh x-mac-roman MacRoman csMacintosh x-MacRoman", "Gr\x9f\xa7e", "Grüße"},
		{"cp858 IBM00858 CCSID00858 dos-858", "Gr\x81\xe1e \xd5", "Grüße €"},
		{"dos-850 cp850 IBM850 cspc850multilingual 850 oem850 cp437 IBM437 dos-437 cspc8codepage437", "Gr\x81\xe1e", "Grüße"},
		{"cp852 IBM852 dos852 cspcp852", "Za\xbe\xa2\x88\x86", "Zażółć"},
		{"cp866 IBM866 dos-866 csIBM866", "\x94\xae\xad\xa0\xe0\xec", "Фонарь"},
		{"cp737 IBM737 x-IBM737", "\x94\x98\xa4\xe1\xa8\xa0", "Φανάρι"},
		{"cp775 IBM775 csPC775Baltic", "\xcfibintas", "Žibintas"},
		{"cp857 IBM857", "I\x9f\x8dk", "Işık"},
		{"cp861 IBM861 cp-is", "\x8dorskur", "Þorskur"},
		{"cp869 IBM869 cp-gr", "\xd2\xd6\xe7\x9b\xeb\xe3", "Φανάρι"},
		{"kz-1048 STRK1048-2002 RK1048 csKZ1048", "\xd8\xe0\xec\xf8\xfb\xf0\xe0\x9d \xbe", "Шамшырақ ң"},
		{"ptcp154 csPTCP154 PT154 CP154 Cyrillic-Asian", "\xd8\xe0\xec\xf8\xfb\xf0\xe0\x9d", "Шамшырақ"},
		{"hp-roman8 roman8 r8 csHPRoman8", "Gr\xcf\xdee", "Grüße"},
		{"koi8-r KOI8_R cskoi8r koi iso-ir-111 ECMA-cyrillic koi8-e", "\xe6\xcf\xce\xc1\xd2\xd8", "Фонарь"},
		{"koi8-u KOI8_U koi8-ru", "\xec\xa6\xc8\xd4\xc1\xd2 \xa7", "Ліхтар ї"},
		{"windows-1251 cp1251 win-1251 win1251 x-cp1251 ms-cyrl ansi-1251", "\xd4\xee\xed\xe0\xf0\xfc", "Фонарь"},
		{"windows-1255 cp1255 iso-8859-8-i iso-8859-8 logical csISO88598I hebrew", "\xf4\xf0\xf1", "פנס"},
		{"windows-1258 cp1258", "\xd0\xe8n", "Đèn"},
		{"tis-620 TIS620 iso-8859-11 windows-874 cp874 x-windows-874 tis620.2533", "\xe2\xa4\xc1\xe4\xbf", "โคมไฟ"},
		{"UTF8 utf-8 unicode-1-1-utf-8 cp65001 x-unicode20utf8", "Gr\xc3\xbc\xc3\x9fe \xe6\x8f\x90\xe7\x81\xaf", "Grüße 提灯"},
		{"viscii csVISCII", "\xd0\xe8n l\xb0ng", "Đèn lồng"},
		{"armscii-8", "\xc8\xb3\xe5\xef\xbb\xf1", "Լապտեր"},
		{"iso-8859-16", "Lumin\xe3 \xba", "Lumină ș"},
		{"iso-8859-10", "Lyhty \xbf", "Lyhty ŋ"},
	} {
		for name := range strings.FieldsSeq(c.names) {
			if got := decodeCharset(name, []byte(c.text)); got != c.want {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	}
}
