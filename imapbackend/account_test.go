package imapbackend

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"imapfs/mail"
)

// account is a scripted server that keeps what is in its folders, so that messages can be
// counted. twist may have it do otherwise: do carries a command out and returns the usual
// answer. It keeps no UIDs of what comes unless it has UIDPLUS.
type account struct {
	script
	boxes    map[string]*stock
	selected string
	twist    func(tag, command string, do func() string) string
	noCode   bool // no APPENDUID and COPYUID
}

type stock struct {
	validity, next uint32
	messages       map[uint32]*stored
}

type stored struct {
	raw, date string
	flags     string // each with a space before it
	deleted   bool
}

// letterOf is message n of INBOX. All have one size and date.
func letterOf(n int) string {
	return fmt.Sprintf("Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\ntext\r\n", n, n)
}

func newAccount(caps string) *account {
	a := &account{boxes: map[string]*stock{
		"INBOX":   {7, 4, map[uint32]*stored{}},
		"Archive": {9, 5, map[uint32]*stored{3: {raw: letterOf(0), date: `"01-Jan-2001 12:00:00 +0000"`}}},
		"Drafts":  {11, 1, map[uint32]*stored{}},
	}}
	for n := 1; n <= 3; n++ {
		a.boxes["INBOX"].messages[uint32(n)] = &stored{raw: letterOf(n), date: `"01-Jan-2001 12:00:00 +0000"`}
	}
	a.caps = "IMAP4rev1 " + caps
	a.answer = func(tag, command string) string {
		if tag == "" {
			if a.twist != nil {
				return a.twist("", command, func() string { return "" })
			}
			return ""
		}
		do := func() string { return a.do(tag, command) }
		if a.twist != nil {
			return a.twist(tag, command, do)
		}
		return do()
	}
	return a
}

func (a *account) put(to string, m stored) uint32 {
	b := a.boxes[to]
	m.deleted = false
	b.messages[b.next] = &m
	b.next++
	return b.next - 1
}

func (b *stock) uids() []uint32 { return slices.Sorted(maps.Keys(b.messages)) }

func (a *account) do(tag, command string) string {
	ok := tag + " OK done\r\n"
	verb, args, _ := strings.Cut(strings.TrimPrefix(command, "UID "), " ")
	args = strings.ReplaceAll(args, `"`, "")
	b := a.boxes[a.selected]
	var uid uint32
	fmt.Sscanf(args, "%d", &uid)
	_, target, _ := strings.Cut(args, " ")
	switch verb {
	case "LIST":
		return "* LIST () \"/\" INBOX\r\n* LIST () \"/\" Archive\r\n* LIST (\\Drafts) \"/\" Drafts\r\n" + ok
	case "SELECT":
		b = a.boxes[args]
		a.selected = args
		return fmt.Sprintf("* %d EXISTS\r\n* OK [UIDVALIDITY %d] x\r\n* OK [UIDNEXT %d] x\r\n* OK [PERMANENTFLAGS (\\Deleted \\Seen)] x\r\n%s", len(b.messages), b.validity, b.next, ok)
	case "STATUS":
		name, _, _ := strings.Cut(args, " ")
		b = a.boxes[name]
		return fmt.Sprintf("* STATUS %s (UIDVALIDITY %d UIDNEXT %d)\r\n%s", name, b.validity, b.next, ok)
	case "SEARCH":
		_, of, isOne := strings.Cut(args, "UID ")
		fmt.Sscanf(of, "%d", &uid)
		found := ""
		for _, n := range b.uids() {
			if !isOne || n == uid {
				found += fmt.Sprint(" ", n)
			}
		}
		return "* SEARCH" + found + "\r\n" + ok
	case "FETCH":
		return a.fetched(b, args) + ok
	case "STORE":
		if b.messages[uid] != nil {
			a.store(b.messages[uid], args)
		}
		return ok
	case "EXPUNGE":
		if m := b.messages[uid]; m != nil && m.deleted {
			i := slices.Index(b.uids(), uid) + 1
			delete(b.messages, uid)
			return fmt.Sprintf("* %d EXPUNGE\r\n", i) + ok
		}
		return ok
	case "COPY", "MOVE":
		m := b.messages[uid]
		if m == nil {
			return ok
		}
		to := a.put(target, *m)
		code := fmt.Sprintf("[COPYUID %d %d %d] ", a.boxes[target].validity, uid, to)
		if a.noCode || !strings.Contains(a.caps, "UIDPLUS") {
			code = ""
		}
		if verb == "COPY" {
			return tag + " OK " + code + "done\r\n"
		}
		i := slices.Index(b.uids(), uid) + 1
		delete(b.messages, uid)
		return fmt.Sprintf("* OK %smoving\r\n* %d EXPUNGE\r\n", code, i) + ok
	case "APPEND":
		name, rest, _ := strings.Cut(args, " ")
		date := `"02-Feb-2002 12:00:00 +0000"`
		if _, after, found := strings.Cut(rest, ") "); found && after[0] != '{' {
			date = `"` + after[:strings.Index(after, " {")] + `"`
		}
		to := a.put(name, stored{raw: a.letters[len(a.letters)-1], date: date})
		if a.noCode || !strings.Contains(a.caps, "UIDPLUS") {
			return ok
		}
		return fmt.Sprintf("%s OK [APPENDUID %d %d] done\r\n", tag, a.boxes[name].validity, to)
	}
	return a.usual(tag, command)
}

func (a *account) store(m *stored, args string) {
	_, list, _ := strings.Cut(args, "(")
	for flag := range strings.FieldsSeq(strings.TrimSuffix(list, ")")) {
		if flag == `\Deleted` {
			m.deleted = strings.Contains(args, "+FLAGS")
			continue
		}
		m.flags = strings.ReplaceAll(m.flags, " "+flag, "")
		if strings.Contains(args, "+FLAGS") {
			m.flags += " " + flag
		}
	}
}

func (a *account) fetched(b *stock, args string) string {
	var out strings.Builder
	set, _, _ := strings.Cut(args, " ")
	for i, uid := range b.uids() {
		asked := false
		for r := range strings.SplitSeq(set, ",") {
			var lo, hi uint32
			if n, _ := fmt.Sscanf(r, "%d:%d", &lo, &hi); n == 1 {
				hi = lo
			}
			asked = asked || lo <= uid && uid <= hi
		}
		if !asked {
			continue
		}
		m := b.messages[uid]
		fmt.Fprintf(&out, "* %d FETCH (UID %d RFC822.SIZE %d INTERNALDATE %s", i+1, uid, len(m.raw), m.date)
		if strings.Contains(args, "FLAGS") {
			fmt.Fprintf(&out, " FLAGS (%s)", strings.TrimSpace(m.flags))
		}
		if strings.Contains(args, "BODYSTRUCTURE") {
			out.WriteString(" BODYSTRUCTURE " + goodStructure)
		}
		for name, content := range map[string]string{"HEADER": string(mail.SplitHeader([]byte(m.raw))), "": m.raw} {
			if strings.Contains(args, "BODY.PEEK["+name+"]") {
				fmt.Fprintf(&out, " BODY[%s] {%d}\r\n%s", name, len(content), content)
			}
		}
		out.WriteString(")\r\n")
	}
	return out.String()
}

// changing returns what was sent that changes something, up to a literal.
func (a *account) changing() (sent []string) {
	for _, c := range a.since("") {
		verb, _, _ := strings.Cut(strings.TrimPrefix(c, "UID "), " ")
		if slices.Contains([]string{"MOVE", "COPY", "STORE", "EXPUNGE", "APPEND"}, verb) {
			sent = append(sent, strings.ReplaceAll(c, `"`, ""))
		}
	}
	return sent
}

// where returns in which folders a message is, and how often.
func (a *account) where(raw string) (places []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(a.boxes)) {
		for _, m := range a.boxes[name].messages {
			if m.raw == raw {
				places = append(places, name)
			}
		}
	}
	return places
}

func (a *account) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// listed lists INBOX and Archive.
func (a *account) listed(t *testing.T) *Backend {
	t.Helper()
	b := listed(t, a.start(t))
	if _, err := b.Messages(t.Context(), "Archive"); err != nil {
		t.Fatal(err)
	}
	return b
}

// agrees compares what is listed with what there is.
func (a *account) agrees(t *testing.T, b *Backend, folder string) {
	t.Helper()
	l, err := b.Messages(t.Context(), folder)
	a.mu.Lock()
	defer a.mu.Unlock()
	if want := a.boxes[folder].uids(); err != nil || !slices.Equal(l.UIDs, want) {
		t.Errorf("%s is listed as %v, %v; there is %v", folder, l.UIDs, err, want)
	}
}
