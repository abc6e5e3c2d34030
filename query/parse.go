package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SyntaxError says what is wrong with a query, and where.
type SyntaxError struct {
	Query string
	At    int // characters before the place
	What  string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("in the query %q, at character %d: %s", e.Query, e.At+1, e.What)
}

// Parse reads a query, as docs/search.md has it. today is what words like yesterday count
// from.
func Parse(s string, today time.Time) (q Query, err error) {
	p := &parser{all: s, rest: s, today: today}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	if !utf8.ValidString(s) {
		p.failAt(s, "this is no UTF-8")
	}
	if q = p.or(0); p.rest != "" {
		p.failAt(p.rest, "a ) without a ( before it")
	}
	return q, nil
}

// mostDepth is how deep parentheses may go.
const mostDepth = 50

// parser reads a query. Its methods panic with a *SyntaxError.
type parser struct {
	all, rest string
	today     time.Time
}

// failAt fails at the place where rest begins.
func (p *parser) failAt(rest, what string, args ...any) {
	panic(&SyntaxError{p.all, utf8.RuneCountInString(p.all[:len(p.all)-len(rest)]), fmt.Sprintf(what, args...)})
}

func (p *parser) spaces() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

// word takes a word of the language, if it comes next.
func (p *parser) word(word string) bool {
	p.spaces()
	if len(p.rest) < len(word) || !strings.EqualFold(p.rest[:len(word)], word) {
		return false
	}
	after := p.rest[len(word):]
	if r, _ := utf8.DecodeRuneInString(after); after != "" && !unicode.IsSpace(r) && r != '(' && r != ')' {
		return false
	}
	p.rest = after
	return true
}

func (p *parser) or(depth int) Query {
	if depth > mostDepth {
		p.failAt(p.rest, "more than %d parentheses in each other", mostDepth)
	}
	q := Query{Op: Or}
	for {
		q.Of = append(q.Of, p.and(depth))
		if !p.word("or") {
			break
		}
	}
	if len(q.Of) == 1 {
		return q.Of[0]
	}
	return q
}

func (p *parser) and(depth int) Query {
	q := Query{Op: And}
	for {
		p.spaces()
		before := p.rest
		if p.word("or") {
			p.rest = before
			break
		}
		if p.word("and") {
			if len(q.Of) == 0 {
				p.failAt(before, "nothing before this and")
			}
			continue
		}
		if p.rest == "" || p.rest[0] == ')' {
			break
		}
		q.Of = append(q.Of, p.term(depth))
	}
	switch len(q.Of) {
	case 0:
		p.failAt(p.rest, "something to look for is missing")
	case 1:
		return q.Of[0]
	}
	return q
}

func (p *parser) term(depth int) Query {
	if p.word("not") || strings.HasPrefix(p.rest, "-") {
		p.rest = strings.TrimPrefix(p.rest, "-")
		p.spaces()
		if p.rest == "" || p.rest[0] == ')' {
			p.failAt(p.rest, "what is not to be found is missing")
		}
		return Query{Op: Not, Of: []Query{p.term(depth)}}
	}
	if begin := p.rest; p.rest[0] == '(' {
		p.rest = p.rest[1:]
		q := p.or(depth + 1)
		if p.spaces(); p.rest == "" {
			p.failAt(begin, "a ( without a ) behind it")
		}
		p.rest = p.rest[1:]
		return q
	}
	begin := p.rest
	if i := strings.IndexFunc(p.rest, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) }); i > 0 && p.rest[i] == ':' {
		key := strings.ToLower(p.rest[:i])
		ask, ok := keys[key]
		if !ok {
			p.failAt(begin, "%s: is nothing that can be asked for (to look for these words put them into quotes)", key)
		}
		p.rest = p.rest[i+1:]
		value := p.rest
		text := p.text()
		if text == "" {
			p.failAt(value, "%s: of what? A value is missing", key)
		}
		return ask(p, value, key, text)
	}
	text := p.text()
	if text == "" {
		p.failAt(begin, "there is nothing between these quotes")
	}
	return Query{Op: Field, Key: "text", Text: text}
}

// text takes a value: in quotes of either kind, or up to white space or a parenthesis.
func (p *parser) text() string {
	if p.rest == "" {
		return ""
	}
	if quote := p.rest[0]; quote == '"' || quote == '\'' {
		begin := p.rest
		text, rest, ok := strings.Cut(p.rest[1:], string(quote))
		if !ok {
			p.failAt(begin, "a quote that does not end")
		}
		p.rest = rest
		return text
	}
	i := strings.IndexFunc(p.rest, func(r rune) bool { return unicode.IsSpace(r) || r == '(' || r == ')' })
	if i < 0 {
		i = len(p.rest)
	}
	text := p.rest[:i]
	p.rest = p.rest[i:]
	return text
}

// keys is what can stand before a colon, and what it asks. at is where the value is, for
// errors.
var keys = map[string]func(p *parser, at, key, text string) Query{
	"from": askField, "to": askField, "cc": askField, "bcc": askField, "subject": askField, "body": askField, "text": askField,
	"since": askSince, "after": askSince,
	"before": func(p *parser, at, _, text string) Query {
		first, _ := p.days(at, text)
		return Query{Op: Before, Day: first}
	},
	"date": func(p *parser, at, _, text string) Query {
		first, end := p.days(at, text)
		return Query{Op: And, Of: []Query{{Op: Since, Day: first}, {Op: Before, Day: end}}}
	},
	"larger":  func(p *parser, at, _, text string) Query { return Query{Op: Larger, Bytes: p.size(at, text)} },
	"smaller": func(p *parser, at, _, text string) Query { return Query{Op: Smaller, Bytes: p.size(at, text)} },
	"tag":     func(_ *parser, _, _, text string) Query { return Query{Op: Flag, Key: text} },
	"is": func(p *parser, at, _, text string) Query {
		q, ok := states[strings.ToLower(text)]
		if !ok {
			p.failAt(at, "no message is %q; it can be %s", text, choice(states))
		}
		return q
	},
	"has": func(p *parser, at, _, text string) Query {
		if !strings.EqualFold(text, "attachment") {
			p.failAt(at, "no message has %q; it can have an attachment", text)
		}
		return Query{Op: Attachment}
	},
	"imap": func(_ *parser, _, _, text string) Query { return Query{Op: Raw, Text: text} },
}

func askField(_ *parser, _, key, text string) Query { return Query{Op: Field, Key: key, Text: text} }

func askSince(p *parser, at, _, text string) Query {
	first, _ := p.days(at, text)
	return Query{Op: Since, Day: first}
}

func not(q Query) Query { return Query{Op: Not, Of: []Query{q}} }

// states is what a message can be.
var states = map[string]Query{
	"unread":     not(Query{Op: Flag, Key: "Seen"}),
	"read":       {Op: Flag, Key: "Seen"},
	"flagged":    {Op: Flag, Key: "Flagged"},
	"unflagged":  not(Query{Op: Flag, Key: "Flagged"}),
	"answered":   {Op: Flag, Key: "Answered"},
	"unanswered": not(Query{Op: Flag, Key: "Answered"}),
	"draft":      {Op: Flag, Key: "Draft"},
}

func choice(of map[string]Query) string {
	var words []string
	for word := range of {
		words = append(words, word)
	}
	slices.Sort(words)
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// size reads a number of bytes, with K, M or G for powers of 1024.
func (p *parser) size(at, text string) int64 {
	number := strings.TrimSuffix(strings.ToUpper(text), "B")
	shift := 0
	if number != "" {
		if i := strings.IndexByte("KMG", number[len(number)-1]); i >= 0 {
			shift, number = 10*(i+1), number[:len(number)-1]
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		p.failAt(at, "%q is no size; write it like 100k or 10M", text)
	}
	return n << shift
}

// days reads a day, month or year, or a time before today, and returns its first day and
// the one behind it.
func (p *parser) days(at, text string) (first, end time.Time) {
	for _, form := range []struct {
		layout             string
		years, months, day int
	}{{"2006-01-02", 0, 0, 1}, {"2006/01/02", 0, 0, 1}, {"2006-01", 0, 1, 0}, {"2006", 1, 0, 0}} {
		if day, err := time.Parse(form.layout, text); err == nil && day.Year() > 0 {
			return day, day.AddDate(form.years, form.months, form.day)
		}
	}
	year, month, day := p.today.Date()
	first = time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	switch word := strings.ToLower(text); word {
	case "today":
	case "yesterday":
		first = first.AddDate(0, 0, -1)
	default:
		n, err := strconv.ParseUint(word[:len(word)-1], 10, 16)
		ago, ok := map[byte]time.Time{'d': first.AddDate(0, 0, -int(n)), 'w': first.AddDate(0, 0, -7*int(n)), 'm': first.AddDate(0, -int(n), 0), 'y': first.AddDate(-int(n), 0, 0)}[word[len(word)-1]]
		if err != nil || !ok || ago.Year() < 1 {
			p.failAt(at, "%q is no date; write it like 2025-11-01, 2025-11, 2025, today, yesterday, 7d, 2w, 3m or 1y", text)
		}
		first = ago
	}
	return first, first.AddDate(0, 0, 1)
}
