package demo

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// start runs a server for one test.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := StartWith(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial logs in. A nil handler ignores what the server says unasked.
func dial(t *testing.T, s *Server, handler *imapclient.UnilateralDataHandler) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.Addr, &imapclient.Options{UnilateralDataHandler: handler})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	check(t, c.Login(s.User, s.Password).Wait())
	return c
}

func selectBox(t *testing.T, c *imapclient.Client, name string) *imap.SelectData {
	t.Helper()
	data, err := c.Select(name, nil).Wait()
	if err != nil {
		t.Fatalf("SELECT %s: %v", name, err)
	}
	return data
}

func fetch(t *testing.T, c *imapclient.Client, set imap.NumSet, o *imap.FetchOptions) []*imapclient.FetchMessageBuffer {
	t.Helper()
	msgs, err := c.Fetch(set, o).Collect()
	check(t, err)
	return msgs
}

// body fetches one section of one message, without marking it as read.
func body(t *testing.T, c *imapclient.Client, uid imap.UID, item imap.FetchItemBodySection) string {
	t.Helper()
	item.Peek = true
	msgs := fetch(t, c, imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{&item}})
	if len(msgs) != 1 {
		t.Fatalf("UID %d: %d messages", uid, len(msgs))
	}
	return string(msgs[0].FindBodySection(&item))
}

var allUIDs = imap.UIDSet{{Start: 1, Stop: 0}}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
