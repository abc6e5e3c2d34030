package fs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"imapfs/internal/fakemail"
)

// newLetter opens a letter in the inbox, as CREATE does.
func newLetter(t *testing.T, fsys *FS, name string) (*letterNode, *letterHandle) {
	t.Helper()
	l := fsys.letters.add(named{"INBOX", name})
	return &letterNode{letter: l}, l.handle(t.Context(), syscall.O_WRONLY)
}

func writeAll(t *testing.T, n *letterNode, h *letterHandle, text string) {
	t.Helper()
	if count, errno := n.Write(t.Context(), h, []byte(text), 0); int(count) != len(text) || errno != 0 {
		t.Error(count, errno)
	}
}

// TestNamesOfLettersVanish has a minute pass after letters were sent. No more than some
// are kept for so long.
func TestNamesOfLettersVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{}}
		fsys := newFS(t, f, 0)
		const n = mostDone + 10
		for i := range n {
			node, h := newLetter(t, fsys, fmt.Sprintf("%d.eml", i))
			writeAll(t, node, h, letterText)
			if errno := node.Flush(t.Context(), h); errno != 0 {
				t.Fatal(errno)
			}
			node.Release(t.Context(), h)
		}
		newLetter(t, fsys, "open.eml")
		node, h := newLetter(t, fsys, "empty.eml")
		node.Release(t.Context(), h)
		node, h = newLetter(t, fsys, ".mine")
		node.Release(t.Context(), h)
		if len(f.Mail) != n {
			t.Errorf("%d were sent, want %d", len(f.Mail), n)
		}
		ls := &fsys.letters
		if ls.find(named{"INBOX", "0.eml"}) != nil || ls.find(named{"INBOX", fmt.Sprintf("%d.eml", n-1)}) == nil {
			t.Error("the oldest is kept, or the newest is not")
		}
		if listed := ls.entries("INBOX"); len(listed) != 3 {
			t.Errorf("listed are %v, want those that were not sent", listed)
		}
		time.Sleep(keepDone)
		synctest.Wait()
		if len(ls.at) != 2 || len(ls.kept) > 0 || ls.spools.memory > 0 {
			t.Errorf("after that time: %d names, %d kept, %d bytes", len(ls.at), len(ls.kept), ls.spools.memory)
		}
	})
}

// TestInterruptedClose interrupts who waits for a letter to be sent. It is sent all the
// same, once, and who asks next is told.
func TestInterruptedClose(t *testing.T) {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{}}
	fsys := newFS(t, f, 0)
	node, h := newLetter(t, fsys, "x.eml")
	writeAll(t, node, h, letterText)
	f.Lock() // the server does not answer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if errno := node.Flush(ctx, h); errno != syscall.EINTR {
		t.Errorf("got %v, want EINTR", errno)
	}
	node.Release(t.Context(), h)
	f.Unlock()
	if errno := node.Flush(t.Context(), node.letter.orphan); errno != 0 {
		t.Error(errno)
	}
	fsys.letters.close()
	if len(f.Mail) != 1 {
		t.Errorf("%d have come", len(f.Mail))
	}
}

// TestCloseOfTheMountSendsWhatIsUnderWay ends the mount while nobody waits for a letter
// that is being sent.
func TestCloseOfTheMountSendsWhatIsUnderWay(t *testing.T) {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{}}
	fsys := newFS(t, f, 0)
	node, h := newLetter(t, fsys, "x.eml")
	writeAll(t, node, h, letterText)
	node.Release(t.Context(), h)
	fsys.letters.close()
	if len(f.Mail) != 1 {
		t.Errorf("%d have come", len(f.Mail))
	}
	node, h = newLetter(t, fsys, "y.eml")
	writeAll(t, node, h, letterText)
	if errno := node.Flush(t.Context(), h); errno != syscall.EIO || len(f.Mail) != 1 {
		t.Errorf("afterwards: %v, %d have come", errno, len(f.Mail))
	}
}

// TestHalfWrittenIsNotSent closes a letter of which a write has failed.
func TestHalfWrittenIsNotSent(t *testing.T) {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{}}
	fsys := newFS(t, f, 0)
	for _, name := range []string{"x.eml", ".x"} {
		node, h := newLetter(t, fsys, name)
		writeAll(t, node, h, letterText)
		if _, errno := node.Write(t.Context(), h, []byte("x"), spoolMost); errno != syscall.EFBIG {
			t.Errorf("got %v, want EFBIG", errno)
		}
		errno := node.Flush(t.Context(), h)
		node.Release(t.Context(), h)
		if name == ".x" {
			errno = node.moveTo(t.Context(), inbox(fsys), "y.eml")
		}
		if errno != syscall.EFBIG {
			t.Errorf("%s: got %v, want EFBIG", name, errno)
		}
	}
	fsys.letters.close()
	if len(f.Mail) != 0 {
		t.Errorf("%d have come", len(f.Mail))
	}
}

func inbox(fsys *FS) *folderNode {
	return &folderNode{fsys: fsys, key: fsys.folders.At([]string{"INBOX"}).Key}
}

// TestLettersBesideOthers does all that can be done with letters at once: each that
// was closed without an error has come, once, and nothing is left.
func TestLettersBesideOthers(t *testing.T) {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{}}
	fsys := newFS(t, f, 0)
	var wg sync.WaitGroup
	var sent sync.Map
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for j := range 200 {
				name := fmt.Sprintf("%d.eml", r.IntN(4)) // others have it too
				temporary := r.IntN(2) == 0
				if temporary {
					name = "." + name
				}
				node, h := newLetter(t, fsys, name)
				text := fmt.Sprintf("Subject: %d %d\n\n", i, j)
				writeAll(t, node, h, text)
				errno := node.Flush(t.Context(), h)
				node.Release(t.Context(), h)
				if temporary {
					errno = node.moveTo(t.Context(), inbox(fsys), fmt.Sprintf("%d.eml", r.IntN(4)))
				}
				if errno != 0 && !(errno == syscall.ENOENT && temporary) { // another one has its name
					t.Error(errno)
				}
				sent.Store(text, errno == 0)
				node, h = newLetter(t, fsys, fmt.Sprintf("%d.eml", 4+i))
				writeAll(t, node, h, "Subject: removed\n\n")
				inbox(fsys).Unlink(t.Context(), fmt.Sprintf("%d.eml", 4+i))
				if errno := node.Flush(t.Context(), h); errno != 0 {
					t.Error(errno)
				}
				node.Release(t.Context(), h)
			}
		})
	}
	wg.Wait()
	fsys.letters.close()
	if memory := fsys.letters.spools.memory; memory != 0 {
		t.Errorf("%d bytes are left in spools", memory)
	}
	seen := make(map[string]int)
	for _, m := range f.Mail {
		seen[string(m.Raw)]++
	}
	for text, count := range seen {
		if count != 1 {
			t.Errorf("%q has come %d times", text, count)
		}
	}
	sent.Range(func(text, success any) bool {
		if came := seen[text.(string)] == 1; came != success.(bool) {
			t.Errorf("%q: success %t, come %t", text, success, came)
		}
		return true
	})
}

func TestFateOfNames(t *testing.T) {
	for name, want := range map[string]fate{
		"x.eml": toSend, "X.EML": toSend, "a.b.eml": toSend, "Grüße, x.eml": toSend, "x.eml.eml": toSend,
		".x.eml": toKeep, ".x.eml.AbC123": toKeep, "._x.eml": toKeep, ".DS_Store": toKeep, ".directory": toKeep,
		"x.eml.part": toKeep, "x.eml~": toKeep, "#x.eml#": toKeep, "x.eml.1a2b.partial": toKeep, "x.part": toKeep, "x.crdownload": toKeep,
		"x": toRefuse, "x.txt": toRefuse, "x.emlx": toRefuse, "eml": toRefuse, "x.eml2": toRefuse, "part": toRefuse,
	} {
		if got := fateOf(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestBeginsWithHeader(t *testing.T) {
	for text, want := range map[string]bool{
		"Subject: x\n": true, "X:": true, "Subject : x\n": true, "From a@b Mon\nSubject: x\n": true, ">From a@b Mon\r\nX: y\r\n": true,
		"": false, "\nSubject: x\n": false, "Hello\n": false, "Hello you: x\n": false, " Subject: x\n": false, ": x\n": false, "From a@b: x\n": false,
		"Hello\nSubject: x\n": false, "Sübject: x\n": false, "PK\x03\x04:": false,
	} {
		if got := beginsWithHeader([]byte(text)); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}
