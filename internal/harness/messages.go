package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"imapfs/mail"
)

// FolderPath is where a mailbox of the sample is shown. A child of digits only
// could be taken for a message where its parent holds some.
func FolderPath(mnt string, all []*imap.ListData, l *imap.ListData) string {
	path, parent := mnt, ""
	for _, c := range strings.Split(l.Mailbox, string(l.Delim)) {
		above := slices.IndexFunc(all, func(l *imap.ListData) bool { return l.Mailbox == parent })
		parent = strings.TrimPrefix(parent+string(l.Delim)+c, string(l.Delim))
		if above >= 0 && Selectable(all[above]) && strings.Trim(c, "0123456789") == "" {
			c += ".folder"
		}
		if c == ".." {
			c = "%2E%2E"
		}
		path = filepath.Join(path, c)
	}
	return path
}

// EachMessage calls f for each message directory of the mount, with what the
// server holds.
func EachMessage(t *testing.T, a Account, mnt string, f func(dir string, m Held)) {
	t.Helper()
	c := a.Client(t)
	list := Folders(t, c)
	for _, l := range list {
		if !Selectable(l) {
			continue
		}
		for _, m := range Messages(t, c, l.Mailbox) {
			f(filepath.Join(FolderPath(mnt, list, l), fmt.Sprint(m.UID)), m)
		}
	}
}

// SameFiles compares a message's directory with what the raw message makes:
// the same whether the mount fetched it whole or by parts.
func SameFiles(t *testing.T, dir string, raw []byte) {
	t.Helper()
	root := mail.Parse(raw)
	parts := root.Text()
	bodies := make([][]byte, len(parts))
	for i, p := range parts {
		bodies[i], _ = root.Bytes(raw, p.Section)
	}
	want := map[string][]byte{
		"message.eml": raw,
		"headers.txt": mail.HeadersText(mail.SplitHeader(raw), mail.Parse(raw).Charset()),
		"body.txt":    mail.BodyText(parts, bodies),
	}
	if html := root.HTML(); len(html) > 0 {
		bodies := make([][]byte, len(html))
		for i, p := range html {
			bodies[i], _ = root.Bytes(raw, p.Section)
		}
		want["body.html"] = mail.HTMLFile(html, bodies)
	} else if _, err := os.Stat(filepath.Join(dir, "body.html")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s/body.html without an HTML part: %v", dir, err)
	}
	var attachments []string
	for _, a := range root.Attachments() {
		body, _ := root.Bytes(raw, a.Part.Section)
		d := mail.NewDecoder(a.Part.Encoding)
		want["attachments/"+a.Name] = d.Decode(nil, body, true)
		attachments = append(attachments, a.Name)
	}
	got := Names(t, filepath.Join(dir, "attachments"))
	sort.Strings(attachments)
	sort.Strings(got)
	if !slices.Equal(got, attachments) {
		t.Errorf("%s/attachments lists %q, want %q", dir, got, attachments)
		return
	}
	for name, content := range want {
		if got := Read(t, dir, name); !bytes.Equal(got, content) {
			t.Errorf("%s/%s has %d bytes, want %d, or others", dir, name, len(got), len(content))
		}
	}
}

func ToolsAgree(t *testing.T, a Account, atLeast int) {
	t.Helper()
	// What Courier calls an attachment depends on whether the message was read.
	settled := func(all map[string]string) map[string]string {
		maps.DeleteFunc(all, func(path, _ string) bool {
			return a.ChangesNames && (strings.HasSuffix(path, "boot.ini") || strings.HasSuffix(path, "ffner.txt"))
		})
		return all
	}
	want := settled(Hashes(t, Mount(t, a)))
	if len(want) < 2*atLeast {
		t.Fatalf("only %d files", len(want))
	}
	compare := func(t *testing.T, got map[string]string) {
		t.Helper()
		if settled(got); len(got) != len(want) {
			t.Errorf("%d files, want %d", len(got), len(want))
		}
		for path, sum := range want {
			if got[path] != sum {
				t.Errorf("%s differs", path)
			}
		}
	}
	t.Run("cp", func(t *testing.T) {
		Need(t, "cp")
		dir := t.TempDir()
		Run(t, "cp", "-r", Mount(t, a)+"/.", dir)
		compare(t, Hashes(t, dir))
	})
	t.Run("tar", func(t *testing.T) {
		Need(t, "tar")
		dir := t.TempDir()
		file := filepath.Join(t.TempDir(), "mail.tar")
		Run(t, "tar", "-C", Mount(t, a), "-cf", file, ".")
		Run(t, "tar", "-C", dir, "-xf", file)
		compare(t, Hashes(t, dir))
	})
	t.Run("rsync", func(t *testing.T) {
		Need(t, "rsync")
		dir := t.TempDir()
		Run(t, "rsync", "-a", Mount(t, a)+"/", dir)
		compare(t, Hashes(t, dir))
	})
	t.Run("wc and find", func(t *testing.T) {
		Need(t, "find", "wc", "sh")
		mnt := Mount(t, a)
		var total int64
		filepath.WalkDir(mnt, func(path string, d fs.DirEntry, err error) error { return err })
		for path := range want {
			total += int64(len(Read(t, mnt, path)))
		}
		out := Run(t, "sh", "-c", `find "$1" -type f -print0 | xargs -0 cat | wc -c`, "sh", Mount(t, a))
		if strings.TrimSpace(out) != fmt.Sprint(total) && !a.ChangesNames {
			t.Errorf("wc counts %s bytes, want %d", out, total)
		}
	})
	t.Run("grep", func(t *testing.T) {
		Need(t, "grep")
		out := Run(t, "grep", "-r", "-c", "", Mount(t, a))
		if n := strings.Count(out, "\n"); n != len(want) && !a.ChangesNames {
			t.Errorf("grep -r reads %d files, want %d", n, len(want))
		}
	})
	t.Run("mmap", func(t *testing.T) {
		Need(t, "python3")
		out := Run(t, "python3", "-c", `
import hashlib, mmap, os, sys
top = sys.argv[1]
for d, _, files in os.walk(top):
    for name in files:
        path = os.path.join(d, name)
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            data = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:] if size else b""
        sys.stdout.buffer.write(hashlib.sha256(data).hexdigest().encode() + b" " + os.fsencode(os.path.relpath(path, top)) + b"\0")
`, Mount(t, a))
		got := make(map[string]string)
		for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
			sum, path, _ := strings.Cut(line, " ")
			got[path] = sum
		}
		compare(t, got)
	})
}
