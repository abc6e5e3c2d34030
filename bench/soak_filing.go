package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	soakFiled = 40 // messages that are moved to and fro
	filedLeft = "Left"
	filedTo   = "Right"
	filedNew  = "Added"
)

// filing is what the two workers know that move messages and put new ones into a folder.
// Each has a part of it to itself.
type filing struct {
	moved, refused int    // moves that the mount has reported as done, and as failed
	added          []bool // by number: whether the mount has reported it as done
}

// deliverFiled makes the folders of these workers.
func (s *soaking) deliverFiled() error {
	var mail [][]byte
	for i := range soakFiled {
		mail = append(mail, fmt.Appendf(nil, "Subject: filed %d\r\n\r\nIt is moved to and fro.\r\n", i))
	}
	if err := s.server.DeliverTo(filedLeft, slices.Values(mail)); err != nil {
		return err
	}
	c, err := newClient(s.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, folder := range []string{filedTo, filedNew} {
		if err := c.Create(folder, nil).Wait(); err != nil {
			return err
		}
	}
	return nil
}

// move moves messages from one folder to the other, and back.
func (s *soaking) move(ctx context.Context, worker int, r *rand.Rand) {
	for from, to := filedLeft, filedTo; pause(ctx, 100*time.Millisecond); from, to = to, from {
		list := s.list(worker, s.mnt.dir, from)
		if len(list) == 0 {
			continue
		}
		dir := list[r.IntN(len(list))]
		target := filepath.Join(s.mnt.dir, to, filepath.Base(dir))
		if s.call(worker, func() error { return syscall.Rename(dir, target) }) == nil {
			s.filing.moved++
		} else {
			s.filing.refused++
		}
	}
}

// add puts new messages into a folder.
func (s *soaking) add(ctx context.Context, worker int, r *rand.Rand) {
	for i := 0; pause(ctx, 200*time.Millisecond); i++ {
		text := fmt.Appendf(nil, "Subject: added %d\r\nMessage-ID: <added%[1]d@example.org>\r\n\r\n%s", i, bytes.Repeat([]byte("It was put in.\r\n"), 1+r.IntN(2000)))
		path := filepath.Join(s.mnt.dir, filedNew, fmt.Sprint(i, ".eml"))
		s.filing.added = append(s.filing.added, s.call(worker, func() error { return os.WriteFile(path, text, 0o600) }) == nil)
	}
}

// filedVerdict counts what is lost, twice, or not where it was reported to be.
func (s *soaking) filedVerdict(c *imapclient.Client) (lost, twice int, err error) {
	count := map[string]int{}
	for _, folder := range []string{filedLeft, filedTo, filedNew} {
		subjects, err := subjectsOf(c, folder)
		if err != nil {
			return 0, 0, err
		}
		for _, subject := range subjects {
			count[subject]++
		}
	}
	tell := func(subject string, least int) {
		switch n := count[subject]; {
		case n < least:
			lost++
		case n > 1:
			twice++
		}
	}
	for i := range soakFiled {
		tell(fmt.Sprint("filed ", i), 1)
	}
	done := 0
	for i, ok := range s.filing.added {
		least := 0
		if ok {
			least = 1
			done++
		}
		tell(fmt.Sprint("added ", i), least)
	}
	fmt.Printf("%d moves done and %d refused, %d messages put in and %d refused; of all these %d lost, %d twice\n",
		s.filing.moved, s.filing.refused, done, len(s.filing.added)-done, lost, twice)
	return lost, twice, nil
}

// subjectsOf returns the subjects of a folder's messages.
func subjectsOf(c *imapclient.Client, folder string) ([]string, error) {
	uids, err := allUIDs(c, folder)
	if err != nil || len(uids) == 0 {
		return nil, err
	}
	messages, err := c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{Envelope: true}).Collect()
	var list []string
	for _, m := range messages {
		list = append(list, strings.TrimSpace(m.Envelope.Subject))
	}
	return list, err
}
