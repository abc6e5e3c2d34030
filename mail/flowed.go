package mail

import "strings"

// unflow joins the lines of format=flowed into paragraphs (RFC 3676): a line that ends in a space
// goes on in the next one, of the same depth of quotes, but for the "-- " of a signature.
// With delSp that space was put there for it. Quotes keep their marks, ">> " in one form.
func unflow(s string, delSp bool) string {
	var b strings.Builder
	b.Grow(len(s))
	open := -1 // the depth of quotes of a paragraph that goes on, -1 for none
	for line := range strings.Lines(s) {
		text := strings.TrimRight(line, "\r\n")
		isWhole := len(text) < len(line)
		depth := len(text) - len(strings.TrimLeft(text, ">"))
		text = text[depth:]
		text = strings.TrimPrefix(text, " ") // stuffed (§4.4)
		signature := text == "-- "
		if open >= 0 && (depth != open || signature || text == "") { // an empty line is meant as one
			b.WriteByte('\n')
			open = -1
		}
		if open < 0 {
			b.WriteString(strings.Repeat(">", depth))
			if depth > 0 && text != "" {
				b.WriteByte(' ')
			}
		}
		if flows := strings.HasSuffix(text, " ") && !signature; flows && isWhole {
			if delSp {
				text = text[:len(text)-1]
			}
			b.WriteString(text)
			open = depth
			continue
		}
		b.WriteString(text)
		b.WriteByte('\n')
		open = -1
	}
	return b.String()
}
