package imapbackend

import "testing"

// One message came and one went: until the messages have been listed again,
// what is stored must not look like the listing of now.
func TestUIDNextBeforeRefresh(t *testing.T) {
	b := &Backend{closed: true, store: forgetful{}} // so that no refresh runs
	f := &folder{b: b, name: "A", source: fromServer, validity: 7, uidNext: 4, uids: []uint32{1, 2, 3}}
	b.folders = map[string]*folder{"A": f}
	f.selected(7, 5, 3)
	if f.uidNext != 4 {
		t.Errorf("UIDNEXT is %d before the messages were listed, want 4", f.uidNext)
	}
}
