package mail

import "strings"

// enrichedText takes the marks out of text/enriched (RFC 1896), or of the text/richtext of before (RFC
// 1341 §7.1.3).
func enrichedText(s string, isRich bool) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	param, verbatim := 0, 0
	text := func(t string) {
		if param == 0 && t != "" {
			b.WriteString(t)
		}
	}
	for s != "" {
		i := strings.IndexAny(s, "<\n")
		if i < 0 {
			i = len(s)
		}
		text(s[:i])
		if s = s[i:]; s == "" {
			break
		}
		if s[0] == '\n' {
			// One is a blank, and n of them n-1.
			n := len(s) - len(strings.TrimLeft(s, "\n"))
			s = s[n:]
			switch {
			case param > 0:
			case verbatim > 0:
				b.WriteString(strings.Repeat("\n", n))
			case isRich || n == 1:
				b.WriteByte(' ')
			default:
				b.WriteString(strings.Repeat("\n", n-1))
			}
			continue
		}
		if !isRich && strings.HasPrefix(s, "<<") {
			text("<")
			s = s[2:]
			continue
		}
		end := strings.IndexByte(s, '>')
		if end < 0 || end > 60+2 { // §1: a command has up to 60 characters
			text("<")
			s = s[1:]
			continue
		}
		command := strings.ToLower(s[1:end])
		s = s[end+1:]
		switch command {
		case "param", "comment":
			param++
		case "/param", "/comment":
			param = max(param-1, 0)
		case "verbatim", "nofill":
			verbatim++
		case "/verbatim", "/nofill":
			verbatim = max(verbatim-1, 0)
		case "lt":
			text("<")
		case "nl", "np", "paragraph", "/paragraph":
			if param == 0 {
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}
