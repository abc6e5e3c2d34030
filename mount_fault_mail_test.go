package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"imapfs/internal/courier"
	"imapfs/internal/cyrus"
	"imapfs/internal/dovecot"
)

// faultFolder is where the mail of the fault tests is. It is not INBOX, in which
// Courier has the other folders.
const faultFolder = "Letters"

// faultMessages is how many are there.
const faultMessages = 60

const largeFile = "Large/1/attachments/data.bin"

// server is a real one that can be killed.
type server struct {
	account
	machine interface {
		Kill()
		Restart() error
	}
}

// forEachRealServer runs a test against Dovecot, Cyrus and Courier. start starts
// one, with the mail of the fault tests. They run side by side, and as with
// forEachServer it has to be the last call of the test.
func forEachRealServer(t *testing.T, f func(t *testing.T, start func(t *testing.T) server)) {
	t.Run("dovecot", func(t *testing.T) {
		t.Parallel()
		f(t, func(t *testing.T) server {
			s := faultMail(t)
			return server{serverAccount(s), s}
		})
	})
	t.Run("cyrus", func(t *testing.T) {
		t.Parallel()
		f(t, func(t *testing.T) server {
			s := cyrus.Start(t, "testdata/cyrus")
			return bringFaultMail(t, server{cyrusAccount(s), s})
		})
	})
	t.Run("courier", func(t *testing.T) {
		t.Parallel()
		f(t, func(t *testing.T) server {
			s := courier.Start(t, "testdata/courier")
			return bringFaultMail(t, server{courierAccount(s), s})
		})
	})
}

func bringFaultMail(t *testing.T, to server) server {
	t.Helper()
	c := to.client(t)
	for folder, mail := range faultMessagesOf() {
		if err := c.Create(to.mailbox(folder), nil).Wait(); err != nil {
			t.Fatal(err)
		}
		for _, raw := range mail {
			deliver(t, c, to.mailbox(folder), raw, time.Now())
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
		if err := s.DeliverTo(folder, slices.Values(mail)); err != nil {
			t.Fatal(err)
		}
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

func serverAccount(s *dovecot.Server) account {
	return account{addr: s.Addr, user: dovecot.User, password: dovecot.Password}
}

// contents reads every file of a mount, by its path there.
func contents(t *testing.T, mnt string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(mnt, path)
		all[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
