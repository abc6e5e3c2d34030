package demo

import (
	"mime"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// headerLetters are messages whose header is the point.
func headerLetters() []letter {
	western := func(s string) string { return mime.QEncoding.Encode("iso-8859-1", latin1(s)) }
	koi8 := func(s string) string { return mime.BEncoding.Encode("koi8-r", encode(charmap.KOI8R, s)) }
	jis := func(s string) string { return mime.BEncoding.Encode("iso-2022-jp", encode(japanese.ISO2022JP, s)) }

	return []letter{
		{
			about: "encoded words in many charsets", date: "2023-06-24 14:00", flags: seen,
			from: western("Jürgen Größer") + " <juergen@example.org>",
			to:   mara + ",\n " + koi8("Павел") + " <pavel@example.org>,\n\t" + jis("田辺ゆき") + " <yuki@example.org>",
			subject: western("Sommerfest: Würstchen,") + "\n " + koi8("чай") + "\n " + jis("提灯") +
				"\n =?utf-8?q?and_caf=C3=A9?= =?utf-8?b?IPCfj64=?=",
			body: "A subject in four charsets, folded over four lines, for one party.\n",
		},
		{
			about: "raw UTF-8 header", date: "2023-06-25 11:11", flags: seen,
			from:    "Zoë Müller <zoë@laternenhof.example.org>",
			subject: "Danke für das schöne Fest 🏮",
			body:    "No encoded words here: the header is simply UTF-8 (RFC 6532).\n",
		},
		{
			about: "raw ISO-8859-1 header", date: "2023-06-26 11:11", flags: seen,
			from:    "Jos\xe9 <jose@example.org>",
			subject: "Ma\xf1ana otra vez",
			body:    "A header in a charset that nobody has named.\n",
		},
		{
			about: "duplicate header fields", date: "2023-07-02 08:00",
			whole: "Received: from yard.example.org by mail.example.org; Sun, 2 Jul 2023 08:00:02 +0100\n" +
				"Received: from shed.example.org by yard.example.org; Sun, 2 Jul 2023 08:00:01 +0100\n" +
				"From: Two Heads <heads@example.org>\n" +
				"Subject: I say potato\n" +
				"Subject: I say tomato\n" +
				"To: " + mara + "\n" +
				"To: Tomas Okafor <tomas@laternenhof.example.org>\n" +
				"Date: Sun, 02 Jul 2023 08:00:00 +0100\n" +
				"X-Mood: hungry\n" +
				"X-Mood: still hungry\n" +
				"\n" +
				"The kitchen rota has two authors. Both are right.\n",
		},
		{
			about: "no Date field", date: "2023-07-03 23:59",
			whole: "From: The Clock <clock@example.org>\n" +
				"To: " + mara + "\n" +
				"Subject: What time is it?\n" +
				"\n" +
				"I have stopped again. Could somebody wind me up?\n",
		},
		{
			mailbox: "Lists/Repair café", about: "folded header", date: "2023-07-04 18:00",
			whole: "From: Repair\n\tList <repair@lists.laternenhof.example.org>\n" +
				"To: repair@lists.laternenhof.example.org\n" +
				"Subject: A subject that\n goes on and on\n\tand, after a tab,\n   and three spaces, ends\n" +
				"Date: Tue,\n 04 Jul 2023\n 18:00:00 +0100\n" +
				"List-Id: Everything that can be mended\n <repair.lists.laternenhof.example.org>\n" +
				"X-Empty:\n" +
				"\n" +
				"Please keep your subjects short.\n",
		},
	}
}
