package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFirstSession types what the README shows first, and sees what it shows. In
// which order names come, and how ls arranges them, is not compared.
func TestFirstSession(t *testing.T) {
	need(t, "bash")
	readme := string(read(t, "README.md"))
	_, session, _ := strings.Cut(readme, "```\n$ ")
	session, _, _ = strings.Cut(session, "```\n")
	home, bin := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", runMain, self)
	if err := os.WriteFile(filepath.Join(bin, "imapfs"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	defer unmount(t, filepath.Join(home, "mail"))
	commands := 0
	for step := range strings.SplitSeq(session, "\n$ ") {
		command, want, _ := strings.Cut(step, "\n")
		cmd := exec.Command("bash", "-c", command)
		cmd.Env = append(os.Environ(), "HOME="+home, "PATH="+bin+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, &out)
		}
		if got, want := shown(out.String()), shown(strings.ReplaceAll(want, "/home/ines", home)); !slices.Equal(got, want) {
			t.Errorf("%s shows\n%q\nand the README\n%q", command, got, want)
		}
		commands++
	}
	if commands < 6 {
		t.Errorf("only %d commands", commands)
	}
	if _, err := os.Lstat(filepath.Join(home, "mail/INBOX/14")); err == nil {
		t.Error("message 14 is there still")
	}
}

// gap is what ls leaves between two names on a line.
var gap = regexp.MustCompile(`\n|  +`)

// shown are the lines of a text, or what stands in the columns of them, in order.
func shown(text string) []string {
	var list []string
	for _, s := range gap.Split(text, -1) {
		if s = strings.Trim(strings.TrimSpace(s), "'"); s != "" {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	return list
}
