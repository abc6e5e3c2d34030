package imapbackend

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"imapfs/mail"
)

type twist = func(tag, command string, do func() string) string

// at has the nth command with a prefix answered in another way, all of them for 0.
func at(n int, prefix string, f func(tag string, do func() string) string) twist {
	i := 0
	return func(tag, command string, do func() string) string {
		if strings.HasPrefix(command, prefix) {
			if i++; n == 0 || i == n {
				return f(tag, do)
			}
		}
		return do()
	}
}

func refusing(prefix, code string) twist {
	return at(0, prefix, func(tag string, _ func() string) string { return tag + " NO " + code + " no\r\n" })
}

// lostAt ends the connection at each of the first n commands, once it is done or before.
func lostAt(n int, prefix string, done bool) twist {
	i := 0
	return func(tag, command string, do func() string) string {
		if tag != "" && strings.HasPrefix(command, prefix) {
			if i++; i <= n {
				if done {
					do()
				}
				return cut
			}
		}
		return do()
	}
}

const (
	moves     = "UID MOVE 2 Archive"
	copies    = "UID COPY 2 Archive"
	marks     = `UID STORE 2 +FLAGS.SILENT (\Deleted)`
	unmarks   = `UID STORE 2 -FLAGS.SILENT (\Deleted)`
	expunges  = "UID EXPUNGE 2"
	marksCopy = `UID STORE 5 +FLAGS.SILENT (\Deleted)`
	goesCopy  = "UID EXPUNGE 5"
)

var inInbox, inArchive, inBoth = []string{"INBOX"}, []string{"Archive"}, []string{"Archive", "INBOX"}

// TestMove has a server answer in all ways. The message is in one place then, and both
// folders are listed as they are.
func TestMove(t *testing.T) {
	const plus, move = "UIDPLUS", "UIDPLUS MOVE"
	for _, c := range []struct {
		what, caps string
		noCode     bool
		twist      twist
		want       error
		uid        uint32 // 0: not known
		sent       []string
		where      []string
	}{
		{"MOVE", move, false, nil, nil, 5, []string{moves}, inArchive},
		{"COPYUID in the answer", move, false, at(1, "UID MOVE", func(tag string, do func() string) string {
			do()
			return "* 2 EXPUNGE\r\n" + tag + " OK [COPYUID 9 2 5] done\r\n"
		}), nil, 5, []string{moves}, inArchive},
		{"no COPYUID", move, true, nil, nil, 5, []string{moves}, inArchive},
		{"no UIDPLUS", "MOVE", false, nil, nil, 5, []string{moves}, inArchive},
		{"and another one like it", "MOVE", false, nil, nil, 0, []string{moves}, inArchive},
		{"lost before", move, false, lostAt(1, "UID MOVE", false), nil, 5, []string{moves, moves}, inArchive},
		{"lost behind", move, false, lostAt(1, "UID MOVE", true), nil, 5, []string{moves}, inArchive},
		{"lost twice", move, false, lostAt(2, "UID MOVE", false), errBroken, 0, []string{moves, moves}, inInbox},
		{"no folder", move, false, refusing("UID MOVE", "[TRYCREATE]"), mail.ErrRefused, 0, []string{moves}, inInbox},
		{"nor a word for it", move, false, refusing("UID MOVE", "[NONEXISTENT]"), mail.ErrRefused, 0, []string{moves}, inInbox},
		{"full", move, false, refusing("UID MOVE", "[OVERQUOTA]"), mail.ErrNoRoom, 0, []string{moves}, inInbox},
		{"not allowed", move, false, refusing("UID MOVE", "[NOPERM]"), mail.ErrReadOnly, 0, []string{moves}, inInbox},
		{"neither", "ESEARCH", false, nil, mail.ErrUnsupported, 0, nil, inInbox},
		{"COPY", plus, false, nil, nil, 5, []string{copies, marks, expunges}, inArchive},
		{"COPY without COPYUID", plus, true, nil, nil, 5, []string{copies, marks, expunges}, inArchive},
		{"COPY that does nothing", plus, false, at(0, "UID COPY", func(tag string, _ func() string) string { return tag + " OK done\r\n" }), errUnseen, 0, []string{copies}, inInbox},
		{"COPY lost before", plus, false, lostAt(1, "UID COPY", false), nil, 5, []string{copies, copies, marks, expunges}, inArchive},
		{"COPY lost behind", plus, false, lostAt(1, "UID COPY", true), nil, 5, []string{copies, marks, expunges}, inArchive},
		{"COPY lost twice", plus, false, lostAt(2, "UID COPY", false), errBroken, 0, []string{copies, copies}, inInbox},
		{"COPY into a full one", plus, false, refusing("UID COPY", "[OVERQUOTA]"), mail.ErrNoRoom, 0, []string{copies}, inInbox},
		{"COPY into none", plus, false, refusing("UID COPY", "[TRYCREATE]"), mail.ErrRefused, 0, []string{copies}, inInbox},
		{"STORE lost", plus, false, lostAt(1, "UID STORE", false), nil, 5, []string{copies, marks, marks, expunges}, inArchive},
		{"STORE refused", plus, false, refusing("UID STORE 2 +", "[NOPERM]"), mail.ErrReadOnly, 0, []string{copies, marks, expunges, marksCopy, goesCopy}, inInbox},
		{"EXPUNGE refused", plus, false, refusing("UID EXPUNGE 2", ""), mail.ErrRefused, 0, []string{copies, marks, expunges, unmarks, marksCopy, goesCopy}, inInbox},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := newAccount(c.caps)
			a.noCode, a.twist = c.noCode, c.twist
			b := a.listed(t)
			if strings.HasPrefix(c.what, "and") {
				a.mu.Lock()
				a.put("Archive", stored{raw: letterOf(9), date: `"01-Jan-2001 12:00:00 +0000"`})
				a.mu.Unlock()
			}
			soon(t, "moving", func() {
				if _, err := b.Attr(t.Context(), msg(2)); err != nil {
					t.Error(err)
				}
				id, err := b.Move(t.Context(), msg(2), "Archive")
				if !errors.Is(err, c.want) || errors.Is(err, mail.ErrNotFound) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if id.UID != c.uid || c.uid > 0 && id.UIDValidity != 9 {
					t.Errorf("it is %v, want %d", id, c.uid)
				}
			})
			if sent := a.changing(); !slices.Equal(sent, c.sent) {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
			if where := a.where(letterOf(2)); !slices.Equal(where, c.where) {
				t.Errorf("it is in %q, want %q", where, c.where)
			}
			if c.want == nil && c.uid > 0 {
				a.agrees(t, b, "INBOX")
				a.agrees(t, b, "Archive")
			}
		})
	}
}

// TestMoveWhatIsGone has another client expunge the message before. That is no success.
func TestMoveWhatIsGone(t *testing.T) {
	for _, caps := range []string{"UIDPLUS MOVE", "UIDPLUS"} {
		for _, answer := range []string{"OK done", "NO [EXPUNGEISSUED] gone", "NO gone"} {
			a := newAccount(caps)
			b := a.listed(t)
			a.mu.Lock()
			delete(a.boxes["INBOX"].messages, 2)
			a.twist = func(tag, command string, do func() string) string {
				if strings.HasPrefix(command, "UID MOVE") || strings.HasPrefix(command, "UID COPY") {
					return tag + " " + answer + "\r\n"
				}
				return do()
			}
			a.mu.Unlock()
			if id, err := b.Move(t.Context(), msg(2), "Archive"); !errors.Is(err, mail.ErrNotFound) {
				t.Errorf("%s, %s: moved to %v, %v", caps, answer, id, err)
			}
			if id, err := b.Copy(t.Context(), msg(2), "Archive"); !errors.Is(err, mail.ErrNotFound) {
				t.Errorf("%s, %s: copied to %v, %v", caps, answer, id, err)
			}
			if n := len(a.where(letterOf(2))) + a.count("UID STORE") + a.count("UID EXPUNGE"); n > 0 {
				t.Errorf("%s, %s: %d changes", caps, answer, n)
			}
		}
	}
}

// TestMoveAgain moves once more what could not be moved, when its copy was made and
// nobody knows how the rest has ended.
func TestMoveAgain(t *testing.T) {
	a := newAccount("UIDPLUS")
	a.twist = lostAt(2, "UID STORE", false)
	b := a.listed(t)
	if _, err := b.Move(t.Context(), msg(2), "Archive"); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	if where := a.where(letterOf(2)); !slices.Equal(where, inBoth) {
		t.Errorf("it is in %q", where)
	}
	id, err := b.Move(t.Context(), msg(2), "Archive")
	if err != nil || id.UID != 5 || a.count("UID COPY") != 1 || !slices.Equal(a.where(letterOf(2)), inArchive) {
		t.Errorf("moved to %v, %v; it is in %q; %q", id, err, a.where(letterOf(2)), a.changing())
	}
}

// TestMoveOfRenumbered has one of the folders numbered anew before.
func TestMoveOfRenumbered(t *testing.T) {
	for _, caps := range []string{"UIDPLUS MOVE", "UIDPLUS"} {
		for _, folder := range []string{"INBOX", "Archive"} {
			t.Run(caps+" "+folder, func(t *testing.T) {
				a := newAccount(caps)
				b := a.listed(t)
				a.mu.Lock()
				a.boxes[folder].validity, a.boxes[folder].next = 20, 2
				a.boxes[folder].messages = map[uint32]*stored{1: {raw: letterOf(7), date: goodDate}, 2: {raw: letterOf(8), date: goodDate}}
				if folder == "INBOX" {
					a.boxes[folder].next = 3
				} else {
					delete(a.boxes[folder].messages, 2)
				}
				for _, c := range a.conns {
					c.Close()
				}
				a.mu.Unlock()
				id, err := b.Move(t.Context(), msg(2), "Archive")
				if folder == "INBOX" {
					if !errors.Is(err, mail.ErrStale) || len(a.changing()) > 0 {
						t.Errorf("moved to %v, %v: %q", id, err, a.changing())
					}
					return
				}
				if want := (mail.ID{Folder: "Archive", UIDValidity: 20, UID: 2}); err != nil || id != want {
					t.Errorf("moved to %v, %v", id, err)
				}
			})
		}
	}
}

func TestCopy(t *testing.T) {
	for _, c := range []struct {
		what   string
		noCode bool
		twist  twist
		want   error
		sent   []string
		where  []string
	}{
		{"COPYUID", false, nil, nil, []string{copies}, inBoth},
		{"no COPYUID", true, nil, nil, []string{copies}, inBoth},
		{"lost before", false, lostAt(1, "UID COPY", false), nil, []string{copies, copies}, inBoth},
		{"lost behind", false, lostAt(1, "UID COPY", true), nil, []string{copies}, inBoth},
		{"lost twice", false, lostAt(2, "UID COPY", false), errBroken, []string{copies, copies}, inInbox},
		{"does nothing", false, at(0, "UID COPY", func(tag string, _ func() string) string { return tag + " OK done\r\n" }), errUnseen, []string{copies}, inInbox},
		{"full", false, refusing("UID COPY", "[OVERQUOTA]"), mail.ErrNoRoom, []string{copies}, inInbox},
		{"no folder", false, refusing("UID COPY", "[NONEXISTENT]"), mail.ErrRefused, []string{copies}, inInbox},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := newAccount("UIDPLUS MOVE")
			a.noCode, a.twist = c.noCode, c.twist
			b := a.listed(t)
			soon(t, "copying", func() {
				id, err := b.Copy(t.Context(), msg(2), "Archive")
				if !errors.Is(err, c.want) || errors.Is(err, mail.ErrNotFound) || c.want == nil && id.UID != 5 {
					t.Errorf("it is %v; error %v, want %v", id, err, c.want)
				}
			})
			if sent := a.changing(); !slices.Equal(sent, c.sent) {
				t.Errorf("sent %q, want %q", sent, c.sent)
			}
			if where := a.where(letterOf(2)); !slices.Equal(where, c.where) {
				t.Errorf("it is in %q, want %q", where, c.where)
			}
			a.agrees(t, b, "INBOX")
			a.agrees(t, b, "Archive")
		})
	}
}

// TestCopyUnseen has the answer to COPY lost where nobody can tell the copy from what has
// been there before: it is not copied twice, and nothing is deleted.
func TestCopyUnseen(t *testing.T) {
	for name, done := range map[string]bool{"done": true, "not done": false} {
		a := newAccount("UIDPLUS")
		a.twist = lostAt(1, "UID COPY", done)
		b := listed(t, a.start(t))
		b.quirks.noStatus.Store(true)
		if id, err := b.Move(t.Context(), msg(2), "Archive"); !errors.Is(err, errUnseen) {
			t.Errorf("%s: moved to %v, %v", name, id, err)
		}
		if sent := a.changing(); !slices.Equal(sent, []string{copies}) {
			t.Errorf("%s: sent %q", name, sent)
		}
	}
}

// TestArrivalWhileListing has a message come, and another one go, behind the question for
// the first listing of a folder: its answer is older than both.
func TestArrivalWhileListing(t *testing.T) {
	a := newAccount("UIDPLUS MOVE")
	asked, goOn := make(chan struct{}), make(chan struct{})
	first := true
	a.twist = func(tag, command string, do func() string) string {
		answer := do()
		if strings.HasPrefix(command, "UID SEARCH") && a.selected == "Archive" && first {
			first = false
			a.mu.Unlock()
			close(asked)
			<-goOn
			a.mu.Lock()
		}
		return answer
	}
	cfg := a.start(t)
	b := listed(t, cfg)
	done := make(chan error)
	go func() {
		_, err := b.Messages(t.Context(), "Archive")
		done <- err
	}()
	<-asked
	a.mu.Lock()
	came := a.put("Archive", stored{raw: letterOf(8), date: goodDate})
	delete(a.boxes["Archive"].messages, 3)
	a.mu.Unlock()
	f := b.folder("Archive")
	f.add(mail.ID{Folder: "Archive", UIDValidity: 9, UID: came}, mail.Attr{}, false)
	f.remove(mail.ID{Folder: "Archive", UIDValidity: 9, UID: 3})
	f.remove(mail.ID{Folder: "Archive", UIDValidity: 8, UID: came}) // of before
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.agrees(t, b, "Archive")
}
