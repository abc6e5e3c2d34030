package cache

import "testing"

func TestWeighted(t *testing.T) {
	w := NewWeighted(10, func(_ string, weight int) int64 { return int64(weight) })
	look := func(when string, used int64, keys ...string) {
		t.Helper()
		for _, key := range keys {
			if !w.Contains(key) {
				t.Errorf("%s: %s is gone", when, key)
			}
		}
		if w.Len() != len(keys) || w.Used() != used {
			t.Errorf("%s: %d values of weight %d are kept, want %d of %d", when, w.Len(), w.Used(), len(keys), used)
		}
	}
	w.Add("a", 3)
	w.Add("b", 3)
	w.Add("c", 4)
	w.Get("a")
	w.Contains("b") // is no use
	w.Add("d", 1)
	look("one too many", 8, "a", "c", "d")
	w.Add("c", 1)
	look("replaced", 5, "a", "c", "d")
	w.Remove("a")
	w.Remove("b")
	look("removed", 2, "c", "d")
	w.Add("heavy", 100)
	look("above the budget", 100, "heavy")
}
