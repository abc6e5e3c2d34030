package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Mailbox is one LIST response (RFC 9051 §7.3.1).
type Mailbox struct {
	Name  string   // as on the wire
	Delim rune     // 0: names are flat
	Attrs []string // in lower case, such as `\noselect`
}

// list reads a LIST response. Nobody agrees on which bytes a name may have: one
// that is no string ends with the line. Some servers leave out what is empty.
func (a *answers) list() {
	var m Mailbox
	a.spaces()
	delim := value{}
	if a.peek() == '(' {
		for _, attr := range a.value(0).list {
			m.Attrs = append(m.Attrs, strings.ToLower(attr.text))
		}
		delim = a.delimiter()
	} else if delim = a.delimiter(); delim.kind == isNothing && !a.atEnd() && a.peek() == '"' {
		// The attributes are NIL, or missing, and this is the delimiter.
		if next := a.delimiter(); a.atEnd() {
			m.Name = next.text
		} else {
			delim = next
		}
	}
	if m.Name == "" && a.atEnd() {
		m.Name = delim.text // and there is no delimiter
	} else {
		m.Delim, _ = utf8.DecodeRuneInString(delim.text)
		if delim.text == "" {
			m.Delim = 0
		}
		if m.Name == "" {
			m.Name = a.name()
		}
	}
	if a.err != nil || m.Name == "" {
		return // "" is the root, of which some servers tell
	}
	a.h.Data(m)
}

// delimiter reads a hierarchy delimiter, also a backslash that is not escaped.
func (a *answers) delimiter() value {
	a.spaces()
	if b, err := a.r.Peek(4); err == nil && string(b) == `"\" ` {
		for range 3 {
			a.take()
		}
		return value{kind: isString, text: `\`}
	}
	return a.value(0)
}

// name reads a mailbox name up to the end of the line or to a list.
func (a *answers) name() string {
	a.spaces()
	if b := a.peek(); b == '{' || b == '~' {
		return a.value(0).text
	}
	line := a.rest(mostResponse)
	if a.err != nil {
		return ""
	}
	name, _ := cutName(line)
	return name
}

// cutName takes a name from the start of a line, and returns what is behind it:
// nothing, or a list.
func cutName(line string) (name, rest string) {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, `"`) {
		if i := strings.LastIndex(line, " ("); i > 0 && strings.HasSuffix(line, ")") {
			// The first that closes at the end, or a name with "(" in it is cut.
			if j := listAtEnd(line); j > 0 {
				return strings.TrimSpace(line[:j]), line[j:]
			}
		}
		return line, ""
	}
	end := 1
	for end < len(line) && line[end] != '"' {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	if end = min(end+1, len(line)); end < len(line) && !strings.HasPrefix(line[end:], " (") {
		end = strings.LastIndexByte(line, '"') + 1 // there are quotes in it that are not escaped
	}
	rest = line[end:]
	if line = line[1:end]; strings.HasSuffix(line, `"`) {
		line = line[:len(line)-1]
	}
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\') {
			i++
		}
		b.WriteByte(line[i])
	}
	return b.String(), strings.TrimSpace(rest)
}

// listAtEnd returns where the list begins with which the line ends, 0 if there
// is none behind something else.
func listAtEnd(line string) int {
	depth := 0
	for i := len(line) - 1; i > 0; i-- {
		switch line[i] {
		case ')':
			depth++
		case '(':
			if depth--; depth == 0 {
				if line[i-1] == ' ' {
					return i
				}
				return 0
			}
		}
	}
	return 0
}

// State is one STATUS response (RFC 9051 §7.3.4), or what there is of it.
type State struct {
	Name                           string // as on the wire
	Messages, UIDNext, UIDValidity uint32
	HasMessages                    bool
	ModSeq                         uint64 // HIGHESTMODSEQ (RFC 7162 §3.1.1); 0: not told
}

func (a *answers) state() {
	var st State
	var items string
	a.spaces()
	if b := a.peek(); b == '{' || b == '~' {
		st.Name = a.value(0).text
		items = a.rest(mostResponse)
	} else {
		st.Name, items = cutName(a.rest(mostResponse))
	}
	if a.err != nil {
		return
	}
	words := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(items))
	for i := 0; i+1 < len(words); i += 2 {
		item := strings.ToUpper(words[i])
		if item == "HIGHESTMODSEQ" {
			st.ModSeq, _ = strconv.ParseUint(words[i+1], 10, 63)
			continue
		}
		n, err := strconv.ParseUint(words[i+1], 10, 32)
		if err != nil {
			continue
		}
		switch item {
		case "MESSAGES":
			st.Messages, st.HasMessages = uint32(n), true
		case "UIDNEXT":
			st.UIDNext = uint32(n)
		case "UIDVALIDITY":
			st.UIDValidity = uint32(n)
		}
	}
	a.h.Data(st)
}

// Namespaces is the prefixes of mailboxes, as on the wire.
type Namespaces struct {
	Own    []string // of the user's
	Others []string // of other users' and shared ones
}

// namespaces reads a NAMESPACE response (RFC 9051 §7.3.3): the user's own, other
// users' and shared ones, each a list of prefix and delimiter.
func (a *answers) namespaces() {
	var n Namespaces
	for i := 0; !a.atEnd() && i < 3; i++ {
		v := a.value(0)
		for _, space := range v.list {
			if len(space.list) == 0 || space.list[0].text == "" {
				continue
			}
			if i == 0 {
				n.Own = append(n.Own, space.list[0].text)
			} else {
				n.Others = append(n.Others, space.list[0].text)
			}
		}
	}
	a.h.Data(n)
}
