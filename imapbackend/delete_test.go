package imapbackend

import (
	"reflect"
	"strings"
	"sync"
	"testing"

	"imapfs/mail"
)

func TestLostDelete(t *testing.T) {
	for name, done := range map[string]bool{"done": true, "not done": false} {
		t.Run(name, func(t *testing.T) {
			broken, gone := false, done
			s := &script{answer: func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "UID STORE") && !broken:
					broken = true
					return cut
				case strings.HasPrefix(command, "UID EXPUNGE"):
					gone = true
				case strings.HasPrefix(command, "UID SEARCH UID"):
					if gone {
						return "* SEARCH\r\n" + tag + " OK x\r\n"
					}
					return "* SEARCH 2\r\n" + tag + " OK x\r\n"
				}
				return ""
			}}
			b := listed(t, s.start(t))
			if err := b.Delete(t.Context(), msg(2)); err != nil {
				t.Fatal(err)
			}
			want := map[bool]int{true: 1, false: 2}[done]
			if got := s.count("UID STORE"); got != want {
				t.Errorf("%d STORE, want %d", got, want)
			}
			if l, _ := b.Messages(t.Context(), "INBOX"); !reflect.DeepEqual(l.UIDs, []uint32{1, 3}) {
				t.Error(l)
			}
		})
	}
}

// TestRefusedSelectDeletesNothing has a server that says NO to SELECT and keeps
// the folder before selected, which it must not do.
func TestRefusedSelectDeletesNothing(t *testing.T) {
	n := 0
	s := &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "SELECT INBOX") {
			if n++; n > 1 {
				return tag + " NO [UNAVAILABLE] not now\r\n"
			}
		}
		return ""
	}}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 { // others who want the pool's lock at the wrong moment
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					b.pool.selectedBy()
				}
			}
		})
	}
	for range 500 {
		if err := b.Delete(t.Context(), msg(2)); err == nil {
			t.Error("a deletion succeeds")
			break
		}
	}
	close(stop)
	wg.Wait()
	if n := s.count("UID STORE") + s.count("UID EXPUNGE"); n > 0 {
		t.Errorf("%d commands to delete were sent", n)
	}
}

// TestFolderWithoutUIDValidity deletes nothing where UIDs have no meaning.
func TestFolderWithoutUIDValidity(t *testing.T) {
	n := 0
	s := &script{}
	s.answer = func(tag, command string) string {
		if strings.HasPrefix(command, "SELECT INBOX") {
			if n++; n == 1 {
				return strings.Replace(s.usual(tag, command), "* OK [UIDVALIDITY 7] x\r\n", "", 1)
			}
		}
		return ""
	}
	b := listed(t, s.start(t))
	if _, err := b.Messages(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	err := b.Delete(t.Context(), mail.ID{Folder: "INBOX", UID: 2})
	if err == nil || s.count("UID EXPUNGE") > 0 {
		t.Errorf("deleting: %v, %d sent", err, s.count("UID EXPUNGE"))
	}
}

// TestOthersGoInstead has a server that says OK, reports that two messages have
// gone, and still has the one that was to go.
func TestOthersGoInstead(t *testing.T) {
	for name, still := range map[string]string{"kept": " 2", "gone": ""} {
		t.Run(name, func(t *testing.T) {
			s := &script{answer: func(tag, command string) string {
				switch {
				case strings.HasPrefix(command, "UID EXPUNGE"):
					return "* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n" + tag + " OK done\r\n"
				case strings.HasPrefix(command, "UID SEARCH UID"), strings.HasPrefix(command, "UID SEARCH 2"):
					return "* SEARCH" + still + "\r\n" + tag + " OK x\r\n"
				}
				return ""
			}}
			b := listed(t, s.start(t))
			if err := b.Delete(t.Context(), msg(2)); (err != nil) != (still != "") {
				t.Errorf("error %v", err)
			}
			if n := s.count(`UID STORE 2 -FLAGS.SILENT (\Deleted)`); (n > 0) != (still != "") {
				t.Errorf("the mark was taken away %d times", n)
			}
		})
	}
}
