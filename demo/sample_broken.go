package demo

// brokenLetters are messages that break the rules, and some that lie in folders
// with difficult names.
var brokenLetters = []letter{
	{
		mailbox: "Oddities", about: "only a header", date: "2024-05-01 09:00",
		whole: "From: Half <half@example.org>\nTo: " + mara + "\nSubject: I stopped after the header\nDate: Wed, 01 May 2024 09:00:00 +0100\n",
	},
	{
		mailbox: "Oddities", about: "no header", date: "2024-05-02 09:00",
		whole: "\nThis message begins with an empty line, so it has no header at all.\nIt was found in a bottle.\n",
	},
	{
		mailbox: "Oddities", about: "missing final boundary", date: "2024-05-03 09:00",
		from: "Interrupted <hello@example.org>", subject: "The line went dead",
		mime: `Content-Type: multipart/mixed; boundary="cut"`,
		body: "--cut\nContent-Type: text/plain\n\nThe text is whole.\n--cut\n" +
			"Content-Type: text/plain; charset=utf-8\nContent-Disposition: attachment; filename=rest.txt\n\n" +
			"The attachment ends where the line went dea",
	},
	{
		mailbox: "Oddities", about: "multipart without parts", date: "2024-05-04 09:00",
		from: "Hollow <hollow@example.org>", subject: "A box with nothing in it",
		mime: `Content-Type: multipart/mixed; boundary="nowhere"`,
		body: "The boundary that was promised never comes.\n",
	},
	{
		mailbox: "Oddities", about: "multipart without a boundary", date: "2024-05-05 09:00",
		from: "Hollow <hollow@example.org>", subject: "A box without walls",
		mime: "Content-Type: multipart/alternative",
		body: "--guess\nContent-Type: text/plain\n\nMy boundary is not in the header.\n--guess--\n",
	},
	{
		mailbox: "Oddities", about: "broken Content-Type", date: "2024-05-06 09:00",
		from: "Stammer <stammer@example.org>", subject: "What type am I?",
		mime: "Content-Type: text; charset=;; =x",
		body: "Read as plain text, this is fine.\n",
		text: "Read as plain text, this is fine.\n",
	},
	{
		mailbox: "Oddities", about: "broken base64", date: "2024-05-07 09:00",
		from: "Stammer <stammer@example.org>", subject: "A part was eaten",
		mime: `Content-Type: multipart/mixed; boundary="eaten"`,
		body: multi("eaten",
			text("The moths have been at the attachment.\n"),
			"Content-Type: text/plain\nContent-Disposition: attachment; filename=eaten.txt\nContent-Transfer-Encoding: base64\n\n"+
				"VGhlIG1vdGhzIGF0\n*** moth ***\nZSB0aGUgcmVzdA",
		),
	},
	{
		mailbox: "Oddities", about: "a line that is no header field", date: "2024-05-08 09:00",
		whole: "From: Mumble <mumble@example.org>\n" +
			"this line has no business in a header\n" +
			"Subject: Something slipped in between\n" +
			"Date: Wed, 08 May 2024 09:00:00 +0100\n" +
			"\n" +
			"The header went on after it.\n",
	},
	{
		mailbox: "Projects/..", about: "a folder named ..", date: "2024-06-01 12:00",
		from: "Tomas Okafor <tomas@laternenhof.example.org>", subject: "The folder that leads nowhere",
		body: "Whoever named this folder had a sense of humour.\n",
	},
	{
		mailbox: "Projects/100% recycled", about: "a folder with a percent sign", date: "2024-06-02 12:00",
		from: "Ines Brandt <ines@laternenhof.example.org>", subject: "Paper from paper",
		body: "We can make 40 sheets from one week of junk mail.\n",
	},
	{
		mailbox: "日本のともだち", about: "a folder in Japanese", date: "2024-06-03 12:00",
		from: "Yuki Tanabe <yuki@laternenhof.example.org>", subject: "=?utf-8?B?5aSP56Wt44KK?=",
		mime: "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
		body: "夏祭りの写真を送ります。提灯がとてもきれいでした。\n",
		text: "夏祭りの写真を送ります。提灯がとてもきれいでした。\n",
	},
	{
		mailbox: "Archive/2023", about: "a folder of digits", date: "2023-12-31 23:58", flags: seen,
		from: mara, subject: "The year in one line",
		body: "Mended: 61 lamps, 14 radios, one argument.\n",
	},
	{
		mailbox: "Lists/2022", about: "a folder of digits below one without messages", date: "2022-12-24 18:00", flags: seen,
		from: "Repair list <repair@lists.laternenhof.example.org>", subject: "The list moves",
		body: "From January on, the list has a name instead of a number.\n",
	},
	{
		about: "the newest message", date: "2025-11-11 17:30",
		from: "Ines Brandt <ines@laternenhof.example.org>", subject: "Lantern walk tonight",
		body: "Half past five, at the gate. Key number five fits the lantern box.\nEverybody is delighted.\n",
	},
}
