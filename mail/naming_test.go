package mail

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/graphemes"
)

func TestNumber(t *testing.T) {
	for name, want := range map[string]uint32{
		"1": 1, "4294967295": 4294967295, "4294967296": 0, "0": 0, "01": 0, "+1": 0, "-1": 0, "": 0, "1a": 0, " 1": 0, "1_0": 0, "١": 0,
	} {
		if uid, ok := ParseNumber(name); uid != want && ok || ok != (want != 0) {
			t.Errorf("%q is UID %d, %v; want %d", name, uid, ok, want)
		}
		if uid, ok := ParseName("x [" + name + "]"); uid != want && ok || ok != (want != 0) {
			t.Errorf("%q in brackets is UID %d, %v; want %d", name, uid, ok, want)
		}
	}
	for _, name := range []string{"[14]", " [14]", "x[14]", "x [14", "x [14] ", "x 14]"} {
		if uid, ok := ParseName(name); ok {
			t.Errorf("%q is UID %d", name, uid)
		}
	}
}

func naming(t *testing.T, template string) Naming {
	t.Helper()
	n, err := ParseNaming(template)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNames(t *testing.T) {
	walk := Envelope{time.Date(2025, 11, 11, 19, 0, 0, 0, time.UTC), "Ines Brandt", "Anna", "Lantern walk tonight"}
	with := func(from, subject string) Envelope { return Envelope{walk.Date, from, "", subject} }
	for _, c := range []struct {
		template string
		e        Envelope
		want     string
	}{
		{"subject", walk, "2025-11-11 Ines Brandt, Lantern walk tonight [14]"},
		{"{date} {from} {subject}", walk, "2025-11-11 Ines Brandt Lantern walk tonight [14]"},
		{"{subject}", walk, "Lantern walk tonight [14]"},
		{"<{date}>", walk, "<2025-11-11> [14]"},
		{"uid", walk, "14"},
		{"subject", Envelope{}, "14"},
		{"subject", with("", ""), "2025-11-11 no sender, no subject [14]"},
		{"subject", with("\u202e", " \t"), "2025-11-11 no sender, no subject [14]"},
		{"{subject}", with("", "../../etc/passwd"), "_.._.._etc_passwd [14]"},
		{"{subject}", with("", `C:\temp\x`), "C:_temp_x [14]"},
		{"{subject}", with("", "-rf *"), "_-rf * [14]"},
		{"{subject}", with("", "exe\u202etxt.\x00\x1b[2J"), "exetxt.[2J [14]"},
		{"{subject}", with("", "a\n\n b\t c "), "a b c [14]"},
		{"{subject}", with("", "\xff\xfe"), "\uFFFD [14]"},
		{"{from}", with(strings.Repeat("ä", 100), ""), strings.Repeat("ä", 40) + " [14]"},
	} {
		got := naming(t, c.template).Name(14, c.e)
		if got != c.want {
			t.Errorf("%s of %v: %q, want %q", c.template, c.e, got, c.want)
		}
		if uid, ok := ParseName(got); !ok || uid != 14 {
			t.Errorf("the number in %q is %d, %v", got, uid, ok)
		}
	}
}

// TestLongNames is cut between two characters as a person sees them.
func TestLongNames(t *testing.T) {
	for _, character := range []string{"a", "ß", "安", "🇩🇪", "e\u0301", "👍🏽", "각"} {
		for pad := range 8 {
			subject := strings.Repeat("x", pad) + strings.Repeat(character, 300)
			name := naming(t, "{subject}").Name(4294967295, Envelope{Subject: subject})
			stem, ok := strings.CutSuffix(name, " [4294967295]")
			if !ok || len(name) > 255 || !utf8.ValidString(name) {
				t.Fatalf("%q has %d bytes", name, len(name))
			}
			if len(name) <= 255-len(character) {
				t.Errorf("%d bytes of 255, with characters of %d: %q", len(name), len(character), name)
			}
			for g := graphemes.FromString(strings.TrimLeft(stem, "x")); g.Next(); {
				if g.Value() != character && character != "a" {
					t.Errorf("%q was cut into %q", character, g.Value())
				}
			}
		}
	}
}

func TestNoTemplate(t *testing.T) {
	for _, s := range []string{"", "names", "{uid}", "{Date}", "{date", "date}", "}{date}", "{date}/{subject}", "{date}\n", "{da{date}", "{date}\xff", "{date}\u202e"} {
		if n, err := ParseNaming(s); err == nil {
			t.Errorf("%q makes %v", s, n)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("From: a <b@c>\nSubject: x\nDate: Tue, 11 Nov 2025 10:00 +0100\n", uint32(14))
	f.Fuzz(func(t *testing.T, header string, uid uint32) {
		if uid == 0 {
			return
		}
		e := ParseEnvelope([]byte(header), time.Unix(1_700_000_000, 0))
		for _, template := range []string{"subject", "{subject}", "{from}{subject}"} {
			name := naming(t, template).Name(uid, e)
			if got, ok := ParseName(name); !ok || got != uid {
				t.Errorf("%q has the number %d, %v; want %d", name, got, ok, uid)
			}
			if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, "/\x00\n") || name[0] == '.' || name[0] == '-' {
				t.Errorf("%q is no safe name", name)
			}
			if safeText(name) != name {
				t.Errorf("%q has what no name may have", name)
			}
		}
	})
}
