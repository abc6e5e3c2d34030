package imapbackend

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// oddMail is longer than the pieces in which these tests ask for it.
var oddMail = "Subject: x\r\n\r\n" + strings.Repeat("0123456789\r\n", 20)

var (
	partialFetch = regexp.MustCompile(`BODY\.PEEK\[\]<(\d+)\.(\d+)>`)
	wholeFetch   = regexp.MustCompile(`BODY\.PEEK\[(\w*)\]\)`)
)

// oddContent answers a FETCH of content of message 2 by partial, which gets the
// offset and the length, or by whole.
func oddContent(partial func(off, n int) string, whole func(section string) string) *script {
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case !strings.HasPrefix(command, "UID FETCH"):
			return ""
		case partialFetch.MatchString(command):
			m := partialFetch.FindStringSubmatch(command)
			off, _ := strconv.Atoi(m[1])
			n, _ := strconv.Atoi(m[2])
			return strings.ReplaceAll(partial(off, n), "TAG", tag)
		case wholeFetch.MatchString(command):
			return strings.ReplaceAll(whole(wholeFetch.FindStringSubmatch(command)[1]), "TAG", tag)
		}
		return fmt.Sprintf("* 2 FETCH (UID 2 RFC822.SIZE %d INTERNALDATE %s)\r\n%s OK x\r\n", len(oddMail), goodDate, tag)
	}
	return s
}

func fetchLine(name, content string) string {
	return fmt.Sprintf("* 2 FETCH (UID 2 BODY[%s {%d}\r\n%s)\r\nTAG OK x\r\n", name, len(content), content)
}

// TestOddPartial has servers that give something else than the part of a message
// that they are asked for. Nobody gets a wrong byte, or an end that is none.
func TestOddPartial(t *testing.T) {
	cut := func(off, n int) string { return oddMail[min(off, len(oddMail)):min(off+n, len(oddMail))] }
	good := func(off, n int) string { return fetchLine(fmt.Sprintf("]<%d>", off), cut(off, n)) }
	whole := func(section string) string {
		switch section {
		case "HEADER":
			return fetchLine("HEADER]", oddMail[:14])
		case "TEXT":
			return fetchLine("TEXT]", oddMail[14:])
		}
		return fetchLine("]", oddMail)
	}
	no := func(string) string { return "TAG NO not that\r\n" }
	for _, c := range []struct {
		name    string
		partial func(off, n int) string
		whole   func(string) string
		fails   bool
	}{
		{"as it should be", good, no, false},
		{"all of it without an origin", func(int, int) string { return fetchLine("]", oddMail) }, no, false},
		{"all of it from 0", func(int, int) string { return fetchLine("]<0>", oddMail) }, no, false},
		{"no origin", func(off, n int) string { return fetchLine("]", cut(off, n)) }, whole, false},
		{"less", func(off, n int) string { return good(off, min(n, 7)) }, no, false},
		{"less, then NIL", func(off, n int) string {
			if off > 20 {
				return "* 2 FETCH (UID 2 BODY[] NIL)\r\nTAG OK x\r\n"
			}
			return good(off, min(n, 7))
		}, whole, false},
		{"from another origin, with all that is wanted", func(off, n int) string {
			return fetchLine(fmt.Sprintf("]<%d>", off/2), cut(off/2, off-off/2+n))
		}, whole, false},
		{"from behind it", func(off, n int) string { return fetchLine(fmt.Sprintf("]<%d>", off+1), cut(off+1, n)) }, whole, false},
		{"nothing", func(int, int) string { return "TAG OK x\r\n" }, whole, false},
		{"an empty string", func(off, n int) string { return good(off, 0) }, whole, false},
		{"a refusal", func(int, int) string { return "TAG NO x\r\n" }, whole, false},
		{"data and a refusal", func(off, n int) string { return strings.Replace(good(off, n), "TAG OK", "TAG NO", 1) }, no, false},
		{"nothing at all", func(int, int) string { return "TAG OK x\r\n" }, no, true},
		{"only header and text", func(int, int) string { return "TAG NO x\r\n" }, func(section string) string {
			if section == "" {
				return "TAG NO x\r\n"
			}
			return whole(section)
		}, false},
		{"cut, but for header and text", func(off, n int) string { return good(off, min(n, max(100-off, 0))) }, func(section string) string {
			if section == "" {
				return fetchLine("]", oddMail[:100])
			}
			return whole(section)
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := listed(t, oddContent(c.partial, c.whole).start(t))
			if _, err := b.Attr(t.Context(), msg(2)); err != nil {
				t.Fatal(err)
			}
			const piece = 50
			var all strings.Builder
			for {
				got, err := b.Fetch(msg(2), "", int64(all.Len()), piece)
				if err != nil {
					if !c.fails || !errors.Is(err, mail.ErrRefused) {
						t.Errorf("behind %d bytes: %v", all.Len(), err)
					}
					return
				}
				all.Write(got)
				if len(got) < piece {
					break
				}
			}
			if all.String() != oddMail || c.fails {
				t.Errorf("got %d bytes of %d, or others", all.Len(), len(oddMail))
			}
		})
	}
}

// TestOddPartialOfPart has servers that give less of a part than they are asked for,
// but all of it to who asks for that.
func TestOddPartialOfPart(t *testing.T) {
	content := strings.Repeat("0123456789\r\n", 20)
	const piece = 50
	for _, c := range []struct {
		name string
		much func(off, n int) int // of what there is
	}{
		{"all", func(_, n int) int { return n }},
		{"nothing", func(int, int) int { return 0 }},
		{"nothing behind the first piece", func(off, n int) int {
			if off > 0 {
				return 0
			}
			return n
		}},
		{"nothing behind the last but one", func(off, n int) int {
			if off >= 4*piece {
				return 0
			}
			return n
		}},
		{"a byte less", func(_, n int) int { return n - 1 }},
		{"a few", func(_, n int) int { return min(n, 7) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fetchAnswer(func(uid int) string {
				return line(uid, fmt.Sprintf(`("application" "pdf" NIL NIL NIL "base64" %d)`, len(content)), goodDate)
			})
			others := s.answer
			s.answer = func(tag, command string) string {
				answer := ""
				if _, part, isPart := strings.Cut(command, "BODY.PEEK[1]<"); isPart {
					var off, n int
					fmt.Sscanf(part, "%d.%d", &off, &n)
					from := min(off, len(content))
					answer = fetchLine(fmt.Sprintf("1]<%d>", off), content[from:min(from+c.much(off, n), len(content))])
				} else if strings.Contains(command, "BODY.PEEK[1])") {
					answer = fetchLine("1]", content)
				} else {
					return others(tag, command)
				}
				return strings.ReplaceAll(answer, "TAG", tag)
			}
			b := listed(t, s.start(t))
			if _, err := b.Structure(t.Context(), msg(2)); err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for {
				got, err := b.Fetch(msg(2), "1", int64(all.Len()), piece)
				if err != nil {
					t.Fatalf("behind %d bytes: %v", all.Len(), err)
				}
				all.Write(got)
				if len(got) < piece {
					break
				}
			}
			if all.String() != content {
				t.Errorf("got %d bytes of %d, or others", all.Len(), len(content))
			}
		})
	}
}

// TestPartThatEndsEarly has a part that ends a little before its server has said: it
// was counted wrong, or its message has gone while it was read, though SEARCH finds
// it. Then the bytes that came before are not there any more either.
func TestPartThatEndsEarly(t *testing.T) {
	const here, claimed, piece = 100, 110, 50
	for name, gone := range map[string]bool{"counted wrong": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			s := fetchAnswer(func(uid int) string {
				return line(uid, fmt.Sprintf(`("application" "pdf" NIL NIL NIL "base64" %d)`, claimed), goodDate)
			})
			others, asked := s.answer, 0
			s.answer = func(tag, command string) string {
				_, part, isPart := strings.Cut(command, "BODY.PEEK[1]<")
				if !isPart {
					return others(tag, command)
				}
				var off, n int
				fmt.Sscanf(part, "%d.%d", &off, &n)
				n = max(0, min(n, here-off))
				if asked++; gone && asked > 1 {
					n = 0
				}
				return fmt.Sprintf("* 2 FETCH (UID 2 BODY[1]<%d> {%d}\r\n%s)\r\n%s OK x\r\n", off, n, strings.Repeat("x", n), tag)
			}
			b := listed(t, s.start(t))
			if _, err := b.Structure(t.Context(), msg(2)); err != nil {
				t.Fatal(err)
			}
			for off := int64(0); off <= here; off += piece {
				got, err := b.Fetch(msg(2), "1", off, piece)
				switch {
				case gone && off > 0:
					if !errors.Is(err, mail.ErrNotFound) {
						t.Fatalf("at %d: %d bytes, %v, want not found", off, len(got), err)
					}
				case err != nil || int64(len(got)) != min(piece, here-off):
					t.Fatalf("at %d: %d bytes, %v", off, len(got), err)
				}
			}
		})
	}
}

// TestOneBadMessage has a server that fails whenever it is asked for message 30 of
// 60, in several ways. The others come, with few commands, and it is left in peace
// for a while.
func TestOneBadMessage(t *testing.T) {
	const messages, bad = 60, 30
	for name, answer := range map[string]string{"NO": "TAG NO Server error\r\n", "BAD": "TAG BAD what\r\n", "nothing": "TAG OK done\r\n", "the end": cut} {
		t.Run(name, func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "SELECT"):
					return fmt.Sprintf("* %d EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT %d] x\r\n%s OK x\r\n", messages, messages+1, tag)
				case strings.HasPrefix(command, "UID SEARCH"):
					return fmt.Sprintf("* ESEARCH (TAG %q) UID ALL 1:%d\r\n%s OK x\r\n", tag, messages, tag)
				case !strings.HasPrefix(command, "UID FETCH"):
					return ""
				}
				var b strings.Builder
				for uid := 1; uid <= messages; uid++ {
					if !inSet(strings.Fields(command)[2], uid) {
						continue
					}
					if uid == bad {
						return strings.ReplaceAll(answer, "TAG", tag)
					}
					if strings.Contains(command, "BODY.PEEK[]") {
						b.WriteString(body(uid, rawMail))
					} else {
						fmt.Fprintf(&b, "* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE %s)\r\n", uid, uid, len(rawMail), goodDate)
					}
				}
				return b.String() + tag + " OK x\r\n"
			}
			b := listed(t, s.start(t))
			l, err := b.Messages(t.Context(), "INBOX")
			if err != nil || len(l.UIDs) != messages {
				t.Fatal(l, err)
			}
			b.Describe("INBOX", l)
			got := make(map[uint32]bool)
			starts := func() {
				b.FetchStarts("INBOX", l, 1000, func(uid uint32, start []byte) { got[uid] = string(start) == rawMail })
			}
			starts()
			for uid := range uint32(messages) {
				uid++
				if _, known, err := b.Known(msg(uid)); err != nil || !known && uid != bad {
					t.Errorf("message %d is not described: %v", uid, err)
				}
				if content, err := b.Fetch(msg(uid), "", 0, 1000); (err == nil) != (uid != bad) || err == nil && string(content) != rawMail {
					t.Errorf("message %d: %q, %v", uid, content, err)
				}
			}
			if name != "nothing" && len(got) != messages-1 {
				t.Errorf("%d messages came with the others", len(got))
			}
			asked := len(s.since("UID FETCH"))
			if asked > 5*messages { // with those of further connections
				t.Errorf("%d commands", asked)
			}
			starts()
			b.Describe("INBOX", l)
			if _, err := b.Fetch(msg(bad), "", 0, 1000); !errors.Is(err, mail.ErrRefused) {
				t.Errorf("once more: %v", err)
			}
			if again := s.since("UID FETCH")[asked:]; len(again) > 3 || slices.ContainsFunc(again, func(c string) bool {
				return name != "nothing" && strings.HasPrefix(c, "UID FETCH") && inSet(strings.Fields(c)[2], bad)
			}) {
				t.Errorf("the bad one was asked for again at once: %q", again)
			}
		})
	}
}

// inSet tells whether a sequence set has uid.
func inSet(set string, uid int) bool {
	for r := range strings.SplitSeq(set, ",") {
		lo, hi, isRange := strings.Cut(r, ":")
		a, _ := strconv.Atoi(lo)
		b, _ := strconv.Atoi(hi)
		if !isRange {
			b = a
		}
		if a <= uid && uid <= b {
			return true
		}
	}
	return false
}

// TestOddLists has folders with names of all kinds, among others. Each is there,
// and is selected by what the server has called it.
func TestOddLists(t *testing.T) {
	for listed, want := range map[string]struct{ name, selects string }{
		`"&BBAEMQQyACYEMwQ0BDU-"`:  {"Абв&где", `"&BBAEMQQyACYEMwQ0BDU-"`}, // "&" is no character for base64
		`"Entw&APw-rfe"`:           {"Entwürfe", `"Entw&APw-rfe"`},
		`"Tom & Ann"`:              {"Tom & Ann", `"Tom & Ann"`},
		`"Tom &- Ann"`:             {"Tom & Ann", `"Tom &- Ann"`},
		`"&abc"`:                   {"&abc", `"&abc"`},
		`"&AGE-"`:                  {"a", `"&AGE-"`}, // needs no base64
		"\"Entw\xfcrfe\"":          {"Entwürfe", "\"Entw\xfcrfe\""},
		"\"Entwürfe\"":             {"Entwürfe", "\"Entwürfe\""},
		`[Gmail]/Alle Nachrichten`: {"[Gmail]/Alle Nachrichten", `"[Gmail]/Alle Nachrichten"`},
		`"a \"b\" \\c"`:            {`a "b" \c`, `"a \"b\" \\c"`},
		`".ABCDEFG"`:               {".ABCDEFG", `".ABCDEFG"`},
		`"/"`:                      {"/", `"/"`},
		"{3}\r\na&b":               {"a&b", `"a&b"`},
	} {
		t.Run(listed, func(t *testing.T) {
			s := &script{answer: func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "LIST"):
					return "* LIST () \"/\" INBOX\r\n* LIST () \"/\" " + listed + "\r\n* LIST () \"/\" \"\"\r\n* LIST ((( \"x\r\n* LIST () \"/\" Other\r\n" + tag + " OK x\r\n"
				case strings.HasPrefix(command, "SELECT") && !strings.Contains(command, want.selects):
					return tag + " NO no such folder\r\n"
				}
				return ""
			}}
			b := connect(t, s.start(t))
			var names []string
			for _, f := range b.Folders() {
				names = append(names, f.Name)
			}
			sorted := []string{"INBOX", "Other", want.name}
			slices.Sort(sorted)
			if !slices.Equal(names, sorted) {
				t.Errorf("folders %q, want %q", names, sorted)
			}
			if l, err := b.Messages(t.Context(), want.name); err != nil || len(l.UIDs) != 3 {
				t.Errorf("%v, %v; sent was %q", l, err, s.since("SELECT"))
			}
		})
	}
}

// TestListThatIsShort has a server list all folders, and then fewer than there are.
func TestListThatIsShort(t *testing.T) {
	for name, answer := range map[string]string{"nothing": "TAG OK x\r\n", "some and NO": "* LIST () \"/\" INBOX\r\nTAG NO only these\r\n"} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			s := &script{}
			s.answer = func(tag, command string) string {
				if !strings.HasPrefix(command, "LIST") {
					return ""
				}
				if asked++; asked > 1 {
					return strings.ReplaceAll(answer, "TAG", tag)
				}
				return "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Entw\xfcrfe\"\r\n* LIST () \"/\" Other\r\n" + tag + " OK x\r\n"
			}
			b := connect(t, s.start(t))
			before := b.Folders()
			b.listFolders(t.Context(), nil)
			if asked != 2 || len(before) != 3 || !slices.Equal(b.Folders(), before) || b.wireName("Entwürfe") != "Entw\xfcrfe" {
				t.Errorf("%d times: %v, then %v", asked, before, b.Folders())
			}
		})
	}
}

// TestSameName has two folders whose names read the same.
func TestSameName(t *testing.T) {
	folders, wires := folderNames([]wire.Mailbox{{Name: "Entw\xfcrfe"}, {Name: "Entwürfe"}, {Name: "Entw&APw-rfe"}, {Name: "inbox"}, {Name: "INBOX"}}, nil, nil)
	var names []string
	for _, f := range folders {
		names = append(names, f.Name+"="+wires[f.Name])
	}
	if want := []string{"Entwürfe=Entw&APw-rfe", "INBOX=", "Entwürfe~=Entwürfe", "Entwürfe~~=Entw\xfcrfe", "INBOX~=inbox"}; !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(want))) {
		t.Errorf("%q, want %q", names, want)
	}
}

// TestOddSearches has servers that do not tell the messages of a folder in the way
// that they offer. Another one is found, and stays in use.
func TestOddSearches(t *testing.T) {
	fetch := "* 1 FETCH (UID 1 RFC822.SIZE 20)\r\n* 2 FETCH (RFC822.SIZE 20 UID 2)\r\n* 3 FETCH (UID 3 RFC822.SIZE 20)\r\nTAG OK x\r\n"
	for _, c := range []struct{ name, extended, plain, fetch string }{
		{"ESEARCH is refused", "TAG NO [SERVERBUG] x\r\n", "* SEARCH 3 1 2\r\nTAG OK x\r\n", ""},
		{"ESEARCH without UID", "* ESEARCH (TAG \"TAG\") ALL 1:3\r\nTAG OK x\r\n", "* SEARCH 1 2\r\n* SEARCH 3\r\nTAG OK x\r\n", ""},
		{"no ESEARCH comes", "TAG OK x\r\n", "* SEARCH 1 2 3\r\nTAG OK x\r\n", ""},
		{"SEARCH instead", "* SEARCH 1 2 3\r\nTAG OK x\r\n", "", ""},
		{"with additions", "* ESEARCH (TAG \"TAG\") UID MIN 1 COUNT 3 ALL 3,1:2 MODSEQ 7\r\nTAG OK x\r\n", "", ""},
		{"both are refused", "TAG BAD x\r\n", "TAG NO x\r\n", fetch},
		{"ESEARCH is the end", cut, "* SEARCH 1 2 3\r\nTAG OK x\r\n", ""},
		{"too few", "* ESEARCH (TAG \"TAG\") UID ALL 3\r\nTAG OK x\r\n", "", fetch},
		{"none", "* ESEARCH (TAG \"TAG\") UID\r\nTAG OK x\r\n", "", fetch},
		{"nonsense", "* ESEARCH (TAG \"TAG\") UID ALL x\r\nTAG OK x\r\n", "* SEARCH a b\r\nTAG OK x\r\n", fetch},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{}
			s.answer = func(tag, command string) string {
				answer := ""
				switch {
				case strings.HasPrefix(command, "UID SEARCH RETURN"):
					answer = c.extended
				case strings.HasPrefix(command, "UID SEARCH"):
					answer = c.plain
				case strings.HasPrefix(command, "UID FETCH"):
					answer = c.fetch
				}
				return strings.ReplaceAll(answer, "TAG", tag)
			}
			b := connect(t, s.start(t))
			if l, err := b.Messages(t.Context(), "INBOX"); err != nil || !slices.Equal(l.UIDs, []uint32{1, 2, 3}) {
				t.Fatalf("%v, %v", l, err)
			}
			before := s.count("UID SEARCH RETURN")
			if l, err := b.Messages(t.Context(), "Other"); err != nil || !slices.Equal(l.UIDs, []uint32{1, 2, 3}) {
				t.Errorf("%v, %v", l, err)
			}
			if again := s.count("UID SEARCH RETURN") > before; again != (c.plain == "") {
				t.Errorf("ESEARCH once more: %v", again)
			}
		})
	}
}

// TestKnocking has a server let everybody in and throw them out at the next
// command. The pauses between the logins grow.
func TestKnocking(t *testing.T) {
	for name, answer := range map[string]string{"the end": cut, "BYE": "* BYE go away\r\n" + cut} {
		t.Run(name, func(t *testing.T) {
			var logins []time.Time
			s := &script{}
			s.answer = func(_, command string) string {
				if command, _, _ := strings.Cut(command, " "); command == "LOGIN" {
					logins = append(logins, time.Now())
				} else if len(logins) > 1 && command != "CAPABILITY" {
					return answer
				}
				return ""
			}
			cfg := s.start(t)
			cfg.Poll = 20 * time.Millisecond
			b := connect(t, cfg)
			s.mu.Lock()
			for _, c := range s.conns {
				c.Close()
			}
			s.mu.Unlock()
			const most = 6
			s.waitFor(t, most, "LOGIN")
			b.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			// At least half of 0.2, 0.4, 0.8 and 1.6 seconds.
			if took := logins[most-1].Sub(logins[1]); took < 1500*time.Millisecond {
				t.Errorf("%d logins in %v", most-1, took)
			}
		})
	}
}

// TestIdleThatCounts has a server tell the same number of messages at the start of
// each IDLE, or another one that is not true.
func TestIdleThatCounts(t *testing.T) {
	for name, count := range map[string]func(n int) int{"the same": func(int) int { return 3 }, "another": func(n int) int { return 3 + n%2 }} {
		t.Run(name, func(t *testing.T) {
			idles := 0
			s := &script{caps: idleCaps}
			s.answer = func(_, command string) string {
				if command == "IDLE" {
					idles++
					return fmt.Sprintf("+ idling\r\n* OK Still here\r\n* %d EXISTS\r\n* 0 RECENT\r\n", count(idles))
				}
				return ""
			}
			cfg := s.start(t)
			cfg.Poll = 10 * time.Millisecond
			listed(t, cfg)
			// An IDLE behind a poll begins after 0.3 seconds.
			s.waitFor(t, 20, "IDLE")
			if n := s.count("UID SEARCH"); n > 8 {
				t.Errorf("%d times UID SEARCH beside 20 IDLE", n)
			}
		})
	}
}

// TestEmptyPart has a part that is empty, of which the server says more.
func TestEmptyPart(t *testing.T) {
	s := fetchAnswer(func(uid int) string {
		return line(uid, `("application" "pdf" NIL NIL NIL "base64" 2)`, goodDate)
	})
	others := s.answer
	s.answer = func(tag, command string) string {
		switch {
		case strings.Contains(command, "BODY.PEEK[1]<"):
			return fmt.Sprintf("* 2 FETCH (UID 2 BODY[1]<0> \"\")\r\n%s OK x\r\n", tag)
		case strings.Contains(command, "BODY.PEEK[]<0.1>"):
			return fmt.Sprintf("* 2 FETCH (UID 2 BODY[]<0> \"M\")\r\n%s OK x\r\n", tag)
		}
		return others(tag, command)
	}
	b := listed(t, s.start(t))
	if _, err := b.Structure(t.Context(), msg(2)); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Fetch(msg(2), "1", 0, 50); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}
