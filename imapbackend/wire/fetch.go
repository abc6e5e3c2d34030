package wire

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"imapfs/mail"
)

// Message is one FETCH response (RFC 9051 §7.5.2), or what there is of it.
type Message struct {
	UID       uint32     // 0: not told
	Size      int64      // RFC822.SIZE; -1: not told
	Date      time.Time  // INTERNALDATE; zero: not told
	Structure *mail.Part // from BODYSTRUCTURE; nil: not told, or not readable
	Sections  []Section
	Flags     []string // as on the wire
	HasFlags  bool     // they were told
	ModSeq    uint64   // MODSEQ (RFC 7162 §3.1.4); 0: not told
	Odd       []string // items that were there and cannot be read
	Broken    bool     // what follows an odd item is lost
}

// Section is a piece of a message's content.
type Section struct {
	Name    string // as between the brackets, in upper case: "", "HEADER", "1.2"
	Origin  int64  // the offset of a partial one; -1: it does not say that it is
	Content []byte // nil: the server has it, but does not give it
	Size    int64  // of what came, in bytes
	TooLong bool   // longer than anybody has asked for: it was not kept
}

// message reads the items of a FETCH in whatever order they come.
func (a *answers) message() {
	m := Message{Size: -1}
	a.spaces()
	if a.peek() != '(' {
		a.unreadable("a FETCH without a list")
		return
	}
	a.take()
	uids, content := 0, a.h.MostContent()
	for {
		a.spaces()
		if b := a.peek(); a.err != nil || b == ')' || isEnd(b) {
			break
		}
		name := a.item()
		if a.err != nil {
			break
		}
		if section, ok := sectionName(name); ok {
			a.section(section, &content)
			if a.err == nil || len(section.Content) > 0 {
				m.Sections = append(m.Sections, *section)
			}
			continue
		}
		var v value
		if name == "FLAGS" {
			v = a.flags()
		} else {
			v = a.value(0)
		}
		if a.err != nil {
			m.Odd = append(m.Odd, knownItem(name))
			break
		}
		uid := m.UID
		if !m.set(name, v) {
			m.Odd = append(m.Odd, name)
		} else if m.UID != uid {
			uids++
		}
	}
	if uids > 1 || slices.Contains(m.Odd, "UID") {
		a.unreadable("an answer that names two messages") // it is of neither
		return
	}
	m.Broken = a.err != nil
	if a.peek() == ')' {
		a.take() // else what follows is in doubt
	}
	a.h.Message(m)
}

// set takes in one item, and tells whether it could be read.
func (m *Message) set(name string, v value) bool {
	switch name {
	case "UID":
		uid, err := strconv.ParseUint(v.text, 10, 32)
		if err == nil && uid != 0 { // 0 is as if it was not told
			m.UID = uint32(uid)
		}
		return err == nil
	case "RFC822.SIZE":
		n, err := strconv.ParseInt(v.text, 10, 64)
		if err != nil || n < 0 {
			return false
		}
		m.Size = n
	case "INTERNALDATE":
		m.Date = internalDate(v.text)
		return !m.Date.IsZero()
	case "FLAGS":
		m.Flags, m.HasFlags = nil, v.kind == isList || v.kind == isNothing
		for _, flag := range v.list {
			m.Flags = append(m.Flags, flag.text)
		}
		return m.HasFlags
	case "MODSEQ":
		if v.kind == isList && len(v.list) == 1 {
			v = v.list[0]
		}
		n, err := strconv.ParseUint(v.text, 10, 63)
		m.ModSeq = n
		return err == nil
	case "BODYSTRUCTURE":
		m.Structure = structure(v)
		return m.Structure != nil
	}
	return true
}

// knownItem is the name of an item as it can be logged: what is not known may be
// mail, behind a literal shorter than was said.
func knownItem(name string) string {
	switch name {
	case "UID", "RFC822.SIZE", "INTERNALDATE", "BODYSTRUCTURE", "FLAGS", "MODSEQ", "ENVELOPE", "BODY":
		return name
	}
	return "another"
}

// item reads the name of an item, in upper case. What is in brackets may have
// spaces and lists.
func (a *answers) item() string {
	var b []byte
	brackets := 0
	for c := a.peek(); a.err == nil && !isEnd(c); c = a.peek() {
		if brackets == 0 && (c == ' ' || c == '(' || c == ')' || c == '{' || c == '"') {
			break
		}
		switch c {
		case '[':
			brackets++
		case ']':
			brackets--
		}
		b = append(b, c)
		a.take()
	}
	if a.err == nil && len(b) == 0 {
		a.unreadable("an item without a name")
	}
	return strings.ToUpper(string(b))
}

// sectionName reads "BODY[1.2]<0>". Some servers have the older names, also when
// they were not asked for by these (RFC 3501 §7.4.2).
func sectionName(name string) (*Section, bool) {
	switch name {
	case "RFC822":
		return &Section{Name: "", Origin: -1}, true
	case "RFC822.HEADER":
		return &Section{Name: "HEADER", Origin: -1}, true
	}
	rest, ok := strings.CutPrefix(name, "BODY[")
	if !ok {
		if rest, ok = strings.CutPrefix(name, "BODY.PEEK["); !ok {
			return nil, false
		}
	}
	i := strings.LastIndexByte(rest, ']')
	if i < 0 {
		return nil, false
	}
	s := &Section{Name: strings.TrimSpace(rest[:i]), Origin: -1}
	if origin := rest[i+1:]; strings.HasPrefix(origin, "<") {
		origin, _, _ = strings.Cut(strings.Trim(origin, "<>"), ".")
		n, err := strconv.ParseInt(origin, 10, 64)
		if err != nil || n < 0 {
			return nil, false
		}
		s.Origin = n
	}
	return s, true
}

// section reads the content of one. left is how much of the message may still be
// kept.
func (a *answers) section(s *Section, left *int64) {
	a.spaces()
	if b := a.peek(); b != '{' && b != '~' {
		switch v := a.value(0); v.kind {
		case isString:
			s.Content = []byte(v.text)
			s.Size = int64(len(s.Content))
		case isWord, isList:
			a.unreadable("content that is no string")
		}
		return
	}
	size, ok := a.literalSize()
	if !ok {
		return
	}
	s.Size = size
	if s.TooLong = size > *left; s.TooLong {
		if err := a.discard(size); err != nil {
			a.fail(err)
		}
		return
	}
	if a.content += size; a.content > mostContent {
		a.fail(malformed("more than %d bytes without an end of the answer", int64(mostContent)))
		return
	}
	*left -= size
	if s.Content = a.bytes(size); s.Content == nil && size == 0 {
		s.Content = []byte{}
	}
}

// internalDate reads a date (RFC 9051 §9, date-time), zero if it is none.
func internalDate(text string) time.Time {
	for _, layout := range []string{"_2-Jan-2006 15:04:05 -0700", "_2-Jan-2006 15:04:05 MST", "_2-Jan-2006 15:04:05", "_2-Jan-2006 15:04 -0700"} {
		if t, err := time.Parse(layout, strings.TrimLeft(text, " ")); err == nil {
			return t
		}
	}
	return time.Time{}
}
