package cache

import (
	"fmt"
	"slices"
	"testing"
)

// TestNames has names of which one begins with another, among many keys, on the
// disk and not yet there.
func TestNames(t *testing.T) {
	d := openTest(t, t.TempDir(), 10<<20)
	want := []string{"", "INBOX", "INBOX/Receipts", "INBOX2", "a\x01", "日本"}
	for i := range 200 {
		for _, name := range want {
			d.Put(fmt.Sprintf("mail\x00%s\x00%d", name, i), []byte("x"))
		}
		d.Put(fmt.Sprintf("mai\x00other\x00%d", i), []byte("x"))
	}
	for _, when := range []string{"waiting", "written"} {
		if got := d.Names("mail\x00"); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
		d.flush()
	}
	d.Delete("mail\x00INBOX\x00")
	d.flush()
	if got := d.Names("mail\x00"); slices.Contains(got, "INBOX") || len(got) != len(want)-1 {
		t.Errorf("INBOX was deleted: got %q", got)
	}
	if got := (*Disk)(nil).Names(""); got != nil {
		t.Errorf("without a disk: %q", got)
	}
}
