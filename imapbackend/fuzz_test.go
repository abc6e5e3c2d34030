package imapbackend

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapfs/mail"
)

// FuzzBackend has a server that answers one kind of command with anything, and
// usually all the others. TAG in it stands for the command's tag. What comes
// out must be what the server has said of that message, or what it usually
// says. Afterwards another folder is readable.
//
// An answer that does not end as it should is followed by the end of the
// connection, and is given once only for each request: else each run would wait
// for as long as a server may take to restart.
func FuzzBackend(f *testing.F) {
	commands := []string{"LIST", "SELECT INBOX", "UID SEARCH", "UID FETCH", "CAPABILITY", "LOGIN", "UID STORE", "UID EXPUNGE"}
	for kind, answers := range [][]string{
		{"* LIST (\\Noselect) \"/\" {3}\r\na/b\r\n* LIST () NIL \"x\"\r\nTAG OK\r\n"},
		{"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [PERMANENTFLAGS (\\Deleted \\*)] x\r\nTAG OK [READ-WRITE] x\r\n",
			"* 3 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\nTAG OK x\r\n", "TAG NO [NONEXISTENT] x\r\n"},
		{"* ESEARCH (TAG \"TAG\") UID ALL 1:3,5\r\nTAG OK\r\n", "* SEARCH 3 2 1\r\nTAG OK\r\n", "* ESEARCH (TAG \"TAG\") ALL 1:3\r\nTAG OK\r\n"},
		{"* 2 FETCH (UID 2 BODY[] {4}\r\nabcd)\r\nTAG OK\r\n",
			line(2, goodStructure, goodDate) + "TAG OK\r\n",
			line(2, `("text" "html" NIL NIL "7bit" 4 1)`, goodDate) + "TAG OK\r\n",
			"* 1 FETCH (UID 1 BODY[] {4}\r\nabcd UID 3)\r\n* 2 FETCH (UID 2 BODY[]<0> NIL)\r\nTAG BAD x\r\n",
			"* 2 FETCH (UID 2 FLAGS ())\r\n* 2 FETCH (BODY[] \"abc\" UID 2 RFC822.SIZE 3 INTERNALDATE " + goodDate + ")\r\nTAG OK\r\n",
			"* 1 FETCH (UID 1 BODY[] {30}\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\nTAG OK\r\n",
			"* 2 FETCH (UID 2 BODY[1] {1}\r\nx BODY[]<5> {1}\r\ny BODY[]<0> {1}\r\nz)\r\nTAG OK\r\n",
			"* 2 FETCH (UID 2 BODYSTRUCTURE (((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) \"mixed\") \"mixed\"))\r\nTAG OK\r\n",
			"* CAPABILITY IM\xb6AP4rev1(L         A",
			"* 1 FETCH (UID 1 BODY[] {4}\r\nabcd UID ", "* 1 FETCH (UID 1 BODY[] {4}\r\nabcd UID 3\x8b",
			"* 1 FETCH (UID 3 BODY[] {4}\r\nabcd UID 2)\r\nTAG OK\r\n"},
		{"* CAPABILITY IMAP4rev1 ESEARCH\r\nTAG OK\r\n", "* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=LOGIN\r\nTAG OK\r\n"},
		{"TAG NO [AUTHENTICATIONFAILED] no\r\n", "TAG NO the password \"secret\" is wrong\r\n", "TAG OK [CAPABILITY IMAP4rev1] x\r\n"},
		{"* 3 FETCH (FLAGS (\\Deleted))\r\nTAG OK\r\n", "TAG NO [NOPERM] x\r\n"},
		{"* 3 EXPUNGE\r\nTAG OK\r\n", "TAG OK\r\n", "TAG BAD x\r\n"},
	} {
		for _, answer := range answers {
			f.Add(uint8(kind), []byte(answer))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, answer []byte) {
		before := runtime.NumGoroutine()
		fuzzed := commands[int(kind)%len(commands)]
		s := &script{idle: 50 * time.Millisecond}
		var left int      // how often the answer is still to be given
		var sent []string // given
		s.answer = func(tag, command string) string {
			if left == 0 || !strings.HasPrefix(command, fuzzed) {
				return ""
			}
			text := strings.ReplaceAll(string(answer), "TAG", tag)
			sent = append(sent, text)
			if listen(text).ended {
				left--
				return text
			}
			left = 0
			return text + cut
		}
		if fuzzed == "CAPABILITY" {
			s.greeting = func(int) string { return "* OK hello" }
		}
		arm := func(n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			left = n
		}
		t.Run("", func(t *testing.T) {
			cfg := s.start(t)
			arm(2)
			b, err := Connect(t.Context(), cfg)
			if err != nil {
				if text := strings.ToLower(err.Error()); strings.Contains(text, cfg.Password) || mail.Plain(text) != text {
					t.Fatalf("an error with the password, or not fit for a terminal: %q", text)
				}
				return
			}
			defer b.Close()
			found := asked{b: b}
			found.folders = b.Folders()
			if l, err := b.Messages(t.Context(), "INBOX"); err == nil {
				found.uids = l.UIDs
				id := mail.ID{Folder: "INBOX", UIDValidity: l.UIDValidity, UID: 2}
				arm(2)
				found.attr, found.attrErr = b.Attr(t.Context(), id)
				arm(2)
				found.root, found.rootErr = b.Structure(t.Context(), id)
				arm(2)
				found.content, found.contentErr = b.Fetch(id, "", 0, 1000)
				arm(2)
				b.FetchStarts("INBOX", mail.Listing{UIDValidity: l.UIDValidity, UIDs: []uint32{1, 2, 3}}, 1000, func(uid uint32, start []byte) {
					found.starts = append(found.starts, messageStart{uid, string(start)})
				})
				arm(2)
				id.UID = 3
				b.Delete(t.Context(), id)
			}
			arm(0)
			for range 5 {
				if found.other(t) {
					break
				}
			}

			s.mu.Lock()
			defer s.mu.Unlock()
			var all said
			for _, text := range sent {
				one := listen(text)
				all.messages = append(all.messages, one.messages...)
				all.numbers = append(all.numbers, one.numbers...)
				all.names = append(all.names, one.names...)
			}
			found.sent = strings.Join(sent, "")
			found.check(t, all)
			for _, command := range s.log {
				switch f := append(strings.Fields(command), "", "", ""); {
				case f[0] == "EXPUNGE", f[0] == "CLOSE", f[0] == "UID" && (f[1] == "STORE" || f[1] == "EXPUNGE") && f[2] != "3":
					t.Fatalf("%s was sent, to delete message 3", command)
				}
			}
		})
		for range 1000 {
			if runtime.NumGoroutine() <= before {
				return
			}
			runtime.Gosched()
		}
		eventually(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// asked is what the backend gave to a fuzz test: of message 2, mostly.
type asked struct {
	b *Backend

	sent       string // by the server
	folders    []mail.Folder
	uids       []uint32
	attr       mail.Attr
	attrErr    error
	root       *mail.Part
	rootErr    error
	content    []byte
	contentErr error
	starts     []messageStart // of messages 1 to 3

	content3 []byte // of message 3 in the other folder
	otherErr error
}

type messageStart struct {
	uid  uint32
	text string
}

// other reads a message in another folder.
func (a *asked) other(t *testing.T) bool {
	l, err := a.b.Messages(t.Context(), "Other")
	if err == nil {
		a.content3, err = a.b.Fetch(mail.ID{Folder: "Other", UIDValidity: l.UIDValidity, UID: 3}, "", 0, -1)
	}
	a.otherErr = err
	return err == nil
}

// wasSent tells whether content is the first 1000 bytes of what was sent, or is
// made of the beginning of one answer and the end of another one, to the question
// what follows.
func wasSent(content string, sent []string) bool {
	return len(content) <= 1000 && slices.ContainsFunc(sent, func(first string) bool {
		rest, ok := strings.CutPrefix(content, first[:min(len(first), 1000)])
		return ok && (rest == "" || slices.ContainsFunc(sent, func(other string) bool {
			return len(other) > len(first) && strings.HasPrefix(other[len(first):], rest)
		}))
	})
}

// check compares with what the server has said, and what it usually says.
func (a *asked) check(t *testing.T, all said) {
	for _, folder := range a.folders {
		// Decoded, or with a "~" for the second of two, it was not sent as it is; and
		// one that is no string has all that the line has.
		name := strings.TrimRight(folder.Name, "~")
		isASCII := !strings.ContainsFunc(name, func(r rune) bool { return r > '~' })
		if !slices.Contains(all.names, name) && !strings.Contains(a.sent, name) && name != "INBOX" && isASCII && !strings.Contains(a.sent, "&") {
			t.Fatalf("a folder %q that was not sent", folder.Name)
		}
		mail.FolderName(folder.Name, true)
	}
	for i, uid := range a.uids {
		if uid > 3 && !all.has(uid) || uid == 0 || i > 0 && a.uids[i-1] >= uid {
			t.Fatalf("messages %d", a.uids)
		}
	}

	usual := time.Date(2001, 1, 1, 12, 0, 0, 0, time.UTC)
	sizes := []int64{0, 20}
	dates := []int64{0, usual.Unix()}
	types := []string{"text/html", mail.Parse([]byte(rawMail)).Type}
	contents := map[uint32][]string{1: {rawMail}, 2: {rawMail}, 3: {rawMail}}
	for _, m := range all.messages {
		if m.uids = slices.Compact(m.uids); len(m.uids) > 1 && !m.broken {
			continue // of neither
		}
		for uid := range contents {
			if len(m.uids) == 0 || slices.Contains(m.uids, uid) { // of one message alone it need not say
				contents[uid] = append(contents[uid], m.contents...)
			}
		}
		if len(m.uids) > 0 && !slices.Contains(m.uids, 2) {
			continue
		}
		for _, size := range m.sizes {
			if n, err := strconv.ParseInt(size, 10, 64); err == nil {
				sizes = append(sizes, n)
			}
		}
		for _, date := range m.dates {
			if d, err := time.Parse("_2-Jan-2006 15:04:05 -0700", date); err == nil {
				dates = append(dates, d.Unix())
			}
		}
		for _, bs := range m.structures {
			types = append(types, mail.NewPart("1", bs.mediaType(), nil, "", nil, "", "", 0).Type, strings.ToLower(bs.mediaType()))
		}
		for _, content := range m.contents {
			types = append(types, mail.Parse([]byte(content)).Type)
		}
	}
	if a.attrErr == nil && !a.attr.Date.IsZero() && (!slices.Contains(sizes, a.attr.Size) || !slices.Contains(dates, a.attr.Date.Unix())) {
		t.Fatalf("attributes %+v, but sizes %d and dates %d were sent", a.attr, sizes, dates)
	}
	if a.rootErr == nil && a.root != nil && !a.root.Unsure && !slices.Contains(types, a.root.Type) {
		t.Fatalf("type %q, but %q were sent", a.root.Type, types)
	}
	if a.contentErr == nil && a.content != nil && !wasSent(string(a.content), contents[2]) {
		t.Fatalf("content %q, but %q were sent", a.content, contents[2])
	}
	for _, start := range a.starts {
		if !wasSent(start.text, contents[start.uid]) {
			t.Fatalf("start %q of message %d, but %q were sent", start.text, start.uid, contents[start.uid])
		}
	}
	if a.otherErr != nil {
		t.Fatalf("another folder is not readable: %v", a.otherErr)
	}
	if a.otherErr == nil && !slices.Contains(contents[3], string(a.content3)) {
		t.Fatalf("another folder: content %q, but %q were sent", a.content3, contents[3])
	}
}
