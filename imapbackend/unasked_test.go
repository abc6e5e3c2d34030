package imapbackend

import (
	"net"
	"strings"
	"testing"
)

// TestFlagsNobodyAskedFor has another client change flags while this one asks.
// What the server says of them is no answer.
func TestFlagsNobodyAskedFor(t *testing.T) {
	for _, unasked := range []string{
		`* 2 FETCH (UID 2 FLAGS (\Seen))`,
		`* 2 FETCH (FLAGS (\Seen \Flagged [odd] $x) UID 2)`,
		`* 2 FETCH (UID 2 MODSEQ (12) FLAGS ())`,
		`* 2 fetch (flags () modseq (12) uid 2)`,
		`* 2 FETCH (FLAGS (\Seen))`,
		"* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n* 3 FETCH (UID 3 FLAGS ())",
		`* 2 FETCH (UID 2 FLAGS (` + strings.Repeat(`\Seen `, 600) + `x))`,
	} {
		t.Run(unasked[:min(len(unasked), 60)], func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "UID FETCH") {
					return unasked + "\r\n" + s.usual(tag, command)
				}
				return ""
			}
			b := listed(t, s.start(t))
			if a, err := b.Attr(t.Context(), msg(2)); err != nil || a.Size == 0 {
				t.Errorf("attributes: %v, %v", a, err)
			}
			if _, err := b.Structure(t.Context(), msg(2)); err != nil {
				t.Errorf("structure: %v", err)
			}
			if got, err := b.Fetch(msg(3), "", 0, -1); err != nil || string(got) != rawMail {
				t.Errorf("content: %q, %v", got, err)
			}
			if got, want := s.count("UID FETCH"), 3; got > want || s.n != 1 {
				t.Errorf("%d FETCH on %d connections, want %d on 1", got, s.n, want)
			}
		})
	}
}

// TestSieve has answers of all kinds, in pieces of all sizes: but for the lines
// that are to go all comes through as it was.
func TestSieve(t *testing.T) {
	const gone = "* 2 FETCH (UID 7 FLAGS (\\Seen))\r\n"
	stay := "* OK [CAPABILITY IMAP4rev1] hello {5}\r\n* 3 EXISTS\r\n* 2 FETCH (UID 7 FLAGS () BODY[] {12}\r\n" + "* 2 FETCH (U)" + "\r\n" +
		"* 2 FETCH (BODY[1] NIL UID 7)\r\n* 2 FETCH (UID 7 RFC822.SIZE 12)\r\n* LIST () \"/\" {3}\r\nabc\r\n+ go\r\nT1 OK done\r\n* FLAGS (a b)\r\n* 7 EXPUNGE\r\nT2 OK x\r\n"
	stay = strings.Replace(stay, "{12}", "{13}", 1)
	all := gone
	for line := range strings.SplitAfterSeq(stay, "\r\n") {
		all += line
		if !strings.HasSuffix(line, "}\r\n") || strings.HasPrefix(line, "* OK") {
			all += gone
		}
	}
	for size := 1; size <= len(all); size++ {
		client, server := net.Pipe()
		go func() {
			for rest := all; rest != ""; {
				n := min(size, len(rest))
				server.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			server.Close()
		}()
		c := limit(client)
		var got strings.Builder
		for p := make([]byte, size%7*100+1); ; {
			n, err := c.Read(p)
			got.Write(p[:n])
			if err != nil {
				break
			}
		}
		if got.String() != stay {
			t.Fatalf("in pieces of %d: got\n%q, want\n%q", size, got.String(), stay)
		}
	}
}
