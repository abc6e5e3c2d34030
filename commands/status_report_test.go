package commands

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"imapfs/imapbackend"
)

func TestStatusPrintsNoControls(t *testing.T) {
	r := report{}
	r.Server, r.Connections = "host", []imapbackend.Connection{{Folder: "a\x1b[2Jb\u202e"}}
	var b bytes.Buffer
	if err := r.print(&b, time.Now()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "a?[2Jb?: idle") {
		t.Errorf("got %q", b.String())
	}
}
