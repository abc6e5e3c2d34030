package mounttests

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"imapfs/internal/courier"
	"imapfs/internal/cyrus"
	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// faultFolder is where the mail of the fault tests is. It is not INBOX, in which
// Courier has the other folders.
const faultFolder = "Letters"

// faultMessages is how many are there.
const faultMessages = 60

const largeFile = "Large/1/attachments/data.bin"

// server is a real one that can be killed.
type server struct {
	harness.Account
	machine interface {
		Kill()
		Restart() error
	}
}

// forEachRealServer runs a test against Dovecot, Cyrus and Courier. start starts
// one, with the mail of the fault tests. They run side by side, and as with
// harness.ForEachServer it has to be the last call of the test.
func forEachRealServer(t *testing.T, f func(t *testing.T, start func(t *testing.T) server)) {
	for name, start := range map[string]func(t *testing.T) server{
		"dovecot": func(t *testing.T) server {
			s := faultMail(t)
			return server{harness.DovecotAccount(s), s}
		},
		"cyrus": func(t *testing.T) server {
			s := cyrus.Start(t, harness.Testdata("cyrus"))
			return bringFaultMail(t, server{harness.CyrusAccount(s), s})
		},
		"courier": func(t *testing.T) server {
			s := courier.Start(t, harness.Testdata("courier"))
			return bringFaultMail(t, server{harness.CourierAccount(s), s})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, start)
		})
	}
}

func bringFaultMail(t *testing.T, to server) server {
	t.Helper()
	c := to.Client(t)
	for folder, mail := range faultMessagesOf() {
		harness.Must(t, c.Create(to.Mailbox(folder), nil).Wait())
		for _, raw := range mail {
			harness.Deliver(t, c, to.Mailbox(folder), raw, time.Now())
		}
	}
	return to
}

// faultMail starts a Dovecot with 60 messages in faultFolder, a large one in
// Large and one in After.
func faultMail(t *testing.T) *dovecot.Server {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{Extra: "mail_max_userip_connections = 100"})
	for folder, mail := range faultMessagesOf() {
		harness.Must(t, s.DeliverTo(folder, slices.Values(mail)))
	}
	return s
}

// faultMessagesOf returns the mail of the fault tests by folder, the same each
// time.
var faultMessagesOf = sync.OnceValue(func() map[string][][]byte {
	r := rand.New(rand.NewPCG(5, 6))
	block := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	message := func(i, size int, name string) []byte {
		var b bytes.Buffer
		fmt.Fprintf(&b, "Subject: number %d\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\n", i)
		for l := range 40 {
			fmt.Fprintf(&b, "Line %d of message %d says %x.\r\n", l, i, block(16))
		}
		fmt.Fprintf(&b, "--bb\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=%s\r\nContent-Transfer-Encoding: base64\r\n\r\n", name)
		text := base64.StdEncoding.EncodeToString(block(size))
		for len(text) > 76 {
			b.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		b.WriteString(text + "\r\n--bb--\r\n")
		return b.Bytes()
	}
	var letters [][]byte
	for i := range faultMessages {
		letters = append(letters, message(i+1, 1500, "note.bin"))
	}
	return map[string][][]byte{
		faultFolder: letters,
		"Large":     {message(1, 5_000_000, "data.bin")},
		"After":     {message(1, 100, "note.bin")},
	}
})
