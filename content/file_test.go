package content

import (
	"errors"
	"strings"
	"testing"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// TestSizes has the files of small and large messages, whose size the server tells
// or not: once they are loaded, or their size was asked for, it is what was read, and
// known to the next mount without a question.
func TestSizes(t *testing.T) {
	for name, text := range map[string]string{"small": "text\r\n", "large": strings.Repeat("a line of text\r\n", 2*wholeSize/16)} {
		raw := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + text +
			"\r\n--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n<p>" + text + "\r\n--b--\r\n"
		want := map[Kind]string{Headers: string(mail.HeadersText(mail.SplitHeader([]byte(raw)), "")), Body: strings.ReplaceAll(text, "\r\n", "\n"), Raw: raw, Attachment: "<p>" + text}
		for lie, claimed := range map[string]int{"true": len(raw), "too small": 10, "too large": 3 * len(raw)} {
			t.Run(name+" and "+lie, func(t *testing.T) {
				f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{1: {Claimed: int64(claimed), Raw: []byte(raw)}}}
				s := newMirrored(t, f, 10<<20)
				m := s.Message(mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1})
				root, err := m.Structure(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range m.files(root) {
					if _, exact := file.Exact(); exact && file.Kind == Headers {
						t.Error("the size is known before anything was loaded")
					}
					size, err := file.Size(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					b, err := file.Load(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					got, err := b.Read(t.Context(), make([]byte, size+10), 0)
					if err != nil || int64(len(got)) != size || string(got) != want[file.Kind] {
						t.Errorf("file %d: %d bytes, size %d, want %d; %v: %.40q", file.Kind, len(got), size, len(want[file.Kind]), err, got)
					}
				}
				s.cache.Disk().Flush()
				f.Fails = func(string, int64) error { return errors.New("the server is away") }
				for _, file := range New(f, s.cache, s.log).Message(m.ID()).files(root) {
					if size, exact := file.Exact(); !exact || size != int64(len(want[file.Kind])) {
						t.Errorf("file %d: size %d, %v, for the next mount", file.Kind, size, exact)
					}
				}
			})
		}
	}
}
