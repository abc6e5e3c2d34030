package fs

import (
	"errors"
	"testing"
)

func TestExplainMount(t *testing.T) {
	got := explainMount("/mnt", errors.New("fusermount exited with code 256\n")).Error()
	if want := "cannot mount on /mnt: fusermount3 has refused; its own line, above, says why"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
