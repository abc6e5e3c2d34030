package fs

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"imapfs/mail"
)

// TestResultsAsTheyCome reads what is found while the search goes on.
func TestResultsAsTheyCome(t *testing.T) {
	m := mount(t, "searching")
	for _, dir := range []string{"INBOX/.search/x", ".search/x/INBOX"} {
		d, err := os.Open(filepath.Join(m.dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		seen := make(map[string]bool)
		read := func() error {
			some, err := d.ReadDir(1)
			for _, e := range some {
				if _, ok := mail.ParseNumber(e.Name()); !ok || seen[e.Name()] {
					t.Errorf("%s is listed, after %d", e.Name(), len(seen))
				}
				seen[e.Name()] = true
			}
			return err
		}
		for range searchedFirst {
			if err := read(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(filepath.Join(m.dir, dir, "17")); err != nil {
			t.Error(err)
		}
		if dir == ".search/x/INBOX" {
			if _, err := os.Stat(filepath.Join(m.dir, dir, "2400")); err != nil {
				t.Error(err)
			}
		} else {
			m.do(t, "find")
		}
		for err = read(); err == nil; {
			err = read()
		}
		if err != io.EOF || len(seen) != 2500 {
			t.Errorf("%s lists %d messages, %v", dir, len(seen), err)
		}
	}
}
