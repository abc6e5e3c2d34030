package main

import (
	"slices"
	"testing"
)

func TestCommands(t *testing.T) {
	const session = "a1 LOGIN {4+}\r\nanna secret\r\n" +
		"a2 AUTHENTICATE PLAIN\r\nAGFubmEAc2VjcmV0\r\n" +
		"a3 LIST \"\" {3}\r\n%\r\n {1+}\r\n*\r\n" +
		"a4 IDLE\r\nDONE\r\n" +
		"a5 UID FETCH 3:4,9 (UID BODY.PEEK[])\r\n"
	want := []string{"LOGIN", "AUTHENTICATE", "LIST \"\" {3}  {1+} ", "IDLE", "DONE", "UID FETCH 3:4,9 (UID BODY.PEEK[])"}
	// However the bytes arrive.
	for _, size := range []int{1, 7, len(session)} {
		var got []string
		lines := commandReader(func(c string) { got = append(got, c) })
		for chunk := range slices.Chunk([]byte(session), size) {
			lines.read(chunk)
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d bytes: %q, want %q", size, got, want)
		}
	}
}

func TestContentAsked(t *testing.T) {
	commands := []sent{
		{command: "UID FETCH 1:9 (UID BODYSTRUCTURE FLAGS)"},
		{command: "UID FETCH 3:4,9 (UID BODY.PEEK[])"},
		{command: "UID FETCH 4,8:* (BODY.PEEK[1])"},
		{command: "UID SEARCH BODY[ ALL"},
	}
	got, err := contentAsked(commands, 10)
	if err != nil || got != 5 { // 3 4 8 9 10
		t.Errorf("%d, %v, want 5", got, err)
	}
}
