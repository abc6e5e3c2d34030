package query

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// show writes a query so that a test can compare it: op(of ...).
func (q Query) show() string {
	var of []string
	for _, q := range q.Of {
		of = append(of, q.show())
	}
	all := strings.Join(of, " ")
	switch q.Op {
	case And:
		return "(" + all + ")"
	case Or:
		return "(or " + all + ")"
	case Not:
		return "-" + all
	case Field:
		return fmt.Sprintf("%s:%q", q.Key, q.Text)
	case Since:
		return "since:" + q.Day.Format("2006-01-02")
	case Before:
		return "before:" + q.Day.Format("2006-01-02")
	case Larger:
		return fmt.Sprint("larger:", q.Bytes)
	case Smaller:
		return fmt.Sprint("smaller:", q.Bytes)
	case Flag:
		return "flag:" + q.Key
	case Attachment:
		return "attachment"
	case Raw:
		return fmt.Sprintf("raw:%q", q.Text)
	}
	return "?"
}

var today = time.Date(2026, 3, 1, 0, 30, 0, 0, time.FixedZone("", 3600))

func TestParse(t *testing.T) {
	for s, want := range map[string]string{
		"ines":                     `text:"ines"`,
		"lantern walk":             `(text:"lantern" text:"walk")`,
		`"lantern walk"`:           `text:"lantern walk"`,
		`don't 'do this'`:          `(text:"don't" text:"do this")`,
		"from:ines":                `from:"ines"`,
		"FROM:Ines":                `from:"Ines"`,
		`subject:"lantern walk" a`: `(subject:"lantern walk" text:"a")`,
		`subject:'a "b" c'`:        `subject:"a \"b\" c"`,
		"http://example.org/x:y":   "",
		"12:30":                    `text:"12:30"`,
		"a-b":                      `text:"a-b"`,
		"-from:bot":                `-from:"bot"`,
		"not from:bot":             `-from:"bot"`,
		"--a":                      `--text:"a"`,
		"a or b c or d":            `(or text:"a" (text:"b" text:"c") text:"d")`,
		"a OR b":                   `(or text:"a" text:"b")`,
		"a and b":                  `(text:"a" text:"b")`,
		"(a or b) c":               `((or text:"a" text:"b") text:"c")`,
		"-(a b)":                   `-(text:"a" text:"b")`,
		"(a)or(b)":                 `(or text:"a" text:"b")`,
		"oregon order":             `(text:"oregon" text:"order")`,
		`"or"`:                     `text:"or"`,
		"since:2025-11-01":         "since:2025-11-01",
		"after:2025-11":            "since:2025-11-01",
		"before:2019":              "before:2019-01-01",
		"date:2025-11":             "(since:2025-11-01 before:2025-12-01)",
		"date:2024":                "(since:2024-01-01 before:2025-01-01)",
		"date:2024-02-29":          "(since:2024-02-29 before:2024-03-01)",
		"date:2025/11/01":          "(since:2025-11-01 before:2025-11-02)",
		"since:today":              "since:2026-03-01",
		"since:yesterday":          "since:2026-02-28",
		"since:2w":                 "since:2026-02-15",
		"since:1m":                 "since:2026-02-01",
		"since:1Y":                 "since:2025-03-01",
		"larger:1M":                "larger:1048576",
		"larger:10k":               "larger:10240",
		"smaller:5":                "smaller:5",
		"larger:2GB":               "larger:2147483648",
		"is:unread":                "-flag:Seen",
		"is:Flagged":               "flag:Flagged",
		"tag:work tag:$Forwarded":  "(flag:work flag:$Forwarded)",
		"has:attachment":           "attachment",
		"imap:'UNKEYWORD x NEW'":   `raw:"UNKEYWORD x NEW"`,
		"Grüße 安":                  `(text:"Grüße" text:"安")`,
		" a  ":                     `text:"a"`,
		"\u00a0a\u3000b":           `(text:"a" text:"b")`,
		strings.Repeat("(", 50) + "a" + strings.Repeat(")", 50): `text:"a"`,
	} {
		q, err := Parse(s, today)
		if want == "" {
			if err == nil {
				t.Errorf("%s is %s", s, q.show())
			}
			continue
		}
		if err != nil || q.show() != want {
			t.Errorf("%s is %s, %v; want %s", s, q.show(), err, want)
		}
	}
}

// TestWhereItIsWrong finds the place, counted in characters from 1.
func TestWhereItIsWrong(t *testing.T) {
	for s, want := range map[string]struct {
		at   int
		what string
	}{
		"":                 {1, "missing"},
		"  ":               {3, "missing"},
		"ä sender:x":       {3, "sender:"},
		"a since:gestern":  {9, "no date"},
		"since:2025-13-01": {7, "no date"},
		"since:99999y":     {7, "no date"},
		"since:70000d":     {7, "no date"},
		"larger:big":       {8, "no size"},
		"larger:-1":        {8, "no size"},
		"larger:M":         {8, "no size"},
		"is:purple":        {4, "unread"},
		"has:fun":          {5, "attachment"},
		"from:":            {6, "missing"},
		"from: ines":       {6, "missing"},
		"(a":               {1, "without a )"},
		"a)":               {2, "without a ("},
		"()":               {2, "missing"},
		"a or":             {5, "missing"},
		"or a":             {1, "missing"},
		"and a":            {1, "before"},
		"a -":              {4, "missing"},
		"-)":               {2, "missing"},
		`a "b`:             {3, "quote"},
		`subject:'b`:       {9, "quote"},
		`a ""`:             {3, "nothing"},
		"a\xff":            {1, "UTF-8"},
		strings.Repeat("(", 60) + "a" + strings.Repeat(")", 60): {52, "50"},
	} {
		q, err := Parse(s, today)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q is %s, %v", s, q.show(), err)
			continue
		}
		if syntax.At+1 != want.at || !strings.Contains(syntax.What, want.what) {
			t.Errorf("%q: %v; want character %d, %q", s, err, want.at, want.what)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add(`from:ines subject:"lantern walk" since:2025-11-01 -(is:unread or larger:1M)`)
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s, today)
		var syntax *SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.At < 0 || syntax.At > len(s)) {
			t.Errorf("%q: %v", s, err)
		}
		_ = q.show()
	})
}
