package fs

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imapfs/mail"
)

// TestManyHiddenNamesComeBack hides the files of many messages, as find -type f
// -delete does, and lets their time pass.
func TestManyHiddenNamesComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20_000
		var told sync.Map // by message
		l := &leaving{void: func(id mail.ID) { told.Store(id, true) }}
		for uid := range uint32(n) {
			id := mail.ID{Folder: "INBOX", UIDValidity: 1, UID: uid + 1}
			l.hide(hiddenName{id, kindMessage, bodyName})
			l.hide(hiddenName{id, kindMessage, headersName})
			time.Sleep(time.Millisecond)
		}
		first := hiddenName{mail.ID{Folder: "INBOX", UIDValidity: 1, UID: 1}, kindMessage, bodyName}
		if !l.hides(first) {
			t.Error("a name is back before its time")
		}
		time.Sleep(hideFor)
		synctest.Wait()
		shown := 0
		told.Range(func(any, any) bool { shown++; return true })
		if l.hides(first) || len(l.messages) > 0 || shown != n {
			t.Errorf("%d messages are still in the table; of %d was told that names are back, want %d", len(l.messages), shown, n)
		}
	})
}
