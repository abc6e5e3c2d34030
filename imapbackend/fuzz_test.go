package imapbackend

import (
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"imapfs/mail"
)

// FuzzParseURL checks that a URL, written again, means the same.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"imaps://anna@example.org/", "imap://example.org:1143/a/b%20c", "imaps://a%40b@[::1]:99/%3F%23", "imaps://u;AUTH=*@h/",
		"imaps://u:secret@h/", "http://h/", "imaps://", "imaps://h/?q", "imaps:///x", "imaps://h/%2F", "imaps://[::1%25eth0]/", "://", "imAp://:::", "imap://h///", "imAp://[::%25\x8a]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("an error of two lines: %q", err)
			}
			return
		}
		again, err := ParseURL(u.String())
		if err != nil || again != u {
			t.Fatalf("%q: %+v, but %q is %+v, %v", s, u, u.String(), again, err)
		}
	})
}

var uidTwo = regexp.MustCompile(`(?i)UID 0*2\b`)

// FuzzBackend has a server that answers one kind of command with anything; TAG
// in it stands for the command's tag. Then it closes the connection.
func FuzzBackend(f *testing.F) {
	commands := []string{"LIST", "SELECT", "UID SEARCH", "UID FETCH", "CAPABILITY", "LOGIN"}
	for i, s := range []string{
		"* LIST (\\Noselect) \"/\" {3}\r\na/b\r\n* LIST () NIL \"x\"\r\nTAG OK\r\n",
		"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [PERMANENTFLAGS (\\Deleted \\*)] x\r\nTAG OK [READ-WRITE] x\r\n",
		"* ESEARCH (TAG \"TAG\") UID ALL 1:3,5\r\n* SEARCH 1 2 3\r\nTAG OK\r\n",
		"* 2 FETCH (UID 2 BODY[] {4}\r\nabcd)\r\nTAG OK\r\n",
		"* CAPABILITY IMAP4rev1 ESEARCH\r\nTAG OK\r\n",
		"TAG NO [AUTHENTICATIONFAILED] no\r\n",
	} {
		f.Add(uint8(i), []byte(s))
	}
	f.Add(uint8(3), []byte(line(2, goodStructure, goodDate)+"TAG OK\r\n"))
	f.Add(uint8(3), []byte("* 1 FETCH (UID 1 BODY[] {4}\r\nabcd UID 3)\r\n* 2 FETCH (UID 2 BODY[]<0> NIL)\r\nTAG BAD x\r\n"))
	f.Add(uint8(3), []byte("* 2 FETCH (UID 2 BODYSTRUCTURE (((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) \"mixed\") \"mixed\"))\r\nTAG OK\r\n"))
	f.Fuzz(func(t *testing.T, kind uint8, answer []byte) {
		before := runtime.NumGoroutine()
		fuzzed := commands[int(kind)%len(commands)]
		s := &script{answer: func(tag, command string) string {
			if strings.HasPrefix(command, fuzzed) {
				return strings.ReplaceAll(string(answer), "TAG", tag) + cut
			}
			return ""
		}}
		if fuzzed == "CAPABILITY" {
			s.greeting = func(int) string { return "* OK hello" }
		}
		t.Run("", func(t *testing.T) {
			cfg := s.start(t)
			cfg.Timeout = 2 * time.Second
			b, err := Connect(t.Context(), cfg)
			if err != nil {
				return
			}
			defer b.Close()
			for _, folder := range b.Folders() {
				mail.FolderName(folder.Name, true)
			}
			if _, err := b.Messages(t.Context(), "INBOX"); err != nil {
				return
			}
			b.Attr(t.Context(), msg(2))
			b.Structure(t.Context(), msg(2))
			got, err := b.Fetch(msg(2), "", 0, 1000)
			if err == nil && len(got) > 1000 {
				t.Fatal("more than was asked for")
			}
			if err == nil && fuzzed == "UID FETCH" && !uidTwo.Match(answer) {
				t.Fatalf("content %q for a message that was not sent", got)
			}
		})
		eventually(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}
