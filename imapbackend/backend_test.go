package imapbackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/demo"
	"imapfs/internal/dovecot"
	"imapfs/mail"
)

func config(addr, user, password string) Config {
	host, port, _ := net.SplitHostPort(addr)
	return Config{
		URL: URL{User: user, Host: host, Port: port}, Password: password, Insecure: true,
		Connections: 4, Timeout: 10 * time.Second, Poll: time.Hour,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func connect(t *testing.T, cfg Config) *Backend {
	t.Helper()
	b, err := Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func startDemo(t *testing.T, o demo.Options) *demo.Server {
	t.Helper()
	s, err := demo.StartWith(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// second is another client of the same account.
func second(t *testing.T, cfg Config) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(cfg.URL.Addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(cfg.URL.User, cfg.Password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

func appendMail(t *testing.T, c *imapclient.Client, folder string, raw []byte) {
	t.Helper()
	cmd := c.Append(folder, int64(len(raw)), nil)
	cmd.Write(raw)
	cmd.Close()
	if _, err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-ticker.C:
		case <-limit:
			t.Fatal("never happened: " + what)
		}
	}
}

func letter(n int) []byte {
	return fmt.Appendf(nil, "Subject: letter %d\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none of %d\r\n--b\r\n\r\ntwo of %d\r\n--b--\r\n", n, n, n)
}

// both runs f with a folder INBOX of three letters on each kind of server.
func both(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Run("demo", func(t *testing.T) {
		s := startDemo(t, demo.Options{})
		for n := range 3 {
			s.Append("INBOX", letter(n+1), time.Unix(1e9, 0))
		}
		f(t, config(s.Addr, s.User, s.Password))
	})
	for name, extra := range map[string]string{"dovecot": "", "dovecot that compresses": dovecot.Compress} {
		t.Run(name, func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{Extra: extra})
			s.Deliver(t, letter(1), letter(2), letter(3))
			f(t, config(s.Addr, dovecot.User, dovecot.Password))
		})
	}
}

func TestSample(t *testing.T) {
	s := startDemo(t, demo.Options{})
	if err := s.AddSample(); err != nil {
		t.Fatal(err)
	}
	b := connect(t, config(s.Addr, s.User, s.Password))
	for _, folder := range b.Folders() {
		if !folder.Selectable {
			continue
		}
		l, err := b.Messages(t.Context(), folder.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, uid := range l.UIDs {
			id, attr, err := lookup(t, b, folder.Name, uid)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := b.Fetch(id, "", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if attr.Size != int64(len(raw)) {
				t.Errorf("%s: size %d, want %d", id, attr.Size, len(raw))
			}
			got, err := b.Structure(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if want := mail.Parse(raw); !reflect.DeepEqual(sections(got), sections(want)) {
				t.Errorf("%s: structure\n%v, want\n%v", id, sections(got), sections(want))
			}
		}
	}
}

// lookup returns a listed message and its attributes.
func lookup(t *testing.T, b *Backend, folder string, uid uint32) (mail.ID, mail.Attr, error) {
	t.Helper()
	l, err := b.Messages(t.Context(), folder)
	if err != nil {
		return mail.ID{}, mail.Attr{}, err
	}
	id := mail.ID{Folder: folder, UIDValidity: l.UIDValidity, UID: uid}
	attr, err := b.Attr(t.Context(), id)
	return id, attr, err
}

// sections flattens a tree to what both ways of getting it must agree on.
func sections(p *mail.Part) []string {
	list := []string{p.Section + " " + p.Type}
	for _, c := range p.Children {
		list = append(list, sections(c)...)
	}
	return list
}

func TestFetch(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		b := connect(t, cfg)
		l, err := b.Messages(t.Context(), "INBOX")
		if err != nil || len(l.UIDs) != 3 {
			t.Fatal(l, err)
		}
		id := mail.ID{Folder: "INBOX", UIDValidity: l.UIDValidity, UID: l.UIDs[1]}
		raw := letter(2)
		header := raw[:bytes.Index(raw, []byte("\r\n\r\n"))+4]
		for _, c := range []struct {
			section string
			off, n  int64
			want    []byte
		}{
			{"", 0, -1, raw}, {"HEADER", 0, -1, header}, {"1", 0, -1, []byte("one of 2")}, {"2", 0, -1, []byte("two of 2")},
			{"", 5, 7, raw[5:12]}, {"", 5, -1, raw[5:]}, {"2", 4, 100, []byte("of 2")}, {"2", 100, 10, nil},
		} {
			got, err := b.Fetch(id, c.section, c.off, c.n)
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("Fetch(%q, %d, %d) = %q, %v, want %q", c.section, c.off, c.n, got, err, c.want)
			}
		}
		id.UIDValidity++
		if _, err := b.Fetch(id, "", 0, -1); !errors.Is(err, mail.ErrStale) {
			t.Errorf("another UIDVALIDITY: %v", err)
		}
	})
}

func TestConcurrentFetch(t *testing.T) {
	for _, connections := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			both(t, func(t *testing.T, cfg Config) {
				c := second(t, cfg)
				c.Create("Other", nil).Wait()
				appendMail(t, c, "Other", letter(9))
				cfg.Connections = connections
				b := connect(t, cfg)
				var wg sync.WaitGroup
				for folder, n := range map[string]int{"INBOX": 1, "Other": 9} {
					id, _, err := lookup(t, b, folder, 1)
					if err != nil {
						t.Fatal(err)
					}
					for i := range 40 {
						wg.Go(func() {
							section, length := []string{"1", "2"}[i%2], int64(1+i%8)
							want := fmt.Sprintf("%s of %d", map[string]string{"1": "one", "2": "two"}[section], n)[:length]
							if got, err := b.Fetch(id, section, 0, length); err != nil || string(got) != want {
								t.Errorf("%s[%s]: %q, %v, want %q", id, section, got, err, want)
							}
						})
					}
				}
				wg.Wait()
			})
		})
	}
}

func TestDelete(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		b := connect(t, cfg)
		id, _, err := lookup(t, b, "INBOX", 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if l, err := b.Messages(t.Context(), "INBOX"); err != nil || !reflect.DeepEqual(l.UIDs, []uint32{1, 3}) {
			t.Error(l, err)
		}
		if _, err := b.Attr(t.Context(), id); !errors.Is(err, mail.ErrNotFound) {
			t.Errorf("attributes of a deleted message: %v", err)
		}
	})
}

func TestDeleteWithoutUIDPlus(t *testing.T) {
	caps := demo.DefaultCaps()
	delete(caps, imap.CapUIDPlus)
	s := startDemo(t, demo.Options{Caps: caps})
	s.Append("INBOX", letter(1), time.Time{})
	cfg := config(s.Addr, s.User, s.Password)
	b := connect(t, cfg)
	id, _, err := lookup(t, b, "INBOX", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), id); !errors.Is(err, mail.ErrUnsupported) {
		t.Errorf("%v, want ErrUnsupported", err)
	}
	c := second(t, cfg)
	c.Select("INBOX", nil).Wait()
	data, err := c.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagDeleted}}, nil).Wait()
	if err != nil || len(data.AllUIDs()) != 1 {
		t.Error("the message has been marked", err)
	}
}

func TestChanges(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Poll = 50 * time.Millisecond
		b := connect(t, cfg)
		changes := make(chan mail.Change, 100)
		b.OnChange(func(c mail.Change) { changes <- c })
		if _, err := b.Messages(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		c := second(t, cfg)
		appendMail(t, c, "INBOX", letter(4))
		if got := <-changes; !reflect.DeepEqual(got.Added, []uint32{4}) {
			t.Errorf("after APPEND: %+v", got)
		}
		c.Select("INBOX", nil).Wait()
		c.Store(imap.UIDSetNum(2), deleted(imap.StoreFlagsAdd), nil).Close()
		c.UIDExpunge(imap.UIDSetNum(2)).Close()
		if got := <-changes; !reflect.DeepEqual(got.Removed, []uint32{2}) {
			t.Errorf("after EXPUNGE: %+v", got)
		}
	})
}

func TestRenewed(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Connections, cfg.Poll = 1, 50*time.Millisecond
		c := second(t, cfg)
		c.Create("Other", nil).Wait()
		appendMail(t, c, "Other", letter(1))
		b := connect(t, cfg)
		id, _, err := lookup(t, b, "Other", 1)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		renewed := false
		b.OnChange(func(ch mail.Change) {
			mu.Lock()
			defer mu.Unlock()
			renewed = renewed || ch.Folder == "Other" && ch.Renewed
		})
		if _, err := b.Messages(t.Context(), "INBOX"); err != nil { // selects another one
			t.Fatal(err)
		}
		c.Delete("Other").Wait()
		// UIDVALIDITY is often the time in seconds.
		eventually(t, "a new UIDVALIDITY", func() bool {
			c.Create("Other", nil).Wait()
			data, err := c.Status("Other", &imap.StatusOptions{UIDValidity: true}).Wait()
			if err == nil && data.UIDValidity != id.UIDValidity {
				return true
			}
			c.Delete("Other").Wait()
			return false
		})
		eventually(t, "Change.Renewed", func() bool { mu.Lock(); defer mu.Unlock(); return renewed })
		if _, err := b.Attr(t.Context(), id); !errors.Is(err, mail.ErrStale) {
			t.Errorf("Attr: %v, want ErrStale", err)
		}
		if _, err := b.Fetch(id, "", 0, -1); !errors.Is(err, mail.ErrStale) {
			t.Errorf("Fetch: %v, want ErrStale", err)
		}
	})
}

// An answer about a folder that was replaced while it was on its way is not
// taken for one about the new folder.
func TestRenewedDuringSearch(t *testing.T) {
	var b *Backend // while messages of it are listed for the second time
	selected := 0
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "SELECT"):
			if selected++; selected > 1 {
				return strings.ReplaceAll(s.usual(tag, command), "UIDVALIDITY 7", "UIDVALIDITY 8")
			}
		case strings.HasPrefix(command, "UID SEARCH") && b != nil && selected == 1:
			b.folder("INBOX").selected(8, 4, 3)
		}
		return ""
	}
	backend := listed(t, s.start(t))
	s.mu.Lock()
	b = backend
	s.mu.Unlock()
	if _, err := b.folder("INBOX").search(true); err != nil {
		t.Fatal(err)
	}
	l, err := b.Messages(t.Context(), "INBOX")
	if err != nil || l.UIDValidity != 8 {
		t.Errorf("listed with UIDVALIDITY %d, %v; want 8", l.UIDValidity, err)
	}
}

func TestCloseEndsGoroutines(t *testing.T) {
	s := startDemo(t, demo.Options{})
	s.Append("INBOX", letter(1), time.Time{})
	cfg := config(s.Addr, s.User, s.Password)
	cfg.Poll = time.Millisecond
	before := runtime.NumGoroutine()
	b, err := Connect(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := lookup(t, b, "INBOX", 1); err != nil {
		t.Fatal(err)
	}
	b.Close()
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
