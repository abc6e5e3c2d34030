package content

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// TestTexts keeps the text of a mirror, and drops that of messages that are gone.
func TestTexts(t *testing.T) {
	f := letters(600)
	f.Mail[300] = fakemail.Message{Raw: []byte("Subject: GR\xc3\x9c\xc3\x9fE\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nThe WORD\r\n--b\r\nContent-Type: application/pdf\r\n\r\nx\r\n--b--\r\n")}
	m := f.Mail[300]
	m.Claimed = int64(len(m.Raw))
	f.Mail[300] = m
	s := newMirrored(t, f, 100<<20)
	mirror := newTestMirror(s)
	run := func() {
		t.Helper()
		mirror.rest(mirror.run(t.Context()))
		if !mirror.progress.Complete {
			t.Fatalf("%+v", mirror.progress)
		}
		<-mirror.wake // what has begun the run
		mirror.keepTexts(t.Context())
	}
	run()
	disk := s.cache.Disk()
	key := func(uid uint32) string { return textsKey("INBOX", 1, uid/textsChunk) }
	for _, uid := range []uint32{1, 256, 600} {
		if !disk.Has(key(uid)) {
			t.Errorf("the text of message %d is not kept", uid)
		}
	}
	got := s.storedTexts(key(300))[300]
	if string(got.Headers) != "subject: grüße\ncontent-type: multipart/mixed; boundary=b\n" || string(got.Body) != "the word\n" || !got.HasAttachments {
		t.Errorf("it is %v", got)
	}
	if got := s.storedTexts(key(7))[7]; string(got.Headers) != "subject: 7\n" || got.HasAttachments {
		t.Errorf("that of another one is %v", got)
	}

	delete(f.Mail, 300)
	s.Changed(mail.Change{Folder: "INBOX", UIDValidity: 1, Removed: []uint32{300}})
	if disk.Has(key(300)) || !disk.Has(key(7)) {
		t.Error("the text of a message that is gone is kept, or that of others not")
	}
	run()
	texts := s.storedTexts(key(301))
	if _, ok := texts[300]; ok || len(texts) != 255 {
		t.Errorf("of 255 messages %d are kept", len(texts))
	}

	// One that cannot be read is made anew.
	disk.Put(key(1), []byte("\x00damaged"))
	if texts := s.Texts(t.Context(), "INBOX", 1, []uint32{1, 2}); !bytes.HasPrefix(texts[2].Headers, []byte("subject: 2")) {
		t.Errorf("%v", texts[2])
	}
	// A reader or new mail comes first.
	s.Changed(mail.Change{Folder: "INBOX", UIDValidity: 1, Removed: []uint32{1}})
	mirror.untexted["INBOX"] = true
	mirror.keepTexts(t.Context())
	if disk.Has(key(1)) || !mirror.untexted["INBOX"] {
		t.Error("the text is kept before the mail")
	}
}

func TestTextsTakenApart(t *testing.T) {
	var b []byte
	want := make(map[uint32]Text)
	for i := range uint32(4) {
		want[i] = Text{[]byte(strings.Repeat("h", int(i))), []byte(fmt.Sprint(i)), i%2 == 1}
		b = appendText(b, i, want[i])
	}
	for n := range len(b) + 1 {
		got := make(map[uint32]Text)
		for rest := b[:n]; len(rest) > 0; {
			uid, text, more, ok := nextText(rest)
			if !ok {
				break
			}
			got[uid], rest = text, more
		}
		for uid, text := range got {
			if !reflect.DeepEqual(text, want[uid]) {
				t.Fatalf("of %d bytes %d is %v", n, uid, text)
			}
		}
		if n == len(b) && len(got) != len(want) {
			t.Errorf("%d are there", len(got))
		}
	}
}

func TestInChunks(t *testing.T) {
	for _, c := range []struct {
		uids []uint32
		want string
	}{
		{nil, "[]"},
		{[]uint32{1, 255, 256, 511, 512}, "[[1 255] [256 511] [512]]"},
		{[]uint32{4294967040, 4294967295}, "[[4294967040 4294967295]]"},
	} {
		if got := fmt.Sprint(InChunks(c.uids)); got != c.want {
			t.Errorf("%v is %s, want %s", c.uids, got, c.want)
		}
	}
}
