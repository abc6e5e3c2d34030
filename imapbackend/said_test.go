package imapbackend

import (
	"regexp"
	"strconv"
	"strings"
)

// said is what the answers of a server say, as read by a parser of the tests'
// own, which takes nothing over from the library.
type said struct {
	messages []described
	numbers  []string // of SEARCH and ESEARCH
	names    []string // strings and atoms of LIST
	ended    bool     // the last answer is a tagged one
}

// described is one FETCH.
type described struct {
	uids       []uint32
	contents   []string // of BODY[]
	sizes      []string
	dates      []string
	structures []token
	broken     bool // it is cut, or not what the grammar allows: whoever is strict sees less of it
}

// token is an atom, a string or a list in an answer (RFC 9051 §9).
type token struct {
	text   string
	quoted bool // or a literal
	isList bool
	list   []token
}

var (
	wholeBody    = regexp.MustCompile(`(?i)^(BODY(\.PEEK)?\[\](<[^>]*>)?|RFC822)$`)
	literalSize  = regexp.MustCompile(`^\{(\d{1,9})\+?\} *\r?\n`)
	notGrammar   = regexp.MustCompile(`  |\( |\)[^ )\r\n]`)
	taggedAnswer = regexp.MustCompile(`(?i)^T\d+ (OK|NO|BAD)\b`)
)

// listen reads answers. Of one that is not IMAP it takes what can be read, and goes
// on in the next line.
func listen(stream string) (s said) {
	for stream != "" {
		s.ended = false
		line, after, whole := strings.Cut(stream, "\n")
		words := strings.Fields(strings.ToUpper(strings.ReplaceAll(line, "(", " (")))
		if len(words) == 0 {
			stream = after
			continue
		}
		isText := words[0] != "*"
		if len(words) > 1 {
			switch words[1] {
			case "OK", "NO", "BAD", "BYE", "PREAUTH":
				isText = true
			}
		}
		if isText {
			s.ended = whole && taggedAnswer.MatchString(line)
			stream = after
			continue
		}
		answer, rest, ok := readTokens(stream, 0)
		broken := !ok || notGrammar.MatchString(stream[:len(stream)-len(rest)])
		stream = rest
		s.take(answer, broken) // also if it is cut: what was said before counts
		if !ok {
			_, stream, _ = strings.Cut(rest, "\n")
		}
	}
	return s
}

func (s *said) take(answer []token, broken bool) {
	kind := func(i int, word string) bool {
		return len(answer) > i && !answer[i].quoted && strings.EqualFold(answer[i].text, word)
	}
	switch {
	case kind(1, "SEARCH"), kind(1, "ESEARCH"):
		for _, t := range answer[2:] {
			s.numbers = append(s.numbers, strings.Split(t.text, ",")...)
		}
	case kind(1, "LIST"):
		for _, t := range answer[2:] {
			s.names = append(s.names, t.text)
		}
	case kind(2, "FETCH") && len(answer) > 3:
		d := described{broken: broken}
		items := answer[3].list
		for i := 0; i+1 < len(items); i++ {
			name, value := strings.ToUpper(items[i].text), items[i+1]
			switch {
			case items[i].quoted:
			case name == "UID":
				if n, err := strconv.ParseUint(value.text, 10, 32); err == nil {
					d.uids = append(d.uids, uint32(n))
				}
			case name == "RFC822.SIZE":
				d.sizes = append(d.sizes, value.text)
			case name == "INTERNALDATE":
				d.dates = append(d.dates, value.text)
			case name == "BODYSTRUCTURE", name == "BODY":
				d.structures = append(d.structures, value)
			case wholeBody.MatchString(name) && value.quoted:
				d.contents = append(d.contents, value.text)
			}
		}
		s.messages = append(s.messages, d)
	}
}

// readTokens reads up to the end of the answer, or of the list at a depth.
func readTokens(s string, depth int) (list []token, rest string, ok bool) {
	for s != "" {
		switch c := s[0]; c {
		case ' ', '\r', '\t':
			s = s[1:]
		case '\n':
			return list, s[1:], depth == 0
		case ')':
			return list, s[1:], depth > 0
		case '(':
			t := token{isList: true}
			t.list, s, ok = readTokens(s[1:], depth+1)
			list = append(list, t)
			if !ok || depth > 1000 {
				return list, s, false
			}
		case '"':
			var b strings.Builder
			i := 1
			for ; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
				if i >= len(s) || s[i] == '\r' || s[i] == '\n' {
					return list, s, false
				}
				b.WriteByte(s[i])
			}
			if i >= len(s) {
				return list, s, false
			}
			s = s[i+1:]
			list = append(list, token{text: b.String(), quoted: true})
			if !separated(s) {
				return list, s, false
			}
		case '{':
			m := literalSize.FindStringSubmatch(s)
			if m == nil {
				return list, s, false
			}
			n, _ := strconv.Atoi(m[1])
			if s = s[len(m[0]):]; len(s) < n {
				return list, s, false
			}
			list = append(list, token{text: s[:n], quoted: true})
			if s = s[n:]; !separated(s) {
				return list, s, false
			}
		default:
			if strings.HasPrefix(s, "~{") { // RFC 3516
				s = s[1:]
				continue
			}
			i := strings.IndexAny(s, " \t\r\n()\"{")
			if i < 0 {
				return list, s, false
			}
			list = append(list, token{text: s[:i]})
			s = s[i:]
		}
	}
	return list, s, false
}

// separated tells whether a string or literal may end before s.
func separated(s string) bool { return s == "" || strings.IndexByte(" )\r\n", s[0]) >= 0 }

// mediaType is that of a BODYSTRUCTURE (RFC 9051 §7.5.2).
func (t token) mediaType() string {
	if len(t.list) == 0 {
		return ""
	}
	if t.list[0].isList {
		for _, item := range t.list {
			if !item.isList {
				return "multipart/" + item.text
			}
		}
		return "multipart/"
	}
	if len(t.list) < 2 {
		return ""
	}
	return t.list[0].text + "/" + t.list[1].text
}

// has tells whether SEARCH has named uid.
func (s said) has(uid uint32) bool {
	for _, r := range s.numbers {
		lo, hi, ranged := strings.Cut(r, ":")
		if !ranged {
			hi = lo
		}
		a, aerr := strconv.ParseUint(lo, 10, 32)
		b, berr := strconv.ParseUint(hi, 10, 32)
		if aerr == nil && berr == nil && min(a, b) <= uint64(uid) && uint64(uid) <= max(a, b) {
			return true
		}
	}
	return false
}
