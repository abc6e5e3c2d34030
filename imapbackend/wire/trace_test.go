package wire

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// filtered runs a filter over a stream that comes in pieces of the sizes in
// cuts, again and again.
func filtered(classify func(string) (string, lineKind), stream string, cuts ...byte) string {
	var b strings.Builder
	f := filter{hide: func(text string) string { return text }, classify: classify, emit: func(line string) { b.WriteString(line + "\n") }}
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)]))
		}
		f.feed([]byte(stream[:n]))
		stream = stream[n:]
	}
	return b.String()
}

func TestTraceCommands(t *testing.T) {
	for stream, want := range map[string]string{
		"T1 CAPABILITY\r\n":                                      "T1 CAPABILITY\n",
		"T1 LOGIN \"anna\" \"secret\"\r\nT2 NOOP\r\n":            "T1 LOGIN [not shown]\nT2 NOOP\n",
		"T1 LOGIN {4}\r\nanna {6}\r\nsecret\r\nT2 NOOP\r\n":      "T1 LOGIN [not shown]\nT2 NOOP\n",
		"t1 login anna secret\r\n":                               "t1 login [not shown]\n",
		"T1 AUTHENTICATE PLAIN AGFubmEA\r\n":                     "T1 AUTHENTICATE PLAIN [not shown]\n",
		"T1 AUTHENTICATE PLAIN\r\nAGFubmEA\r\n\r\n*\r\n":         "T1 AUTHENTICATE PLAIN [not shown]\n[8 bytes]\n[0 bytes]\n[1 bytes]\n",
		"T1 SELECT {5+}\r\nINBOX (CONDSTORE)\r\nT2 NOOP\r\n":     "T1 SELECT {5} ...5 bytes... (CONDSTORE)\nT2 NOOP\n",
		"T3 UID FETCH 1:3 (UID BODY.PEEK[]<0.131072>)\r\n":       "T3 UID FETCH 1:3 (UID BODY.PEEK[]<0.131072>)\n",
		"T1 APPEND INBOX {5}\r\nhello\r\n":                       "T1 APPEND INBOX {5} ...5 bytes...\n",
		"T1 XSEND INBOX {5}\r\nhello\r\n":                        "[18 bytes]\n[5 bytes]\n",
		"no command at all\r\nS STARTTLS\r\nT1 EXAMINE \x1b\r\n": "[17 bytes]\nS STARTTLS\nT1 EXAMINE \n",
	} {
		if got := filtered(classifyCommand, stream); got != want {
			t.Errorf("%q becomes\n%s, want\n%s", stream, got, want)
		}
	}
}

func TestTraceAnswers(t *testing.T) {
	for stream, want := range map[string]string{
		"* OK [CAPABILITY IMAP4rev1] ready {5}\r\nT1 OK done\r\n":                     "* OK [CAPABILITY IMAP4rev1] ready {5}\nT1 OK done\n",
		"* 1 FETCH (UID 1 BODY[] {6}\r\nLetter)\r\n":                                  "* 1 FETCH (UID 1 BODY[] {6} ...6 bytes...)\n",
		"* 1 FETCH (BODY[1] {0}\r\n BODY[2] {3}\r\n\r\nx UID 1)\r\n* 5 EXISTS\r\n":    "* 1 FETCH (BODY[1] {0} ...0 bytes... BODY[2] {3} ...3 bytes... UID 1)\n* 5 EXISTS\n",
		"* 1 FETCH (ENVELOPE (\"date\" \"a \\\" subject\") RFC822.SIZE 5)\r\n":        "* 1 FETCH (ENVELOPE (\"...\" \"...\") RFC822.SIZE 5)\n",
		"* 1 FETCH (ENVELOPE (\"open {3}\r\nabc words)\r\nT1 OK\r\n":                  "* 1 FETCH (ENVELOPE (\"...\nT1 OK\n",
		"* LIST () \"/\" {4}\r\nName\r\n":                                             "* LIST () \"/\" {4} ...4 bytes...\n",
		"+ cj1ub25jZQ==\r\n":                                                          "+ [not shown]\n",
		"* 1 FETCH (BODY[] {3}\r\nLonger than that\r\nand more\r\n.)\r\nT1 OK\r\n":    "* 1 FETCH (BODY[] {3} ...3 bytes...ger than that\n[8 bytes]\n[2 bytes]\nT1 OK\n",
		"* 1 FETCH (BODY[] {99999999999999999999999}\r\nmail\r\n* OK mail\r\n":        "",
		"* 1 FETCH (BINARY[1] ~{2}\r\nab)\r\n":                                        "* 1 FETCH (BINARY[1] ~{2} ...2 bytes...)\n",
		"* SEARCH" + strings.Repeat(" 1234567", longestLine/8) + "\r\nT1 OK done\r\n": fmt.Sprintf("[%d bytes]\nT1 OK done\n", 8+longestLine),
	} {
		want = strings.ReplaceAll(want, "~{2}", "{2}")
		if got := filtered(classifyAnswer, stream); got != want {
			t.Errorf("%.200q becomes\n%s, want\n%s", stream, got, want)
		}
	}
}

// FuzzTrace checks that what comes out does not depend on any byte of a literal
// or of a login, nor on the pieces in which it comes.
func FuzzTrace(f *testing.F) {
	f.Add("ready", "Dear Anna,\r\n* OK secret {9}\r\n", "A1 LOGIN x", []byte{0, 3})
	f.Add("BODY[] {5", "\"", "\\", []byte{7})
	f.Fuzz(func(t *testing.T, text, literal, secret string, cuts []byte) {
		text = strings.NewReplacer("\r", "", "\n", "").Replace(text)
		other := func(s string) string { return strings.Repeat("x", len(s)) }
		same := func(what string, classify func(string) (string, lineKind), stream func(string) string, secret string) {
			t.Helper()
			want := filtered(classify, stream(other(secret)))
			if got := filtered(classify, stream(secret)); got != want {
				t.Errorf("%s %q shows: %q, without it %q", what, secret, got, want)
			}
			if got := filtered(classify, stream(secret), cuts...); got != want {
				t.Errorf("%s %q shows in pieces: %q, want %q", what, secret, got, want)
			}
		}
		same("literal", classifyAnswer, func(s string) string {
			return fmt.Sprintf("* OK %s\r\n* 1 FETCH (UID 1 BODY[] {%d}\r\n%s BODY[1] {%d}\r\n%s)\r\nT1 OK %s\r\n", text, len(s), s, len(s), s, text)
		}, literal)
		same("literal of LIST", classifyAnswer, func(s string) string {
			return fmt.Sprintf("T1 NO %s\r\n* LIST () NIL {%d}\r\n%s\r\n+ %s\r\n* OK\r\n", text, len(s), s, text)
		}, literal)
		same("literal of LOGIN", classifyCommand, func(s string) string {
			return fmt.Sprintf("T1 LOGIN {%d}\r\n%s {%d+}\r\n%s\r\nT2 NOOP\r\n", len(s), s, len(s), s)
		}, literal)
		line := strings.NewReplacer("\r", "", "\n", "", "\\", "", "\"", "").Replace(secret)
		same("quoted string of LOGIN", classifyCommand, func(s string) string {
			return "T1 LOGIN \"" + s + "\" \"" + s + "\"\r\nT2 NOOP\r\n"
		}, line)
		same("quoted string of FETCH", classifyAnswer, func(s string) string {
			return "* 1 FETCH (ENVELOPE (\"" + s + "\" NIL))\r\n* OK\r\n"
		}, line)
		encoded := base64.StdEncoding.EncodeToString([]byte(secret))
		same("SASL", classifyCommand, func(s string) string {
			return "T1 AUTHENTICATE PLAIN " + s + "\r\n" + s + "\r\nT2 NOOP\r\n"
		}, encoded)
		same("SASL challenge", classifyAnswer, func(s string) string { return "+ " + s + "\r\nT1 OK\r\n" }, encoded)

		// Garbage must do no harm, and come out the same in all pieces.
		for _, classify := range []func(string) (string, lineKind){classifyAnswer, classifyCommand} {
			all := text + "\n" + literal + "\n" + secret
			if a, b := filtered(classify, all), filtered(classify, all, cuts...); a != b {
				t.Errorf("in one piece %q, in many %q", a, b)
			}
		}
	})
}
