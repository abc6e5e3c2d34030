package demo

import "image/color"

var (
	amber = color.NRGBA{R: 255, G: 176, B: 32}
	moss  = color.NRGBA{R: 90, G: 140, B: 60}
)

// htmlLetters are messages with HTML, and with what goes along with it.
func htmlLetters() []letter {
	const newsHTML = `<html><body>
<h1>Neues aus dem Hof</h1>
<p>Der Ofen ist <b>wieder heiß</b>, und die Bienen sind zurück.</p>
<ul><li>Montag: Töpfern</li><li>Mittwoch: Löten &amp; Lachen</li></ul>
<p><a href="https://laternenhof.example.org/plan">Der ganze Plan</a></p>
</body></html>
`
	picture := func(id, name string, c color.NRGBA) string {
		return "Content-Type: image/png; name=\"" + name + "\"\n" +
			"Content-ID: <" + id + ">\n" +
			"Content-Disposition: inline; filename=\"" + name + "\"\n" +
			"Content-Transfer-Encoding: base64\n\n" + b64(lantern(c))
	}
	html := func(s string) string {
		return "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n" + qp(s)
	}

	return []letter{
		{
			mailbox: "Lists/News", about: "HTML only", date: "2023-09-01 07:00",
			from: "Laternenhof <news@laternenhof.example.org>", subject: "Neues aus dem Hof",
			mime: "Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable",
			body: qp(latin1(newsHTML)),
		},
		{
			mailbox: "Lists/News", about: "multipart/alternative", date: "2023-10-01 07:00",
			from: "Laternenhof <news@laternenhof.example.org>", subject: "October: lanterns and soup",
			mime: `Content-Type: multipart/alternative; boundary="soup"`,
			body: "This is a message in MIME format. Nobody reads this line.\n\n" + multi("soup",
				text(soupText),
				html("<p>Pumpkin soup on the <i>fifth</i>, lantern walk on the <i>eleventh</i>.</p>\n"),
			) + "Nor this one.\n",
			text: soupText,
		},
		{
			about: "text/calendar alternative", date: "2023-10-20 15:30", flags: seen,
			from: "Ines Brandt <ines@laternenhof.example.org>", subject: "Invitation: lantern walk",
			mime: "Content-Type: multipart/alternative; boundary=walk",
			body: multi("walk",
				text("Lantern walk, 11 November, 17:30, at the gate. Bring a light.\n"),
				html("<p>Lantern walk, <b>11 November, 17:30</b>, at the gate.</p>\n"),
				"Content-Type: text/calendar; charset=utf-8; method=REQUEST\n\n"+
					"BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:REQUEST\nPRODID:-//Laternenhof//Gate//EN\n"+
					"BEGIN:VEVENT\nUID:walk-2023@laternenhof.example.org\nDTSTAMP:20231020T143000Z\n"+
					"DTSTART:20231111T163000Z\nDTEND:20231111T180000Z\nSUMMARY:Lantern walk\n"+
					"LOCATION:The gate\nEND:VEVENT\nEND:VCALENDAR\n",
			),
		},
		{
			mailbox: "Lists/News", about: "related with inline images", date: "2023-11-12 10:00",
			from: "Laternenhof <news@laternenhof.example.org>", subject: "Pictures of the walk",
			mime: `Content-Type: multipart/related; type="text/html"; boundary="pictures"`,
			body: multi("pictures",
				html(`<p>Two of the lanterns: <img src="cid:amber@walk"> and <img src="cid:moss@walk"></p>`+"\n"),
				picture("amber@walk", "amber.png", amber),
				picture("moss@walk", "moss.png", moss),
			),
		},
		{
			mailbox: "INBOX/Receipts", about: "nested alternative, related and mixed", date: "2023-11-30 13:13", flags: seen,
			from:    "Glas & Licht <rechnung@glasundlicht.example.com>",
			subject: "=?utf-8?Q?Rechnung_f=C3=BCr_12_Laternengl=C3=A4ser?=",
			mime:    `Content-Type: multipart/mixed; boundary="outer"`,
			body: multi("outer",
				"Content-Type: multipart/related; boundary=\"middle\"\n\n"+multi("middle",
					"Content-Type: multipart/alternative; boundary=\"inner\"\n\n"+multi("inner",
						text("Guten Tag,\n\nim Anhang die Rechnung über 12 Laternengläser.\n"),
						html(`<p>Guten Tag, im Anhang die Rechnung. <img src="cid:logo@glas"></p>`+"\n"),
					),
					picture("logo@glas", "logo.png", amber),
				),
				file(`application/pdf; name="Rechnung.pdf"`, `; filename="Rechnung.pdf"`, pdf("Rechnung 2023-1130: 12 Glaeser, 84,00 EUR")),
			),
		},
	}
}

const soupText = `Pumpkin soup on the fifth, lantern walk on the eleventh.
Bowls are ours, spoons are yours.
`
