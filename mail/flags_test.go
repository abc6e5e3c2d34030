package mail

import (
	"errors"
	"strings"
	"testing"
)

func TestFlagsOf(t *testing.T) {
	for want, wire := range map[string][]string{
		"":                               nil,
		"Seen Flagged $Forwarded b work": {"work", `\flagged`, "b", `\SEEN`, "$Forwarded"},
		"Answered Draft Deleted NonJunk": {`\Deleted`, `\Draft`, `\Recent`, `\Answered`, "NonJunk", "nonjunk"},
		"Seen":                           {`\Seen`, "seen", `\`, "", `\Unknown`},
		"a c":                            {"a", "b b", "x\ny", "\x1b[1m", "\xff", strings.Repeat("y", 256), "c"},
	} {
		if got := FlagsOf(wire).String(); got != want {
			t.Errorf("%q: %q, want %q", wire, got, want)
		}
	}
}

func TestFlagChange(t *testing.T) {
	now := FlagsOf([]string{`\Seen`, "work", `\Deleted`})
	for _, c := range []struct{ text, add, remove string }{
		{"+Flagged -Seen\n", "Flagged", "Seen"},
		{"+seen -flagged", "", ""},
		{"+WORK", "", ""},
		{"-Deleted", "", "Deleted"},
		{"+Deleted", "", ""},
		{"Flagged", "Flagged", "Seen work"},
		{"Seen work Deleted", "", ""},
		{"Seen +a -Seen +b -a", "b", "Seen work"},
		{`\Answered $Forwarded`, "Answered $Forwarded", "Seen work"},
		{"", "", ""},
		{"\n", "", "Seen work"},
	} {
		change, err := ParseFlagChange(c.text)
		add, remove := change.Of(now)
		if err != nil || add.String() != c.add || remove.String() != c.remove {
			t.Errorf("%q: adds %q, removes %q, %v; want %q, %q", c.text, add, remove, err, c.add, c.remove)
		}
	}
	for _, bad := range []string{"+", "-", "++a", "a(b", "wörk", `\Unknown`, `a"b`, "a\x00b", `\`} {
		if c, err := ParseFlagChange(bad); !errors.Is(err, ErrFlag) {
			t.Errorf("%q: %v, %v", bad, c, err)
		}
	}
}
