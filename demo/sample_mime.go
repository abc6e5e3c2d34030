package demo

import "github.com/emersion/go-imap/v2"

// mimeLetters are messages within messages, and the other multiparts.
func mimeLetters() []letter {
	const minutes = `From: Yuki Tanabe <yuki@laternenhof.example.org>
To: Ines Brandt <ines@laternenhof.example.org>
Subject: Minutes of the winter meeting
Date: Mon, 15 Jan 2024 21:10:00 +0100

We agreed on everything except the colour of the door.
`
	const plan = `From: Ines Brandt <ines@laternenhof.example.org>
To: Yuki Tanabe <yuki@laternenhof.example.org>
Subject: =?utf-8?Q?Pl=C3=A4ne?= for the door
Date: Tue, 16 Jan 2024 08:00:00 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="door"

`
	message := func(params, raw string) string { return "Content-Type: message/rfc822" + params + "\n\n" + raw }

	return []letter{
		{
			mailbox: "Archive", about: "mixed with several inline texts", date: "2024-01-10 12:00", flags: seen,
			from: "Repair list <repair@lists.laternenhof.example.org>", subject: "Two reports and a footer",
			mime: `Content-Type: multipart/mixed; boundary="=_two"`,
			body: multi("=_two",
				text("First report: the radio plays again.\n"),
				"Content-Type: image/png\nContent-Disposition: inline; filename=radio.png\nContent-Transfer-Encoding: base64\n\n"+b64(lantern(moss)),
				"Content-Type: text/plain; charset=iso-8859-1\nContent-Disposition: inline\nContent-Transfer-Encoding: 8bit\n\n"+latin1("Second report: the toaster is a theatre light now. Schön!\n"),
				"Content-Type: text/plain; charset=us-ascii\nContent-Disposition: attachment; filename=notes.txt\n\nAn attached text is not read aloud.\n",
				text("-- \nrepair list, every Saturday at two\n"),
			),
			text: "First report: the radio plays again.\n" +
				"Second report: the toaster is a theatre light now. Schön!\n" +
				"-- \nrepair list, every Saturday at two\n",
		},
		{
			mailbox: "Archive/2024", about: "attached message", date: "2024-01-15 22:00", flags: seen,
			from: "Ines Brandt <ines@laternenhof.example.org>", subject: "Fwd: Minutes of the winter meeting",
			mime: `Content-Type: multipart/mixed; boundary="fwd"`,
			body: multi("fwd", text("See below. I vote for green.\n"), message("", minutes)),
		},
		{
			mailbox: "Archive/2024", about: "attached message with an attachment", date: "2024-01-16 09:00", flags: seen,
			from: "Yuki Tanabe <yuki@laternenhof.example.org>", subject: "Fwd: Plans for the door",
			mime: `Content-Type: multipart/mixed; boundary="fwd"`,
			body: multi("fwd",
				text("Ines has drawn it. The hinge is mine.\n"),
				message("; name=\"Pläne.eml\"\nContent-Disposition: attachment; filename=\"Pläne.eml\"", plan+multi("door",
					text("The plans are attached.\n"),
					file("application/pdf", "; filename=door.pdf", pdf("The door: 2,05 m x 0,92 m, green")),
				)),
			),
		},
		{
			mailbox: "Archive/2024", about: "the message is a message", date: "2024-01-17 09:00", flags: seen,
			from: "Tomas Okafor <tomas@laternenhof.example.org>", subject: "(bounced to you)",
			mime: "Content-Type: message/rfc822",
			body: minutes,
		},
		{
			mailbox: "Lists/Repair café", about: "multipart/digest", date: "2024-02-01 00:05",
			from: "Repair list <repair@lists.laternenhof.example.org>", subject: "Digest, volume 7",
			mime: `Content-Type: multipart/digest; boundary="digest"`,
			body: multi("digest",
				"\nFrom: Tomas <tomas@laternenhof.example.org>\nSubject: Fuses\nDate: Wed, 31 Jan 2024 10:00:00 +0100\n\nWe are out of fuses.\n",
				"\nFrom: Yuki <yuki@laternenhof.example.org>\nSubject: Re: Fuses\nDate: Wed, 31 Jan 2024 10:05:00 +0100\n\nLeft cupboard, behind the shoe.\n",
				"\nFrom: Tomas <tomas@laternenhof.example.org>\nSubject: Re: Fuses\nDate: Wed, 31 Jan 2024 10:09:00 +0100\n\nWhy is there a shoe?\n",
			),
		},
		{
			about: "multipart/signed", date: "2024-02-03 17:17", flags: []imap.Flag{imap.FlagSeen, imap.FlagFlagged},
			from: "Treasurer <treasurer@laternenhof.example.org>", subject: "The till, signed",
			mime: "Content-Type: multipart/signed; micalg=pgp-sha256;\n\tprotocol=\"application/pgp-signature\"; boundary=\"signed\"",
			body: multi("signed",
				"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"+qp("In the till: 412,07 €. I have counted twice.\n"),
				"Content-Type: application/pgp-signature; name=\"signature.asc\"\nContent-Description: made up, it signs nothing\n\n"+
					"-----BEGIN PGP SIGNATURE-----\n\nTm90IGEgcmVhbCBzaWduYXR1cmUsIG9ubHkgYSBzYW1wbGUu\n=AAAA\n-----END PGP SIGNATURE-----\n",
			),
			text: "In the till: 412,07 €. I have counted twice.\n",
		},
		{
			mailbox: "Trash", about: "multipart/report", date: "2024-02-04 03:00", flags: seen,
			from: "Mail Delivery System <MAILER-DAEMON@mail.example.org>", subject: "Undelivered Mail Returned to Sender",
			mime: "Content-Type: multipart/report; report-type=delivery-status; boundary=\"report\"",
			body: multi("report",
				"Content-Type: text/plain; charset=us-ascii\nContent-Description: Notification\n\nYour message to <moths@lantern.example.org> could not be delivered:\nthe mailbox is full of moths.\n",
				"Content-Type: message/delivery-status\nContent-Description: Delivery report\n\n"+
					"Reporting-MTA: dns; mail.example.org\n\n"+
					"Final-Recipient: rfc822; moths@lantern.example.org\nAction: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 5.2.2 Mailbox full of moths\n",
				"Content-Type: text/rfc822-headers\nContent-Description: Undelivered message headers\n\n"+
					"From: "+mara+"\nTo: moths@lantern.example.org\nSubject: Please come in\nDate: Sun, 04 Feb 2024 02:59:00 +0100\n",
			),
		},
		{
			mailbox: "Archive/2024", about: "uuencode as transfer encoding", date: "2024-02-05 19:30", flags: seen,
			from: "Old Walter <walter@modem.example.com>", subject: "The poem again",
			mime: `Content-Type: multipart/mixed; boundary="modem"`,
			body: multi("modem",
				text("They told me to use MIME.\n"),
				"Content-Type: text/plain; name=poem.txt\nContent-Disposition: attachment; filename=poem.txt\nContent-Transfer-Encoding: x-uuencode\n\n"+uu("poem.txt", poemText),
			),
		},
		{
			mailbox: "Projects/Größe & Maße", about: "10 MB attachment", date: "2024-03-02 23:00",
			from: "Kiln <kiln@laternenhof.example.org>", subject: "Log of the last firing",
			mime: `Content-Type: multipart/mixed; boundary="kiln"`,
			body: multi("kiln",
				text("The kiln was on all week. Every second is in the table.\n"),
				file("text/csv; charset=us-ascii", "; filename=kiln.csv", kilnLog()),
			),
		},
	}
}
