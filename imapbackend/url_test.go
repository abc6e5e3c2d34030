package imapbackend

import (
	"strings"
	"testing"

	"imapfs/mail"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		in   string
		want URL
		out  string
	}{
		{"imaps://anna@mail.example.org/", URL{true, "anna", "", "mail.example.org", "993", ""}, "imaps://anna@mail.example.org/"},
		{"imap://anna@mail.example.org", URL{false, "anna", "", "mail.example.org", "143", ""}, "imap://anna@mail.example.org/"},
		{"imaps://mail.example.org:1993/", URL{true, "", "", "mail.example.org", "1993", ""}, "imaps://mail.example.org:1993/"},
		{"imaps://anna%40example.org@mail.example.org/", URL{true, "anna@example.org", "", "mail.example.org", "993", ""}, "imaps://anna%40example.org@mail.example.org/"},
		{"imaps://anna@mail.example.org/INBOX/Re%20ceipts/", URL{true, "anna", "", "mail.example.org", "993", "INBOX/Re ceipts"}, "imaps://anna@mail.example.org/INBOX/Re%20ceipts"},
		{"imap://anna@[::1]:1143/", URL{false, "anna", "", "::1", "1143", ""}, "imap://anna@[::1]:1143/"},
		{"imaps://anna@[::1]/", URL{true, "anna", "", "::1", "993", ""}, "imaps://anna@[::1]/"},
		{"imaps://anna;AUTH=*@mail.example.org/", URL{true, "anna", "", "mail.example.org", "993", ""}, "imaps://anna@mail.example.org/"},
		{"imaps://anna;auth=plain@mail.example.org/", URL{true, "anna", "PLAIN", "mail.example.org", "993", ""}, "imaps://anna;AUTH=PLAIN@mail.example.org/"},
	} {
		got, err := ParseURL(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseURL(%q) = %+v, %v, want %+v", c.in, got, err, c.want)
		}
		if got.String() != c.out {
			t.Errorf("%q becomes %q, want %q", c.in, got.String(), c.out)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"imaps://anna:s3cret@mail.example.org/":      "a password in the URL",
		"imaps://anna:s3cret@mail.example.org:port/": "not an IMAP URL",
		"imaps://anna@mail.example.org:65536/":       "port 65536",
		"imaps://anna@mail.example.org:0/":           "port 0",
		"https://anna@mail.example.org/":             "must begin with",
		"anna@mail.example.org":                      "must begin with",
		"imaps:///INBOX":                             "names no host",
		"imaps://anna;AUTH=GSSAPI@mail.example.org/": "AUTH=GSSAPI",
		"imaps://anna;PLAIN@mail.example.org/":       "knows ;AUTH= with SCRAM-SHA-256, PLAIN",
		"imaps://mail.example.org/INBOX?SUBJECT%20x": "nothing after them",
		"imaps://mail.example.org/INBOX#1":           "nothing after them",
	} {
		_, err := ParseURL(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseURL(%q): %v, want an error with %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

// FuzzParseURL checks that a URL, written again, means the same.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"imaps://anna@example.org/", "imap://example.org:1143/a/b%20c", "imaps://a%40b@[::1]:99/%3F%23", "imaps://u;AUTH=*@h/",
		"imaps://u:secret@h/", "http://h/", "imaps://", "imaps://h/?q", "imaps:///x", "imaps://h/%2F", "imaps://[::1%25eth0]/", "://", "imAp://:::", "imap://h///", "imAp://[::%25\x8a]",
		"imap://u;A%0A@h", "imaps://[::1%25et\u0790]", "imap://u;%1b%5b2J@h",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			if text := err.Error(); mail.Plain(text) != text {
				t.Fatalf("an error that is not fit for a terminal: %q", text)
			}
			return
		}
		again, err := ParseURL(u.String())
		if err != nil || again != u {
			t.Fatalf("%q: %+v, but %q is %+v, %v", s, u, u.String(), again, err)
		}
	})
}
