package demo

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/emersion/go-mbox"
)

// mbox imports an mbox file: messages one after the other, each behind a line
// "From sender date" (RFC 4155). A line that begins so inside a message has
// been quoted by ">", which go-mbox takes away.
func (im *importer) mbox(path string, folder []string, ext string, raw []byte) {
	type message struct {
		raw  []byte
		date time.Time
	}
	var list []message
	quoted, dates := quoteText(raw)
	r := mbox.NewReader(bytes.NewReader(quoted))
	for {
		body, err := r.NextMessage()
		if err == io.EOF {
			break
		}
		var m message
		if err == nil {
			m.raw, err = io.ReadAll(body)
		}
		if err != nil { // keep what came before it
			im.fail(path, err)
			break
		}
		if i := len(list); i < len(dates) {
			m.date = dates[i]
		}
		list = append(list, m)
	}

	name := filepath.Base(path)
	switch {
	case ext == ".mbox" || ext == ".mbx":
		folder = sub(folder, name[:len(name)-len(ext)])
	case ext == "" || len(list) != 1:
		folder = sub(folder, name)
	}
	for _, m := range list {
		if m.date.IsZero() {
			m.date = headerDate(m.raw)
		}
		if m.date.IsZero() {
			m.date = mtime(path)
		}
		im.add(path, folder, m.raw, m.date)
	}
}

// quoteText quotes the lines that begin with "From " and yet belong to a
// message, as many programs do not: go-mbox would cut there. A line is a
// separator if it has a date in it or a header field after it. The dates of the
// separators, which go-mbox does not hand on, are when the messages were
// received; where one cannot be read, it is zero.
func quoteText(raw []byte) (quoted []byte, dates []time.Time) {
	var out bytes.Buffer
	rest := raw
	for line := range bytes.Lines(raw) {
		rest = rest[len(line):]
		if bytes.HasPrefix(line, []byte("From ")) {
			date := fromLineDate(string(line))
			if date.IsZero() && out.Len() > 0 && !beginsWithField(rest) {
				out.WriteByte('>')
			} else {
				dates = append(dates, date)
			}
		}
		out.Write(line)
	}
	return out.Bytes(), dates
}

func beginsWithField(raw []byte) bool {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	name, _, ok := bytes.Cut(line, []byte(":"))
	return ok && len(name) > 0 && !bytes.ContainsAny(name, " \t")
}

// fromLineDate finds the date in "From ann@example.org Thu Aug 22 12:36:23
// 2002". The sender may hold spaces, and a zone may stand behind the time or
// the year, so the search goes by the day of the week.
func fromLineDate(line string) time.Time {
	words := strings.Fields(line)
	for i := 1; i+5 <= len(words); i++ {
		rest := words[i:min(i+6, len(words))]
		for _, layout := range []string{
			"Mon Jan 2 15:04:05 2006 -0700",
			"Mon Jan 2 15:04:05 -0700 2006",
			"Mon Jan 2 15:04:05 MST 2006",
			"Mon Jan 2 15:04:05 2006",
		} {
			n := len(strings.Fields(layout))
			if n > len(rest) {
				continue
			}
			if date, err := time.Parse(layout, strings.Join(rest[:n], " ")); err == nil {
				return date
			}
		}
	}
	return time.Time{}
}
