package cache

import (
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// After a time with a wrong clock, what is new is not taken for the oldest.
func TestDiskClockSetBack(t *testing.T) {
	const budget = 1 << 20
	dir := t.TempDir()
	year := 2040
	tune := quick
	tune.clock = func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	open := func() *Disk {
		d, err := openDisk(dir, budget, slog.New(slog.DiscardHandler), tune)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	fill := func(d *Disk, name string) {
		for i := range 200 {
			d.Put(fmt.Sprint(name, i), make([]byte, 5000))
		}
		d.flush()
	}
	d := open()
	fill(d, "old")
	d.Close()

	year = 2026
	d = open()
	fill(d, "new")
	if !d.Has("new199") || d.Has("old0") {
		t.Errorf("new: %v, old: %v", d.Has("new199"), d.Has("old0"))
	}
}
