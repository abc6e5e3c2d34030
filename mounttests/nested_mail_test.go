package mounttests

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// TestNestedMail reads mail that is nested 100,000 deep, and what is beside it,
// with no more than 300 MB.
func TestNestedMail(t *testing.T) {
	const deep = 100_000
	var multiparts, messages bytes.Buffer
	for i := range deep {
		fmt.Fprintf(&multiparts, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%[1]d\n", i)
		messages.WriteString("Content-Type: message/rfc822\n\n")
	}
	nested := [][]byte{
		append(multiparts.Bytes(), "\ndeep down\n"...),
		append(messages.Bytes(), "Subject: deep\n\ndeep down\n"...),
	}
	s := dovecot.Start(t, dovecot.Options{})
	s.Deliver(t, nested[0], nested[1], harness.Letter("beside"))
	dir, p := harness.MountProcess(t, harness.DovecotAccount(s), "--show", "raw")
	inbox := filepath.Join(dir, "INBOX")
	harness.Contents(t, dir) // each file, without an error
	for i, raw := range nested {
		want := bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
		if got := harness.Read(t, inbox, fmt.Sprint(i+1), "message.eml"); !bytes.Equal(got, want) {
			t.Errorf("message.eml %d: %d bytes, want %d", i+1, len(got), len(want))
		}
	}
	if got := string(harness.Read(t, inbox, "3", "body.txt")); got != "beside\n" {
		t.Errorf("the message beside them reads %q", got)
	}
	const most = 300 << 20
	peak := peakMemory(t, p.Cmd.Process.Pid)
	t.Logf("%d MB at the peak", peak>>20)
	if peak > most && !raceDetector() {
		t.Errorf("%d MB of memory at the peak, want at most %d", peak>>20, most>>20)
	}
}
