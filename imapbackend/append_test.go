package imapbackend

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imapfs/mail"
)

func newLetter(text string) mail.Letter {
	return mail.Letter{Content: strings.NewReader(text), Size: int64(len(text))}
}

// sized is a letter of so many bytes on the wire.
func sized(n int) string {
	const head = "Subject: x\r\nMessage-ID: <new@x>\r\n\r\n"
	return head + strings.Repeat("x", n-len(head)-2) + "\r\n"
}

// TestAppend has a server take in a letter in all ways, or refuse it. It is there once
// then, or not at all, and others can go on on the same connection.
func TestAppend(t *testing.T) {
	const plus = "UIDPLUS LITERAL+"
	const sync, atOnce = `APPEND Archive (\Seen) {50}`, `APPEND Archive (\Seen) {50+}`
	text := sized(50)
	now := func(n int, prefix string, answer string) twist {
		return at(n, prefix, func(tag string, _ func() string) string { return strings.ReplaceAll(answer, "TAG", tag) })
	}
	// instead of "+"
	early := func(answer string) twist {
		return func(tag, command string, do func() string) string {
			if tag == "" {
				return answer
			}
			return do()
		}
	}
	for _, c := range []struct {
		what, caps string
		noCode     bool
		twist      twist
		want       error
		uid        uint32
		sent       []string
		there      int
	}{
		{"LITERAL+", plus, false, nil, nil, 5, []string{atOnce}, 1},
		{"LITERAL-", "UIDPLUS LITERAL-", false, nil, nil, 5, []string{atOnce}, 1},
		{"neither", "UIDPLUS", false, nil, nil, 5, []string{sync}, 1},
		{"no APPENDUID", plus, true, nil, nil, 5, []string{atOnce}, 1},
		{"no UIDPLUS", "LITERAL+", false, nil, nil, 5, []string{atOnce}, 1},
		{"stored in another way", plus, true, at(1, "APPEND", func(tag string, do func() string) string { return tag + " OK elsewhere\r\n" }), nil, 0, []string{atOnce}, 0},
		{"lost before", plus, false, lostAt(1, "APPEND", false), nil, 5, []string{atOnce, atOnce}, 1},
		{"lost behind", plus, false, lostAt(1, "APPEND", true), nil, 5, []string{atOnce}, 1},
		{"lost behind, without UIDPLUS", "", false, lostAt(1, "APPEND", true), nil, 5, []string{sync}, 1},
		{"lost twice", plus, false, lostAt(2, "APPEND", false), errBroken, 0, []string{atOnce, atOnce}, 0},
		{"lost instead of +", "UIDPLUS", false, early(cut), errBroken, 0, nil, 0},
		{"too big", "UIDPLUS", false, early("%s NO [TOOBIG] no\r\n"), mail.ErrTooLarge, 0, []string{sync}, 0},
		{"full", "UIDPLUS", false, early("%s NO [OVERQUOTA] no\r\n"), mail.ErrNoRoom, 0, []string{sync}, 0},
		{"not understood", "UIDPLUS", false, early("%s BAD no\r\n"), mail.ErrRefused, 0, []string{sync}, 0},
		{"OK instead of +", "UIDPLUS", false, early("%s OK done\r\n"), mail.ErrRefused, 0, []string{sync}, 0},
		{"no folder", "UIDPLUS", false, early("%s NO [TRYCREATE] no\r\n"), mail.ErrRefused, 0, []string{sync}, 0},
		{"full, behind it", plus, false, refusing("APPEND", "[OVERQUOTA]"), mail.ErrNoRoom, 0, []string{atOnce}, 0},
		{"+ unasked", plus, false, now(0, "NOOP", "+ hm\r\nTAG OK done\r\n"), nil, 5, []string{atOnce}, 1},
		{"+ unasked with it", plus, false, at(0, "APPEND", func(tag string, do func() string) string { return "+ hm\r\n" + do() }), nil, 5, []string{atOnce}, 1},
		{"over the limit", plus + " APPENDLIMIT=49", false, nil, mail.ErrTooLarge, 0, nil, 0},
		{"within the limit", plus + " APPENDLIMIT=50", false, nil, nil, 5, []string{atOnce}, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := newAccount(c.caps)
			a.noCode, a.twist = c.noCode, c.twist
			b := a.listed(t)
			soon(t, "putting a letter", func() {
				id, err := b.Append(t.Context(), "Archive", newLetter(text))
				if !errors.Is(err, c.want) || errors.Is(err, mail.ErrNotFound) || id.UID != c.uid {
					t.Errorf("it is %v; error %v, want %v", id, err, c.want)
				}
				if (c.want == mail.ErrTooLarge || c.want == mail.ErrNoRoom) && !strings.HasPrefix(c.what, "over") && !errors.Is(err, mail.ErrRefused) {
					t.Errorf("%v is no refusal", err)
				}
			})
			if sent := a.changing(); !slices.Equal(sent, c.sent) {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
			if n := len(a.where(text)); n != c.there {
				t.Errorf("it is there %d times, want %d", n, c.there)
			}
			a.agrees(t, b, "Archive")
			if a.connections() > 1 && !strings.HasPrefix(c.what, "lost") {
				t.Errorf("%d connections", a.connections())
			}
			soon(t, "reading", func() {
				if got, err := b.Fetch(msg(3), "", 0, -1); err != nil || string(got) != letterOf(3) {
					t.Errorf("got %q, %v", got, err)
				}
			})
		})
	}
}

// TestAppendSizes has letters that are sent at once or not, and what is sent of them.
func TestAppendSizes(t *testing.T) {
	for caps, most := range map[string]int{"LITERAL+": 1 << 30, "LITERAL-": 4096, "ESEARCH": 0, "LITERAL+ COMPRESS=DEFLATE": 1 << 30} {
		for _, n := range []int{100, 4096, 4097, 5 << 20} {
			a := newAccount("UIDPLUS " + caps)
			a.wrap = func(c net.Conn) net.Conn { return &packedConn{Conn: c} }
			b := a.listed(t)
			text := sized(n)
			soon(t, "putting a letter", func() {
				if id, err := b.Append(t.Context(), "Archive", newLetter(strings.ReplaceAll(text, "\r\n", "\n"))); err != nil || id.UID != 5 {
					t.Errorf("%s, %d bytes: %v, %v", caps, n, id, err)
				}
			})
			if len(a.where(text)) != 1 {
				t.Errorf("%s: the letter of %d bytes is not there as it is", caps, n)
			}
			if atOnce := strings.HasSuffix(a.changing()[0], "+}"); atOnce != (n <= most) {
				t.Errorf("%s: sent %q", caps, a.changing()[0])
			}
		}
	}
}

// TestAppendDate has a date, and drafts.
func TestAppendDate(t *testing.T) {
	a := newAccount("UIDPLUS LITERAL+")
	b := a.listed(t)
	if _, err := b.Messages(t.Context(), "Drafts"); err != nil {
		t.Fatal(err)
	}
	l := newLetter(sized(50))
	l.Date = time.Date(2020, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))
	for _, year := range []int{2020, 12020} {
		l.Date = l.Date.AddDate(year-l.Date.Year(), 0, 0)
		if _, err := b.Append(t.Context(), "Drafts", l); err != nil {
			t.Error(err)
		}
	}
	want := []string{`APPEND Drafts (\Seen \Draft)  3-Feb-2020 04:05:06 +0100 {50+}`, `APPEND Drafts (\Seen \Draft) {50+}`}
	if got := a.changing(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	attr, err := b.Attr(t.Context(), mail.ID{Folder: "Drafts", UIDValidity: 11, UID: 1})
	if err != nil || !attr.Date.Equal(time.Date(2020, 2, 3, 3, 5, 6, 0, time.UTC)) {
		t.Errorf("%v, %v", attr, err)
	}
}

// TestNoLetter sends nothing of what no server takes.
func TestNoLetter(t *testing.T) {
	a := newAccount("UIDPLUS LITERAL+")
	b := a.listed(t)
	for _, text := range []string{"", "Subject: a\x00b\n\nx"} {
		if _, err := b.Append(t.Context(), "Archive", newLetter(text)); !errors.Is(err, mail.ErrNoMessage) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if n := a.count("APPEND"); n > 0 {
		t.Errorf("%d are sent", n)
	}
}

// TestAppendAgain sends a letter again of which nobody knows whether it has come: first
// both answers are lost, and then the connections, so that nobody can look.
func TestAppendAgain(t *testing.T) {
	for name, done := range map[string]bool{"done": true, "not done": false} {
		for _, what := range []string{"as it was", "numbered anew"} {
			t.Run(name+", "+what, func(t *testing.T) {
				a := newAccount("UIDPLUS LITERAL+")
				lost := lostAt(1, "APPEND", done)
				isDown := false
				a.twist = func(tag, command string, do func() string) string {
					answer := lost(tag, command, do)
					if isDown && (strings.HasPrefix(command, "UID") || strings.HasPrefix(command, "APPEND")) {
						return cut
					}
					isDown = isDown || strings.HasPrefix(command, "APPEND")
					return answer
				}
				b := a.listed(t)
				text := sized(50)
				if _, err := b.Append(t.Context(), "Archive", newLetter(text)); err == nil {
					t.Fatal("no error")
				}
				a.mu.Lock()
				a.twist = nil
				if what == "numbered anew" {
					archive := a.boxes["Archive"]
					archive.validity, archive.next = 30, 1
					old := archive.messages
					archive.messages = map[uint32]*stored{}
					for _, uid := range (&stock{messages: old}).uids() {
						a.put("Archive", *old[uid])
					}
				}
				a.mu.Unlock()
				soon(t, "putting it again", func() {
					if id, err := b.Append(t.Context(), "Archive", newLetter(text)); err != nil || id.UID == 0 {
						t.Errorf("%v, %v", id, err)
					}
				})
				if n := len(a.where(text)); n != 1 {
					t.Errorf("it is there %d times", n)
				}
				a.agrees(t, b, "Archive")
			})
		}
	}
}

// TestAppendAlike has a letter lost that looks like one that has come meanwhile, with
// other content: it is sent again.
func TestAppendAlike(t *testing.T) {
	a := newAccount("UIDPLUS LITERAL+")
	a.twist = lostAt(1, "APPEND", false)
	b := a.listed(t)
	one, other := "Subject: x\r\n\r\none\r\n", "Subject: x\r\n\r\ntwo\r\n"
	a.mu.Lock()
	a.put("Archive", stored{raw: other, date: goodDate})
	a.mu.Unlock()
	if id, err := b.Append(t.Context(), "Archive", newLetter(one)); err != nil || id.UID != 6 {
		t.Errorf("%v, %v", id, err)
	}
	if len(a.where(one)) != 1 {
		t.Error("it is not there")
	}
}

// failing is content that cannot be read any more from the second time on.
type failing struct {
	*strings.Reader
	from  int64
	again bool
}

var errDisk = errors.New("the disk is broken")

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.again && off >= f.from {
		return 0, errDisk
	}
	n, err := f.Reader.ReadAt(p, off)
	f.again = f.again || off+int64(n) == f.Size()
	return n, err
}

// TestAppendUnreadable has the content of a letter fail while it is sent. It is not
// there, and not sent again.
func TestAppendUnreadable(t *testing.T) {
	a := newAccount("UIDPLUS LITERAL+")
	b := a.listed(t)
	text := sized(1 << 20)
	l := mail.Letter{Content: &failing{Reader: strings.NewReader(text), from: 512 << 10}, Size: int64(len(text))}
	soon(t, "putting a letter", func() {
		if _, err := b.Append(t.Context(), "Archive", l); !errors.Is(err, errDisk) {
			t.Errorf("error %v", err)
		}
	})
	if n := len(a.where(text)); n > 0 || a.connections() != 1 {
		t.Errorf("it is there %d times, %d connections", n, a.connections())
	}
	if _, err := b.Append(t.Context(), "Archive", newLetter(text)); err != nil || len(a.where(text)) != 1 {
		t.Errorf("the next one: %v", err)
	}
}

// TestAppendBroken cuts the connection in the middle of a literal, or has the server stop
// to read there.
func TestAppendBroken(t *testing.T) {
	text := sized(8 << 20)
	for _, caps := range []string{"LITERAL+", "ESEARCH"} {
		t.Run("cut "+caps, func(t *testing.T) {
			a := newAccount("UIDPLUS " + caps)
			var n atomic.Int32
			a.letter = func(r io.Reader, size int) []byte {
				if n.Add(1) == 1 {
					size = 1 << 20
				}
				got, _ := io.ReadAll(io.LimitReader(r, int64(size)))
				return got
			}
			b := a.listed(t)
			soon(t, "putting a letter", func() {
				if id, err := b.Append(t.Context(), "Archive", newLetter(text)); err != nil || id.UID != 5 {
					t.Errorf("%v, %v", id, err)
				}
			})
			if len(a.where(text)) != 1 {
				t.Error("it is not there once")
			}
		})
		t.Run("half-dead "+caps, func(t *testing.T) {
			a := newAccount("UIDPLUS " + caps)
			stop := make(chan struct{})
			a.wrap = func(c net.Conn) net.Conn { c.(*net.TCPConn).SetReadBuffer(64 << 10); return c }
			a.letter = func(r io.Reader, size int) []byte { <-stop; return nil }
			cfg := a.start(t)
			cfg.Timeout = time.Second
			t.Cleanup(func() { close(stop) })
			b := listed(t, cfg)
			soon(t, "putting a letter", func() {
				if _, err := b.Append(t.Context(), "Archive", newLetter(text)); !isBroken(err) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// TestAppendSlowly has a server that takes its time, and always goes on.
func TestAppendSlowly(t *testing.T) {
	a := newAccount("UIDPLUS LITERAL+")
	a.wrap = func(c net.Conn) net.Conn { c.(*net.TCPConn).SetReadBuffer(32 << 10); return c }
	text := sized(16 << 20)
	a.letter = func(r io.Reader, size int) []byte {
		b := make([]byte, size)
		const pieces = 60
		for i := range pieces {
			<-time.After(50 * time.Millisecond) // the line's pace
			io.ReadFull(r, b[i*size/pieces:(i+1)*size/pieces])
		}
		return b
	}
	cfg := a.start(t)
	cfg.Timeout = time.Second
	b := listed(t, cfg)
	if id, err := b.Append(t.Context(), "Archive", newLetter(text)); err != nil || id.UID != 5 || a.connections() != 1 {
		t.Errorf("%v, %v, %d connections", id, err, a.connections())
	}
}

// TestAppendWithOthers has an IDLE end for a letter, and others ask meanwhile, all on one
// connection.
func TestAppendWithOthers(t *testing.T) {
	for _, caps := range []string{"LITERAL+", "LITERAL-", "ESEARCH"} {
		a := newAccount("UIDPLUS IDLE MOVE " + caps)
		b := a.listed(t)
		soon(t, "all together", func() {
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					text := sized(100<<10 + i)
					if id, err := b.Append(t.Context(), "Archive", newLetter(text)); err != nil || id.UID == 0 || len(a.where(text)) != 1 {
						t.Errorf("%v, %v", id, err)
					}
				})
				wg.Go(func() {
					if got, err := b.Fetch(msg(3), "", 0, -1); err != nil || string(got) != letterOf(3) {
						t.Errorf("got %q, %v", got, err)
					}
				})
			}
			for _, uid := range []uint32{1, 2} {
				wg.Go(func() {
					if id, err := b.Move(t.Context(), msg(uid), "Archive"); err != nil || id.UID == 0 {
						t.Errorf("%v, %v", id, err)
					}
				})
			}
			wg.Wait()
		})
		a.agrees(t, b, "INBOX")
		a.agrees(t, b, "Archive")
	}
}

// TestAppendAfterIdle has the server listen, and say so twice.
func TestAppendAfterIdle(t *testing.T) {
	a := newAccount("UIDPLUS IDLE")
	done, idles := false, make(chan struct{})
	idle := sync.OnceFunc(func() { close(idles) })
	a.twist = func(tag, command string, do func() string) string {
		switch {
		case command == "IDLE":
			defer idle()
		case command == "DONE":
			done = true
			return "+ still idling\r\n" + tag + " OK done\r\n"
		case tag == "" && done:
			return "%s NO [OVERQUOTA] no\r\n"
		}
		return do()
	}
	b := listed(t, a.start(t))
	soon(t, "IDLE", func() { <-idles })
	text := "Subject: x\r\n\r\nT99 DELETE INBOX\r\n"
	if _, err := b.Append(t.Context(), "Archive", newLetter(text)); !errors.Is(err, mail.ErrNoRoom) {
		t.Errorf("error %v", err)
	}
	if a.count("DELETE") > 0 || a.count("Subject") > 0 {
		t.Error("the mail was taken for commands")
	}
}

// TestAppendUntraced has nothing of a letter in the trace.
func TestAppendUntraced(t *testing.T) {
	for _, caps := range []string{"LITERAL+", "ESEARCH", "LITERAL+ COMPRESS=DEFLATE"} {
		var trace lockedBuffer
		a := newAccount("UIDPLUS " + caps)
		a.wrap = func(c net.Conn) net.Conn { return &packedConn{Conn: c} }
		cfg := a.start(t)
		cfg.Trace = &trace
		b := listed(t, cfg)
		if _, err := b.Append(t.Context(), "Archive", newLetter("Subject: hush\n\nT5 LIST hush\n")); err != nil {
			t.Error(err)
		}
		b.Close()
		if text := trace.String(); strings.Contains(text, "hush") || !strings.Contains(text, `APPEND "Archive" (\Seen) [31 bytes`) {
			t.Errorf("the trace: %s", text)
		}
	}
}

// TestLineEnds has each line end in CRLF, whatever the pieces.
func TestLineEnds(t *testing.T) {
	for text, want := range map[string]string{
		"a\nb\r\nc\n\n\r\n": "a\r\nb\r\nc\r\n\r\n\r\n", "\n": "\r\n", "a\rb": "a\rb", "": "",
	} {
		for size := 1; size < 5; size++ {
			var got bytes.Buffer
			r := onTheWire(newLetter(text))
			for p := make([]byte, size); ; {
				n, err := r.Read(p)
				if got.Write(p[:n]); err != nil {
					break
				}
			}
			if got.String() != want {
				t.Errorf("%q became %q", text, got.String())
			}
		}
	}
}
