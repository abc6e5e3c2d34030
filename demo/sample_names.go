package demo

import (
	"mime"
	"strings"

	"golang.org/x/text/encoding/japanese"
)

// nameLetters have attachments whose names are the point.
func nameLetters() []letter {
	note := func(disposition, content string) string {
		return file("text/plain; charset=utf-8", disposition, content+"\n")
	}
	return []letter{
		{
			mailbox: "Projects/Größe & Maße", about: "RFC 2231 names", date: "2024-03-10 10:00", flags: seen,
			from: "Ines Brandt <ines@laternenhof.example.org>", subject: "Tables and plans",
			mime: `Content-Type: multipart/mixed; boundary="names"`,
			body: multi("names",
				text("Three files, named the way RFC 2231 wants it.\n"),
				note("; filename*=utf-8''Ma%C3%9Fe%20T%C3%BCr.txt", "205 x 92"),
				note(";\n filename*0*=iso-8859-1'de'Gr%F6%DFen;\n filename*1*=tabelle%20;\n filename*2=\"2024.csv\"", "a;b"),
				note("; filename*0=\"a name in \"; filename*1=\"two pieces.txt\"", "one, two"),
			),
		},
		{
			mailbox: "Projects/Größe & Maße", about: "RFC 2047 names", date: "2024-03-11 10:00", flags: seen,
			from: "Tomas Okafor <tomas@laternenhof.example.org>", subject: "Shopping lists",
			mime: `Content-Type: multipart/mixed; boundary="names"`,
			body: multi("names",
				text("RFC 2047 forbids this. Everybody does it.\n"),
				note(`; filename="=?utf-8?Q?Einkaufszettel_f=C3=BCr_M=C3=A4rz.txt?="`, "linseed oil"),
				note(`; filename="`+mime.BEncoding.Encode("iso-2022-jp", encode(japanese.ISO2022JP, "提灯.txt"))+`"`, "paper"),
				file(`text/plain; name="=?iso-8859-1?Q?Gr=FC=DFe.txt?="`, "", "only the type has the name\n"),
			),
		},
		{
			mailbox: "Projects/Größe & Maße", about: "raw 8-bit names", date: "2024-03-12 10:00", flags: seen,
			from: "Old Walter <walter@modem.example.com>", subject: "Blueprints",
			mime: `Content-Type: multipart/mixed; boundary="names"`,
			body: multi("names",
				text("Named without any rule.\n"),
				note(`; filename="Baupläne.txt"`, "in UTF-8"),
				note("; filename=\"T\xfcr\xf6ffner.txt\"", "in ISO-8859-1"),
				note("; filename=Stückliste.txt", "without quotes"),
			),
		},
		{
			about: "equal names", date: "2024-04-01 08:00",
			from: "Camera <camera@laternenhof.example.org>", subject: "Three pictures, one name",
			mime: `Content-Type: multipart/mixed; boundary="same"`,
			body: multi("same",
				text("The camera counts to one.\n"),
				file("image/png", "; filename=image.png", lantern(amber)),
				file("image/png", "; filename=image.png", lantern(moss)),
				file("image/png", "; filename=IMAGE.PNG", lantern(amber)),
				note(`; filename="image (2).png"`, "not even a picture"),
			),
		},
		{
			mailbox: "Oddities", about: "hostile names", date: "2024-04-02 04:04",
			from: "A Stranger <stranger@example.com>", subject: "Please open all of them",
			mime: `Content-Type: multipart/mixed; boundary="trap"`,
			body: multi("trap",
				text("None of these names should lead anywhere.\n"),
				note(`; filename="../../etc/passwd"`, "up and away"),
				note(`; filename="a/b"`, "a slash"),
				note(`; filename="/"`, "nothing but a slash"),
				note(`; filename="..\\..\\boot.ini"`, "backslashes"),
				note("; filename*=utf-8''bell%07escape%1B%5B2Jnul%00.txt", "control characters"),
				note("; filename*=utf-8''invoice%E2%80%AEfdp.exe", "a bidi override, which turns the rest around"),
				note("; filename*=utf-8''two%0D%0Alines.txt", "a line end"),
				note(`; filename="."`, "this directory"),
				note(`; filename=".."`, "the one above"),
				note(`; filename="`+strings.Repeat("ß", 148)+`.txt"`, "300 bytes"),
				note(`; filename=""`, "an empty name"),
				note(`; filename="   "`, "only spaces"),
				note(`; filename=".hidden"`, "hidden"),
				note(`; filename="-rf"`, "like an option"),
			),
		},
		{
			mailbox: "Oddities", about: "no name", date: "2024-04-03 08:00",
			from: "Scanner <scan@laternenhof.example.org>", subject: "Scan",
			mime: `Content-Type: multipart/mixed; boundary="anon"`,
			body: multi("anon",
				text("The scanner does not name what it finds.\n"),
				file("application/pdf", "", pdf("A nameless page")),
				file("image/png", "", lantern(moss)),
				file("application/x-laternenhof", "", "of a type that nobody knows\n"),
			),
		},
		{
			mailbox: "Oddities", about: "zero-byte attachment", date: "2024-04-04 08:00",
			from: "Yuki Tanabe <yuki@laternenhof.example.org>", subject: "All my worries",
			mime: `Content-Type: multipart/mixed; boundary="zero"`,
			body: multi("zero", text("Attached is everything I worry about.\n"), file("text/plain", "; filename=worries.txt", "")),
		},
		{
			mailbox: "Oddities", about: "only an attachment", date: "2024-04-05 08:00",
			from: "Scanner <scan@laternenhof.example.org>", subject: "Scan, without a word",
			mime: "Content-Type: application/pdf; name=scan.pdf\nContent-Disposition: attachment; filename=scan.pdf\nContent-Transfer-Encoding: base64",
			body: b64(pdf("A page without a letter")) + "\n",
		},
	}
}
