package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// recorder is a Handler that keeps what it is told.
type recorder struct {
	mailboxes  []Mailbox
	states     []State
	quotas     []Quota
	rights     []MyRights
	found      []Found
	messages   []Message
	prefixes   []string
	codes      []string
	exists     []uint32
	expunged   int
	unreadable []string
	bye, alert string
}

func (r *recorder) Exists(n uint32)      { r.exists = append(r.exists, n) }
func (r *recorder) Expunged()            { r.expunged++ }
func (r *recorder) Sent(string, string)  {}
func (r *recorder) Ended(string, string) {}
func (r *recorder) Said(s Status) {
	if s.IsAlert() {
		r.alert = s.Text
	}
	switch {
	case s.Type == imap.StatusResponseTypeBye:
		r.bye = s.Text
	case s.Type == imap.StatusResponseTypeOK && s.Code != "":
		r.codes = append(r.codes, fmt.Sprint(s.Code, " ", s.Args))
	}
}
func (r *recorder) Data(data any) {
	switch data := data.(type) {
	case Mailbox:
		r.mailboxes = append(r.mailboxes, data)
	case State:
		r.states = append(r.states, data)
	case Quota:
		r.quotas = append(r.quotas, data)
	case MyRights:
		r.rights = append(r.rights, data)
	case Namespaces:
		r.prefixes = data.Others
	case Found:
		r.found = append(r.found, data)
	}
}
func (r *recorder) Message(m Message)               { r.messages = append(r.messages, m) }
func (r *recorder) MostContent() int64              { return 1000 }
func (r *recorder) Unreadable(what string, _ error) { r.unreadable = append(r.unreadable, what) }

// said is a server that says a stream, and does not listen.
type said struct {
	io.Reader
	net.Conn
}

func (s said) Read(p []byte) (int, error)       { return s.Reader.Read(p) }
func (s said) Write(p []byte) (int, error)      { return len(p), nil }
func (s said) Close() error                     { return nil }
func (s said) SetReadDeadline(time.Time) error  { return nil }
func (s said) SetWriteDeadline(time.Time) error { return nil }

// hear has a connection read a stream that comes in pieces of so many bytes; 0 for
// one piece.
func hear(stream string, size int) *Conn {
	var r io.Reader = strings.NewReader(stream)
	if size > 0 {
		r = &pieces{r, size}
	}
	line := &Line{Conn: said{Reader: r}, timeout: time.Minute}
	return &Conn{Line: line, plain: line, in: bufio.NewReader(line)}
}

type pieces struct {
	r    io.Reader
	size int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

// heard is what is made of a stream. Commands T0 to T3 are under way: the first is
// an IDLE that has got its DONE, the last one that nothing was said to.
func heard(t *testing.T, stream string, size int) (*recorder, string, error) {
	t.Helper()
	r := &recorder{}
	a := newAnswers(hear(stream, size), r)
	a.out = nil
	for _, command := range []string{"T0 IDLE\r\n", "T1 NOOP\r\n", "T2 SELECT INBOX\r\n", "T3 IDLE\r\n"} {
		a.sent([]byte(command))
	}
	out, err := io.ReadAll(a)
	return r, string(out), err
}

// TestAnswers has each kind of answer as servers give it, and as they should not.
func TestAnswers(t *testing.T) {
	list := func(name string, delim rune, attrs ...string) []Mailbox { return []Mailbox{{name, delim, attrs}} }
	for _, c := range []struct {
		line string
		get  func(*recorder) any
		want any
	}{
		{`* LIST (\HasNoChildren \Sent) "/" "Sent"`, mailboxes, list("Sent", '/', `\hasnochildren`, `\sent`)},
		{`* list () NIL INBOX`, mailboxes, list("INBOX", 0)},
		{`* LIST () "\\" a\b`, mailboxes, list(`a\b`, '\\')},
		{`* LIST () "\" "x"`, mailboxes, list("x", '\\')},
		{`* LIST () "" x`, mailboxes, list("x", 0)},
		{`* LIST () "." ".ABC"`, mailboxes, list(".ABC", '.')},
		{`* LIST () "/" "/"`, mailboxes, list("/", '/')},
		{`* LIST () "/" ""`, mailboxes, []Mailbox(nil)},
		{`* LIST () "/" "a \"b\" \\c"`, mailboxes, list(`a "b" \c`, '/')},
		{`* LIST () "/" "a"b"`, mailboxes, list(`a"b`, '/')},
		{`* LIST () "/" Foo (bar)`, mailboxes, list("Foo", '/')}, // as LIST-EXTENDED has it
		{`* LIST () "/" [Gmail]/All Mail`, mailboxes, list("[Gmail]/All Mail", '/')},
		{`* LIST () "/" "a" ("CHILDINFO" ("SUBSCRIBED"))`, mailboxes, list("a", '/')},
		{`* LIST () "/" "a" (OLDNAME ("b"))`, mailboxes, list("a", '/')},
		{`* LIST NIL "/" "a"`, mailboxes, list("a", '/')},
		{`* LIST () "a"`, mailboxes, list("a", 0)},
		{`* LIST () "/" {3}` + "\r\na\"b", mailboxes, list(`a"b`, '/')},
		{"* LIST () \"/\" \"Entw\xfcrfe\"", mailboxes, list("Entw\xfcrfe", '/')},
		{"* LIST () \"/\" Entwürfe", mailboxes, list("Entwürfe", '/')},

		{`* QUOTA "" (STORAGE 10 512 MESSAGE 3 100)`, quotas, []Quota{{"", map[string]Resource{"STORAGE": {10, 512}, "MESSAGE": {3, 100}}}}},
		{`* QUOTA (STORAGE 10 512 X)`, quotas, []Quota{{"", map[string]Resource{"STORAGE": {10, 512}}}}},
		{`* QUOTA "a" (STORAGE -1 512)`, quotas, []Quota{{"a", map[string]Resource{}}}},
		{`* QUOTA root ()`, quotas, []Quota{{"root", map[string]Resource{}}}},

		{`* MYRIGHTS INBOX lrswipkxtecdan`, rights, []MyRights{{"INBOX", "lrswipkxtecdan"}}},
		{`* MYRIGHTS "a \"b" "acdilrsw"`, rights, []MyRights{{`a "b`, "acdilrsw"}}},
		{`* MYRIGHTS a b lr`, rights, []MyRights{{"a b", "lr"}}},
		{`* MYRIGHTS {3}` + "\r\na\"b {2}\r\nlr", rights, []MyRights{{`a"b`, "lr"}}},
		{`* MYRIGHTS INBOX ""`, rights, []MyRights{{"INBOX", ""}}},
		{`* MYRIGHTS INBOX (lr)`, rights, []MyRights{{"INBOX", ""}}},
		{`* MYRIGHTS lr`, rights, []MyRights(nil)},
		{`* MYRIGHTS`, rights, []MyRights(nil)},
		{`* MYRIGHTS "a lr`, rights, []MyRights(nil)},

		{`* STATUS "a b" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 7)`, states, []State{{"a b", 3, 4, 7, true, 0}}},
		{`* STATUS a b (MESSAGES 3)`, states, []State{{"a b", 3, 0, 0, true, 0}}},
		{`* STATUS a (MESSAGES 3 HIGHESTMODSEQ 9223372036854775807)`, states, []State{{"a", 3, 0, 0, true, 1<<63 - 1}}},
		{`* STATUS a ()`, states, []State{{Name: "a"}}},
		{`* STATUS "a"`, states, []State{{Name: "a"}}},
		{`* STATUS {3}` + "\r\na\"b (UIDNEXT 4 MESSAGES 0)", states, []State{{`a"b`, 0, 4, 0, true, 0}}},

		{`* SEARCH 3 1 2 9`, found, []Found{{Ranges: []Range{{3, 3}, {1, 2}, {9, 9}}}}},
		{`* SEARCH`, found, []Found{{}}},
		{`* SEARCH 1 2 (MODSEQ 12)`, found, []Found{{Ranges: []Range{{1, 2}}}}},
		{`* SEARCH 1 x`, found, []Found{{Ranges: []Range{{1, 1}}, Broken: true}}},
		{`* ESEARCH (TAG "T1") UID ALL 5,1:3`, found, []Found{{Ranges: []Range{{5, 5}, {1, 3}}, Extended: true, Tag: "T1", UID: true}}},
		{`* ESEARCH (TAG "T1") UID COUNT 3 MIN 1 ALL 3:1 MODSEQ 9`, found, []Found{{Ranges: []Range{{1, 3}}, Extended: true, Tag: "T1", UID: true}}},
		{`* ESEARCH UID`, found, []Found{{Extended: true, UID: true}}},
		{`* ESEARCH (TAG "T1") ALL 1`, found, []Found{{Ranges: []Range{{1, 1}}, Extended: true, Tag: "T1"}}},

		{`* NAMESPACE (("" "/")) (("~" "/")) (("Public." "." "X" ("a")) ("Other." "."))`, func(r *recorder) any { return r.prefixes }, []string{"~", "Public.", "Other."}},
		{`* NAMESPACE foo`, func(r *recorder) any { return r.prefixes }, []string(nil)},

		{`* 5 EXISTS`, func(r *recorder) any { return r.exists }, []uint32{5}},
		{`* EXISTS`, func(r *recorder) any { return r.exists }, []uint32(nil)},
		{`* FETCH (UID 7 RFC822.SIZE 3)`, func(r *recorder) any { return len(r.messages) }, 0},
		{`* VANISHED (EARLIER) 1:3`, func(r *recorder) any { return r.expunged }, 1},
		{`* OK [UIDVALIDITY 7] fine`, codes, []string{"UIDVALIDITY 7"}},
		{`* OK [permanentflags (\Deleted [css3-page] \*)] fine`, codes, []string{`PERMANENTFLAGS (\Deleted [css3-page] \*)`}},
		{`* OK [ALERT] look`, func(r *recorder) any { return r.alert }, "look"},
		{`* NO [ALERT] look`, func(r *recorder) any { return r.alert }, "look"},
		{`* OK [UIDNEXT`, codes, []string(nil)},
		{`* BYE [UNAVAILABLE] so long`, func(r *recorder) any { return r.bye }, "so long"},
	} {
		t.Run(c.line, func(t *testing.T) {
			for _, end := range []string{"\r\n", "\n"} {
				for _, size := range []int{0, 1, 7} {
					r, out, err := heard(t, c.line+end+"T1 OK done"+end, size)
					if got := c.get(r); !reflect.DeepEqual(got, c.want) || out != "T1 OK done\r\n" || err != nil {
						t.Errorf("in pieces of %d: %+v, want %+v; passed on is %q, %v", size, got, c.want, out, err)
					}
				}
			}
		})
	}
}

func mailboxes(r *recorder) any { return r.mailboxes }
func states(r *recorder) any    { return r.states }
func quotas(r *recorder) any    { return r.quotas }
func rights(r *recorder) any    { return r.rights }
func found(r *recorder) any     { return r.found }
func codes(r *recorder) any     { return r.codes }

// TestFlagsOfAnyBytes has keywords that are no atoms. They cost nothing of what
// is around them.
func TestFlagsOfAnyBytes(t *testing.T) {
	for list, want := range map[string][]string{
		`(\Seen $x)`:                    {`\Seen`, "$x"},
		`()`:                            nil,
		` ( \Seen  \Answered )`:         {`\Seen`, `\Answered`},
		"(\x04Junk \\Seen)":             {"\x04Junk", `\Seen`},
		`("\\Deleted" "Café" "a\"b")`:   {`\Deleted`, "Café", `a"b`},
		`(odd(flag \Seen)`:              {"odd(flag", `\Seen`},
		`(a)b (c) d) e\f "half [x] \*)`: {"a)b", "(c)", "d)", `e\f`, `"half`, "[x]", `\*`},
		"(Entw\xfcrfe {5})":             {"Entw\xfcrfe", "{5}"},
		`NIL`:                           nil,
	} {
		for _, line := range []string{"* 2 FETCH (UID 7 FLAGS " + list + ")", "* 2 FETCH (FLAGS " + list + " UID 7)", "* 2 FETCH (FLAGS " + list + "  UID 7 BODY[] {4}\r\nabcd)"} {
			r, out, err := heard(t, line+"\r\nT1 OK done\r\n", 1)
			if len(r.messages) != 1 || !r.messages[0].HasFlags || !slices.Equal(r.messages[0].Flags, want) || r.messages[0].UID != 7 || r.messages[0].Broken || out != "T1 OK done\r\n" || err != nil {
				t.Errorf("%q: got %q, want %q; passed on is %q, %v", line, fmt.Sprint(r.messages), want, out, err)
			}
		}
	}
}

// TestFetchAnswers has what a FETCH answer says of a message, in all orders and
// with all that is odd about it.
func TestFetchAnswers(t *testing.T) {
	const date, good = `INTERNALDATE " 1-Nov-2025 12:00:00 +0100"`, `BODYSTRUCTURE ("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7bit" 4 1 NIL ("attachment" ("FILENAME" "a.txt")) NIL NIL)`
	for _, c := range []struct {
		line, want string
	}{
		{`* 2 FETCH (UID 7 RFC822.SIZE 12 ` + date + `)`, "7 12 1761994800 - []"},
		{`* 2 fetch (rfc822.size 12 uid 7)`, "7 12 - - []"},
		{`* 2 FETCH ( UID 7  RFC822.SIZE 12 )`, "7 12 - - []"},
		{`* 2 FETCH (FLAGS (\Seen [css3-page] OIB-Seen-[Gmail]/All Mail) UID 7 RFC822.SIZE 12)`, "7 12 - - []"},
		{`* 2 FETCH (UID 7 INTERNALDATE "yesterday" RFC822.SIZE 12)`, "7 12 - - [] INTERNALDATE"},
		{`* 2 FETCH (UID 7 RFC822.SIZE NIL ` + date + `)`, "7 -1 1761994800 - [] RFC822.SIZE"},
		{`* 2 FETCH (UID 7 ` + good + `)`, "7 -1 - text/plain:a.txt []"},
		{`* 2 FETCH (UID 7 BODYSTRUCTURE ("text" "plain" () NIL NIL NIL 4 1 ))`, "7 -1 - text/plain: []"},
		{`* 2 FETCH (BODYSTRUCTURE ("text" "html" ("name" "a"b") NIL NIL "7bit" 4 1) UID 7)`, "0 -1 - - [] BODYSTRUCTURE broken"},
		{`* 2 FETCH (UID 7 BODYSTRUCTURE ("text" "html" NIL NIL "7bit" 4 1) RFC822.SIZE 3)`, "7 3 - - [] BODYSTRUCTURE"},
		{`* 2 FETCH (UID 7 BODYSTRUCTURE NIL RFC822.SIZE 3)`, "7 3 - - [] BODYSTRUCTURE"},
		{`* 2 FETCH (UID 7 BODYSTRUCTURE ((("text" "plain" NIL NIL NIL "7bit" 1 1) "mixed") ("image" "gif" NIL NIL NIL "base64" 9) "mixed" ("boundary" "x")))`, "7 -1 - multipart/mixed: []"},
		{"* 2 FETCH (UID 7 BODY[] {4}\r\nabcd)", `7 -1 - - ["" -1 "abcd"]`},
		{"* 2 FETCH (BODY[]<5> {4}\r\nab)( UID 7)", `7 -1 - - ["" 5 "ab)("]`},
		{"* 2 FETCH (BODY[1.2] \"x\\\"y\" UID 7)", `7 -1 - - ["1.2" -1 "x\"y"]`},
		{"* 2 FETCH (BODY[HEADER.FIELDS (FROM \"To\")] NIL UID 7)", `7 -1 - - ["HEADER.FIELDS (FROM \"TO\")" -1 ""]`},
		{"* 2 FETCH (RFC822 {4}\r\nabcd UID 7)", `7 -1 - - ["" -1 "abcd"]`},
		{"* 2 FETCH (UID 7 BODY[]~{4}\r\na\x00cd)", `7 -1 - - ["" -1 "a\x00cd"]`},
		{"* 2 FETCH (UID 7 BODY[ ] {4}\r\nabcd)", `7 -1 - - ["" -1 "abcd"]`},
		{"* 2 FETCH (UID 7 BODY[] {2000}\r\n" + strings.Repeat("x", 2000) + " RFC822.SIZE 12)", `7 12 - - ["" -1 "" too long]`},
		{"* 2 FETCH (UID 7 BODY[] oops)", "7 -1 - - [] broken"},
		{"* 2 FETCH (UID 7 BODY[] {4}\r\nabcd X (((( RFC822.SIZE 3)", `7 -1 - - ["" -1 "abcd"] another broken`},
		{"* 2 FETCH (UID 7 X-GM-MSGID 1278 ANNOTATION (/comment (value.priv \"x\")) RFC822.SIZE 3)", "7 3 - - []"},
		{"* 2 FETCH (UID 0 RFC822.SIZE 3)", "0 3 - - []"},
	} {
		t.Run(c.line[:min(len(c.line), 100)], func(t *testing.T) {
			for _, size := range []int{0, 1, 5} {
				r, out, err := heard(t, c.line+"\r\nT1 OK done\r\n", size)
				if len(r.messages) != 1 || describe(r.messages[0]) != c.want || out != "T1 OK done\r\n" || err != nil {
					t.Fatalf("in pieces of %d: got %q, want %q; passed on is %q, %v", size, fmt.Sprint(r.messages), c.want, out, err)
				}
			}
		})
	}
	r, _, _ := heard(t, "* 2 FETCH (UID 7 RFC822.SIZE 3 UID 8)\r\n* 3 FETCH nothing\r\nT1 OK done\r\n", 0)
	if len(r.messages) != 0 || !slices.Equal(r.unreadable, []string{"FETCH", "FETCH"}) {
		t.Errorf("answers about two messages or none: %v, unreadable %q", r.messages, r.unreadable)
	}
}

func describe(m Message) string {
	date, structure := "-", "-"
	if !m.Date.IsZero() {
		date = fmt.Sprint(m.Date.Unix())
	}
	if m.Structure != nil {
		structure = m.Structure.Type + ":" + m.Structure.Filename
	}
	var sections []string
	for _, s := range m.Sections {
		text := fmt.Sprintf("%q %d %q", s.Name, s.Origin, s.Content)
		if s.TooLong {
			text += " too long"
		}
		sections = append(sections, text)
	}
	all := append([]string{fmt.Sprint(m.UID), fmt.Sprint(m.Size), date, structure, fmt.Sprint(sections)}, m.Odd...)
	if m.Broken {
		all = append(all, "broken")
	}
	return strings.Join(all, " ")
}

// TestPassedOn has what the library is to see, and what it must not.
func TestPassedOn(t *testing.T) {
	for _, c := range []struct{ stream, want string }{
		{"T1 OK\r\n", "T1 OK - \r\n"},
		{"t1 OK done\r\n", "T1 OK done\r\n"},
		{"T1 ok [READ-WRITE] done\r\n", "T1 OK done\r\n"},
		{"T1 NO [NONEXISTENT] none\r\n", "T1 NO [NONEXISTENT] none\r\n"},
		{"T1 NO [CAPABILITY (] none\r\n", "T1 NO none\r\n"},
		{"T1 OK [COPYUID 1 2:4294967295 9] x\r\n", "T1 OK x\r\n"},
		{"T1 OK [CAPABILITY (\r\n", "T1 OK - [CAPABILITY (\r\n"},
		{"T1 WHAT is this\r\n", "T1 BAD the answer is neither OK nor NO nor BAD\r\n"},
		{"T1 OK x\r\nT1 OK again\r\nT9 OK never asked\r\n", "T1 OK x\r\n"},
		{"+ go\r\n+ go\r\nT1 OK x\r\n", "+ go on\r\nT1 OK x\r\n"},
		{"T3 OK ended\r\n+ idling\r\n", "T3 NO IDLE has ended before it began\r\n"},
		{"T0 OK ended\r\n+ idling\r\n", "T0 OK ended\r\n+ go on\r\n"},
		{"+\r\nT3 OK ended\r\n", "+ go on\r\nT3 OK ended\r\n"},
		{"* FLAGS (a [css3-page] {3}\r\nabc)\r\n* ID (\"name\" NIL)\r\n* XYZZY\r\n\r\n* ENABLED X\r\n* CAPABILITY (((\r\nT1 OK x\r\n", "T1 OK x\r\n"},
		{"an odd line\r\nT1 OK x\r\n", "T1 OK x\r\n"},
		{"* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\nan odd line\r\nT1 OK x\r\n", "T1 OK x\r\n"},
	} {
		t.Run(c.stream, func(t *testing.T) {
			if _, out, err := heard(t, c.stream, 0); out != c.want || err != nil {
				t.Errorf("%q, %v, want %q", out, err, c.want)
			}
		})
	}
	// Behind a literal that was longer than its server has said all is mail.
	for _, stream := range []string{
		"* 1 FETCH (UID 1 BODY[] {3}\r\nlonger\r\nthan that\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\nT1 OK x\r\n",
		"* 1 FETCH (FLAGS (\"open {3}\r\nabc\r\nT1 OK x\r\n",
		"* XYZ {3}\r\nlonger\r\nthan that\r\nT1 OK x\r\n",
	} {
		if r, out, err := heard(t, stream, 0); !errors.Is(err, ErrMalformed) || len(out) > 0 || len(r.messages) > 1 {
			t.Errorf("%q: %q, %v, %d messages", stream, out, err, len(r.messages))
		}
	}
}

var passedOn = regexp.MustCompile(`^(\* PREAUTH \[CAPABILITY [^\]]*\] logged in|\+ go on|T\d+ (OK|NO|BAD)( \[[^\] ]+\])? [^\r\n]+)\r\n$`)

// FuzzAnswers has anything come from a server. The library reads all that is
// passed on to it, and what is said does not depend on the pieces in which it
// comes.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"T1 OK done\r\nT2 NO [X] y\r\n+ \r\nT3 OK\r\n",
		"* 1 FETCH (UID 7 BODYSTRUCTURE (((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) \"mixed\") \"mixed\") BODY[1]<3> {4}\r\nabcd)\r\nT1 OK\r\n",
		"* LIST (\\x) \"/\" {3}\r\nabc\r\n* STATUS a (MESSAGES 3)\r\n* ESEARCH (TAG \"T1\") UID ALL 1:3\r\n* SEARCH 1 2\r\nT1 OK x\r\n",
		"* 1 FETCH (FLAGS (a(b \x04 \"c ) \\Seen) UID 2)\r\n", "* NAMESPACE ((\"\" \"/\")) NIL ((\"#x\" \".\"))\r\n* OK [PERMANENTFLAGS (a ]b)] x\r\n* BYE x\r\n", "* FLAGS (\"\r\n* 1 FETCH (BODY[] {60}\r\n",
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		one, out, err := heard(t, string(stream), 0)
		other, outOther, errOther := heard(t, string(stream), int(size)+1)
		if !reflect.DeepEqual(one, other) || out != outOther || (err == nil) != (errOther == nil) {
			t.Fatalf("in one piece %+v %q %v, in others %+v %q %v", one, out, err, other, outOther, errOther)
		}
		for line := range strings.SplitAfterSeq(out, "\r\n") {
			if line != "" && !passedOn.MatchString(line) {
				t.Fatalf("passed on is %q", line)
			}
		}
		c := hear(string(stream), 0)
		client, _ := c.Client(&recorder{}) // the end may be seen before the greeting
		for range 3 {
			client.Noop()
		}
		<-client.Closed()
		if err := client.Close(); err != nil && !errors.Is(err, net.ErrClosed) && c.Fault() == nil && !bytes.Contains([]byte(err.Error()), []byte("EOF")) {
			t.Fatalf("the library gives up: %v", err)
		}
	})
}

// BenchmarkAnswers reads a FETCH of 1,000 messages of 5,500 bytes each, the mean of
// the SpamAssassin corpus.
func BenchmarkAnswers(b *testing.B) {
	var all bytes.Buffer
	content := strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 122)
	for uid := range 1000 {
		fmt.Fprintf(&all, "* %d FETCH (UID %d BODY[]<0> {%d}\r\n%s)\r\n", uid+1, uid+1, len(content), content)
	}
	all.WriteString("T1 OK done\r\n")
	b.SetBytes(int64(all.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r := &counter{}
		a := newAnswers(hear(all.String(), 0), r)
		a.sent([]byte("T1 FETCH\r\n"))
		if _, err := io.Copy(io.Discard, a); err != nil || r.n != 1000 {
			b.Fatal(r.n, err)
		}
	}
}

// counter is a Handler that takes content of any size, and counts messages.
type counter struct {
	recorder
	n int
}

func (c *counter) Message(Message)    { c.n++ }
func (c *counter) MostContent() int64 { return 1 << 20 }
