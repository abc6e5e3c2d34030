package imapbackend

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestTraceOfAWord has a password that stands in what the server says.
func TestTraceOfAWord(t *testing.T) {
	var trace lockedBuffer
	s := &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "LIST") {
			return "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Secret things\"\r\n" + tag + " OK no secret\r\n"
		}
		return ""
	}}
	s.greeting = func(int) string { return "* OK [CAPABILITY " + s.caps + "] I know your secret" }
	cfg := s.start(t)
	cfg.Trace = &trace
	b := listed(t, cfg)
	b.Close()
	text := trace.String()
	for _, want := range []string{`S: * LIST () "/" "Secret things"`, " OK no secret\n", "C: H1 LOGIN [not shown]"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the trace:\n%s", want, text)
		}
	}
	if strings.Contains(text, "I know your secret") {
		t.Errorf("the trace holds what came before the login:\n%s", text)
	}
}

// TestTrace traces a real session.
func TestTrace(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		var trace lockedBuffer
		cfg.Trace = &trace
		b := connect(t, cfg)
		id, _, err := lookup(t, b, "INBOX", 2)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Structure(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		raw, err := b.Fetch(id, "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		text := trace.String()
		for _, want := range []string{" 1 S: * OK ", "[not shown]", "UID SEARCH", fmt.Sprintf("...%d bytes...", len(raw)), " 1 -- closed"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in the trace", want)
			}
		}
		for _, bad := range []string{cfg.Password, encoded("\x00" + cfg.URL.User + "\x00" + cfg.Password), "letter 2", "one of"} {
			if strings.Contains(text, bad) {
				t.Errorf("the trace holds %q", bad)
			}
		}
		line := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \d+ (C:|S:|--) `)
		for l := range strings.Lines(text) {
			if !line.MatchString(l) {
				t.Errorf("strange line %q", l)
			}
		}
		if t.Failed() {
			t.Log(text)
		}
	})
}
