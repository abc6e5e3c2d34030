package mail

import (
	"testing"
	"time"
)

func TestParseEnvelope(t *testing.T) {
	arrived := time.Date(2025, 11, 11, 23, 30, 0, 0, time.FixedZone("", -5*3600))
	const arrivedUTC = "2025-11-12"
	for _, c := range []struct{ header, date, from, subject string }{
		{"From: Ines Brandt <ines@example.org>\r\nSubject: Lantern walk\r\n tonight\r\nDate: Tue, 11 Nov 2025 23:59:00 -0800\r\n\r\n", "2025-11-11", "Ines Brandt", "Lantern walk tonight"},
		{"FROM: \"Brandt, Ines\" <ines@example.org>, other@example.org\nsubject:\t=?utf-8?q?Gr=C3=BC=C3=9Fe?=\n", arrivedUTC, "Brandt, Ines", "Grüße"},
		{"From: Brandt, Ines <ines@example.org>\n", arrivedUTC, "Brandt, Ines", ""},
		{"From: ines@example.org\n", arrivedUTC, "ines@example.org", ""},
		{"From: <ines@example.org>\n", arrivedUTC, "ines@example.org", ""},
		{"From: \"\" <ines@example.org>\n", arrivedUTC, "ines@example.org", ""},
		{"From: ines@example.org (Ines \\(B\\) Brandt)\n", arrivedUTC, "Ines (B) Brandt", ""},
		{"From: Ines (at work) <ines@example.org>\n", arrivedUTC, "Ines", ""},
		{"From: a@example.org, b@example.org\n", arrivedUTC, "a@example.org", ""},
		{"From: ines@example.org <ines@example.org>\n", arrivedUTC, "ines@example.org", ""},
		{"From: J. R. \"Bob\" O'Neil <j@example.org>\n", arrivedUTC, "J. R. Bob O'Neil", ""},
		{"From: 'Ines Brandt' <ines@example.org>\n", arrivedUTC, "Ines Brandt", ""},
		{"From: The team: Ines <ines@example.org>, Ann <ann@example.org>;\n", arrivedUTC, "Ines", ""},
		{"From: =?iso-8859-1?Q?Br=E4ndt=2C_Ines?= <ines@example.org>\n", arrivedUTC, "Brändt, Ines", ""},
		{"From: \"=?utf-8?b?5a6J5aiK?=\" <an@example.org>\n", arrivedUTC, "安娊", ""},
		{"From: Br\xe4ndt <ines@example.org>\n", arrivedUTC, "Brändt", ""},
		{"From: nobody\n", arrivedUTC, "nobody", ""},
		{"From: Ines <ines@example.org\n", arrivedUTC, "Ines", ""},
		{"From:\nSubject:\n", arrivedUTC, "", ""},
		{"Subject: one\nSubject: two\nDate: Tue, 11 Nov 2025 10:00 +0100\n", "2025-11-11", "", "one"},
		{"Subject: a\x00b\x1b[31mc\n", arrivedUTC, "", "a b [31mc"},
		{"Date: Sat, 1 Jan 2095 00:00:00 +0000\n", arrivedUTC, "", ""}, // no clock has shown that
		{"Date: Thu, 1 Jan 1903 00:00:00 +0000\n", arrivedUTC, "", ""},
		{"Date: Thu, 13 Nov 2025 10:00:00 +1300 (NZDT)\n", "2025-11-13", "", ""},
		{"Date: 3 Mar 1999 10:00:00 GMT\n", "1999-03-03", "", ""}, // put in later
		{"Date: gestern\n", arrivedUTC, "", ""},
		{"", arrivedUTC, "", ""},
	} {
		e := ParseEnvelope([]byte(c.header), arrived)
		if got := e.Date.Format("2006-01-02"); got != c.date || e.From != c.from || e.Subject != c.subject {
			t.Errorf("%q: %s, %q, %q; want %s, %q, %q", c.header, got, e.From, e.Subject, c.date, c.from, c.subject)
		}
	}
	if e := ParseEnvelope([]byte("From: Anna <anna@example.org>\nTo: Ines Brandt <ines@example.org>, b@example.org\n"), arrived); e.To != "Ines Brandt" || e.Sent().From != "to Ines Brandt" {
		t.Errorf("of a sent message: %v, %v", e, e.Sent())
	}
	if e := ParseEnvelope([]byte("From: Anna <anna@example.org>\n"), arrived); e.Sent().From != "Anna" {
		t.Errorf("without a recipient: %v", e.Sent())
	}
	if e := ParseEnvelope(nil, time.Time{}); !e.IsZero() {
		t.Errorf("of nothing: %v", e)
	}
	if e := ParseEnvelope([]byte("Date: Sat, 1 Jan 2095 00:00:00 +0000\n"), time.Time{}); e.Date.Year() != 2095 {
		t.Errorf("where nobody knows when it came: %v", e.Date)
	}
}
