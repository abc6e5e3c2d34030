package demo

import (
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

// charsetLetters are greetings from the sister workshops, each in the charset
// that was usual there.
func charsetLetters() []letter {
	const mailbox = "Letters from abroad"
	list := []letter{
		{
			mailbox: mailbox, about: "UTF-7", date: "2023-05-20 10:00",
			from: "Museum of Mail <museum@example.com>", subject: "An exhibit",
			mime: "Content-Type: text/plain; charset=utf-7",
			body: "A mailbox that can still write UTF-7: +IKwA5AD2APw- and 1 +- 1 = 2.\n",
			text: "A mailbox that can still write UTF-7: €äöü and 1 + 1 = 2.\n",
		},
		{
			mailbox: mailbox, about: "unknown charset", date: "2023-05-21 10:00",
			from: "Captain Nemo <nemo@example.org>", subject: "From very far away",
			mime: "Content-Type: text/plain; charset=x-nautilus-9\nContent-Transfer-Encoding: 8bit",
			body: "Nobody knows this charset, yet the words are plain. Caf\xc3\xa9 at noon?\n",
			text: "Nobody knows this charset, yet the words are plain. Café at noon?\n",
		},
		{
			mailbox: mailbox, about: "says us-ascii, is UTF-8", date: "2023-05-22 10:00",
			from: "Zoë <zoe@example.org>", subject: "I only speak ASCII",
			mime: "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 8bit",
			body: "My program says ASCII, but naïve façades don’t fit into it.\n",
			text: "My program says ASCII, but naïve façades don’t fit into it.\n",
		},
		{
			mailbox: mailbox, about: "says utf-8, is ISO-8859-1", date: "2023-05-23 10:00",
			from: "Jose <jose@example.org>", subject: "I only speak UTF-8",
			mime: "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
			body: latin1("¿Mañana en el taller? La señora Núñez trae el café.\n"),
			text: "¿Mañana en el taller? La señora Núñez trae el café.\n",
		},
	}
	for _, c := range []struct {
		charset, transfer, date, from string
		enc                           encoding.Encoding
		text                          string
	}{
		{"iso-8859-1", "8bit", "2023-04-01 09:00", "Lauri <lauri@example.org>", charmap.ISO8859_1,
			"Hyvää päivää! Työpajassa paistetaan leipää.\n"},
		{"iso-8859-15", "quoted-printable", "2023-04-02 09:00", "Odile <odile@example.org>", charmap.ISO8859_15,
			"Le cœur de l'atelier coûte 12 €, et l'œuvre est à vous.\n"},
		{"windows-1252", "8bit", "2023-04-03 09:00", "Nigel <nigel@example.org>", charmap.Windows1252,
			"“Smart quotes” – and £5, €6 or 7¢ for the kettle…\n"},
		{"koi8-r", "8bit", "2023-04-04 09:00", "Pavel <pavel@example.org>", charmap.KOI8R,
			"Привет из мастерской! Самовар починен, приходите на чай.\n"},
		{"iso-2022-jp", "7bit", "2023-04-05 09:00", "Tanabe <tanabe@example.org>", japanese.ISO2022JP,
			"こんにちは、真良さん。\n提灯の修理が終わりました。\n"},
		{"shift_jis", "8bit", "2023-04-06 09:00", "Tanabe <tanabe@example.org>", japanese.ShiftJIS,
			"ソケットの表示が変わりました。来週また見ます。\n"},
		{"euc-kr", "8bit", "2023-04-07 09:00", "Han <han@example.org>", korean.EUCKR,
			"안녕하세요! 공방에서 인사드립니다.\n"},
		{"gb2312", "8bit", "2023-04-08 09:00", "Mei <mei@example.org>", simplifiedchinese.GBK,
			"你好,灯笼已经挂好了。\n"},
		{"gb18030", "base64", "2023-04-09 09:00", "Mei <mei@example.org>", simplifiedchinese.GB18030,
			"新的字符集:㐀 和 🏮 都没有问题。\n"},
		{"big5", "8bit", "2023-04-10 09:00", "Lin <lin@example.org>", traditionalchinese.Big5,
			"許功蓋的工作坊歡迎您。\n"},
		{"utf-16", "base64", "2023-04-11 09:00", "Printer <printer@example.org>", unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
			"Two bytes for every letter: ½ of them empty. 🖨\n"},
	} {
		l := letter{
			mailbox: mailbox, about: c.charset, date: c.date, from: c.from, subject: "Greetings in " + c.charset,
			mime: "Content-Type: text/plain; charset=" + c.charset + "\nContent-Transfer-Encoding: " + c.transfer,
			body: encode(c.enc, c.text), text: c.text,
		}
		// The line ends of an encoded text are part of the code.
		switch c.transfer {
		case "quoted-printable":
			l.body = qp(l.body)
		case "base64":
			l.body = b64(l.body)
		}
		list = append(list, l)
	}
	return list
}

// encode writes text in another charset.
func encode(enc encoding.Encoding, s string) string {
	out, err := enc.NewEncoder().String(s)
	if err != nil {
		panic("demo: sample text " + s + ": " + err.Error())
	}
	return out
}

func latin1(s string) string { return encode(charmap.ISO8859_1, s) }
