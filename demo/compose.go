package demo

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// letter is a sample message as its author thinks of it. All strings go into
// the message as they are, except for LF becoming CRLF.
type letter struct {
	mailbox string // INBOX if empty
	about   string // Message.Case
	date    string // such as "2024-03-01 18:30"
	flags   []imap.Flag

	from, to, subject string // to is Mara if empty
	mime              string // the MIME fields, one per line, if there are any
	body              string
	text              string // Message.Text

	// whole is the message from its first byte, instead of the six above.
	whole string
}

const mara = "Mara Lindqvist <mara@laternenhof.example.org>"

var seen = []imap.Flag{imap.FlagSeen}

// zone is where the Laternenhof is. A fixed one, because a machine may lack the
// table of zones.
var zone = time.FixedZone("CET", 60*60)

func (l letter) message() Message {
	date, err := time.ParseInLocation("2006-01-02 15:04", l.date, zone)
	if err != nil {
		panic("demo: sample message " + l.about + ": " + err.Error())
	}
	m := Message{Mailbox: l.mailbox, Case: l.about, Date: date, Flags: l.flags, Text: l.text}
	if m.Mailbox == "" {
		m.Mailbox = "INBOX"
	}
	whole := l.whole
	if whole == "" {
		whole = l.header(date) + "\n" + l.body
	}
	m.Raw = crlf([]byte(whole))
	return m
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9]+`)

func (l letter) header(date time.Time) string {
	to := l.to
	if to == "" {
		to = mara
	}
	h := "From: " + l.from + "\nTo: " + to + "\nSubject: " + l.subject +
		"\nDate: " + date.Format(time.RFC1123Z) +
		"\nMessage-ID: <" + strings.Trim(notInID.ReplaceAllString(l.about, "-"), "-") + "@laternenhof.example.org>\n"
	if l.mime != "" {
		h += "MIME-Version: 1.0\n" + l.mime + "\n"
	}
	return h
}

// Bodies.

// multi joins the parts of a multipart.
func multi(boundary string, parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--" + boundary + "\n" + p + "\n")
	}
	b.WriteString("--" + boundary + "--\n")
	return b.String()
}

// text is a part with plain text.
func text(s string) string { return "Content-Type: text/plain; charset=utf-8\n\n" + s }

// file is a part with an attachment in base64. fields are what follows the
// type and the word "attachment".
func file(contentType, dispositionParams, content string) string {
	return "Content-Type: " + contentType +
		"\nContent-Disposition: attachment" + dispositionParams +
		"\nContent-Transfer-Encoding: base64\n\n" + b64(content)
}

// b64 is base64 in lines of 76 characters.
func b64(s string) string {
	var lines []string
	for line := range slices.Chunk([]byte(s), 57) {
		lines = append(lines, base64.StdEncoding.EncodeToString(line))
	}
	return strings.Join(lines, "\n")
}

// qp is quoted-printable.
func qp(s string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(s)) // a strings.Builder takes everything
	w.Close()
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

// uu is uuencode, which programs used before MIME.
func uu(name, s string) string {
	char := func(v byte) byte {
		if v &= 0x3f; v != 0 {
			return ' ' + v
		}
		return '`'
	}
	var b strings.Builder
	fmt.Fprintf(&b, "begin 644 %s\n", name)
	for len(s) > 0 {
		line := s[:min(45, len(s))]
		s = s[len(line):]
		b.WriteByte(char(byte(len(line))))
		for len(line) > 0 {
			var t [3]byte
			line = line[copy(t[:], line):]
			b.Write([]byte{char(t[0] >> 2), char(t[0]<<4 | t[1]>>4), char(t[1]<<2 | t[2]>>6), char(t[2])})
		}
		b.WriteByte('\n')
	}
	b.WriteString("`\nend\n")
	return b.String()
}

// Attachments.

// lantern is a small PNG picture: a light that fades to all sides.
func lantern(c color.NRGBA) string {
	const size = 24
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			dx, dy := x-size/2, y-size/2
			c.A = uint8(max(0, 255-2*(dx*dx+dy*dy)))
			img.SetNRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic("demo: sample picture: " + err.Error())
	}
	return b.String()
}

// pdf is a one-page document with one line of ASCII text.
func pdf(line string) string {
	page := "BT /F1 18 Tf 60 760 Td (" + line + ") Tj ET"
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(page), page),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	}
	var b, xref strings.Builder
	b.WriteString("%PDF-1.4\n")
	for i, obj := range objects {
		fmt.Fprintf(&xref, "%010d 00000 n \n", b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, obj)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", xref.String(), start)
	return b.String()
}

// kilnLogSize is the size of the sample's large attachment.
const kilnLogSize = 10_000_000

// kilnLog is a table of exactly kilnLogSize bytes: the temperature of a kiln,
// every second.
func kilnLog() string {
	b := make([]byte, 0, kilnLogSize+64)
	b = append(b, "second,celsius\n"...)
	for i := 0; len(b) < kilnLogSize; i++ {
		heat := 20 + 1200*(i%86400)/86400
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, int64(heat), 10)
		b = append(b, '.', '0'+byte(i*7%10), '\n')
	}
	return string(b[:kilnLogSize])
}
