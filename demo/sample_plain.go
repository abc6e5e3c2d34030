package demo

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// plainLetters are messages with nothing but text, and the ways to carry it.
var plainLetters = []letter{
	{
		about: "plain ASCII", date: "2022-05-03 09:12", flags: seen,
		from:    "Tomas Okafor <tomas@laternenhof.example.org>",
		subject: "Keys to the workshop",
		body:    keysText, text: keysText,
	},
	{
		about: "UTF-8 in 8bit", date: "2022-05-04 20:41", flags: []imap.Flag{imap.FlagSeen, imap.FlagAnswered},
		from:    "Ines Brandt <ines@laternenhof.example.org>",
		subject: "The bench under the plane tree",
		mime:    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
		body:    benchText, text: benchText,
	},
	{
		mailbox: "Sent", about: "quoted-printable", date: "2022-05-05 07:55", flags: seen,
		from: mara, to: "Ines Brandt <ines@laternenhof.example.org>",
		subject: "Re: The bench under the plane tree",
		mime:    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
		body:    qp(sandingText), text: sandingText,
	},
	{
		about: "base64 text", date: "2022-06-11 16:20", flags: seen,
		from:    "Toolbox <toolbox@lendinglibrary.example.com>",
		subject: "Your loan: belt sander no. 7",
		mime:    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64",
		body:    b64(loanText), text: loanText,
	},
	{
		mailbox: "INBOX/Receipts", about: "receipt in plain text", date: "2022-06-12 10:02", flags: seen,
		from:    "Schrauben & Söhne <kasse@schrauben.example.com>",
		subject: "Receipt 20220612-18",
		mime:    "Content-Type: text/plain; charset=utf-8",
		body: `200 wood screws 4x40          7.90
  1 tin of linseed oil        11.50
  3 sheets of sandpaper        2.10
-----------------------------------
    total                     21.50

Thank you. Screws can be returned, sandpaper cannot.
`,
	},
	{
		about: "uuencode in the text", date: "2022-07-01 12:00", flags: seen,
		from:    "Old Walter <walter@modem.example.com>",
		subject: "A poem, the old way",
		body:    "Mara, my program is from 1993 and so am I, at heart.\n\n" + uu("poem.txt", poemText) + "\nWalter\n",
	},
	{
		mailbox: "Lists/Repair café", about: "format=flowed", date: "2023-02-18 19:47",
		from: "Tomas Okafor <tomas@laternenhof.example.org>", to: "repair@lists.laternenhof.example.org",
		subject: "Saturday: toasters and radios",
		mime:    "Content-Type: text/plain; charset=us-ascii; format=flowed; delsp=no",
		body: "Dear all, \n" +
			"next Saturday we open at two. Please bring your toasters without the \n" +
			"crumbs, and your radios with their backs still on, so that we can see \n" +
			"how they used to look.\n" +
			"\n" +
			"> Is there coffee, and who brings the \n" +
			"> milk?\n" +
			"\n" +
			"There is, and you do.\n" +
			" From now on the door to the yard stays open.\n" +
			"-- \n" +
			"Tomas\n",
	},
	{
		mailbox: "Lists/Repair café", about: "very long lines", date: "2023-02-19 08:05",
		from: "Yuki Tanabe <yuki@laternenhof.example.org>", to: "repair@lists.laternenhof.example.org",
		subject: "Parts list without line breaks",
		mime:    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
		body: "Everything in the left cupboard, as one line: " +
			strings.Repeat("a fuse, a knob, a spring that fits nothing, ", 400) + "and one shoe.\n",
	},
	{
		about: "empty body", date: "2023-03-01 06:30", flags: seen,
		from:    "Doorbell <bell@laternenhof.example.org>",
		subject: "Somebody rang (no text)",
	},
}

const keysText = `Hello Mara,

the new keys are in the blue tin behind the kiln. Number three opens the
workshop, number five opens nothing we know of. Please do not lose five:
everybody is curious.

Tomas
`

const benchText = `Liebe Mara,

die Bank unter der Platane wackelt wieder. Müssen wir sie abschleifen und
ölen? Ich hätte am Samstag Zeit, und Tomás bringt Käsekuchen.

Grüße aus dem Hof
Ines
`

const sandingText = `Sehr gern! Schleifpapier ist da (Körnung 80 = grob, 240 = fein), Öl fehlt.
Ein Satz, der länger ist als eine Zeile in quoted-printable sein darf, und der deshalb weich umbrochen wird, ohne daß man es später sieht.

Mara
`

const loanText = `Belt sander no. 7 is yours until 25 June – we know you'll be careful.

It was lent 212 times, and came back 212 times. ✓
`

const poemText = `The lantern in the yard is lit,
the moths have come to talk of it.
`
