package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/dovecot"
	"imapfs/mail"
)

func TestTreeIsTheServers(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		mnt := mount(t, a)
		c := a.client(t)
		n := 0
		list := folders(t, c)
		for _, l := range list {
			if !selectable(l) {
				continue
			}
			dir := folderPath(mnt, list, l)
			var uids []string
			for _, name := range names(t, dir) {
				if _, err := strconv.Atoi(name); err == nil {
					uids = append(uids, name)
				}
			}
			var want []string
			for _, m := range messages(t, c, l.Mailbox) {
				want = append(want, fmt.Sprint(m.uid))
			}
			sort.Strings(uids)
			sort.Strings(want)
			if !slices.Equal(uids, want) {
				t.Errorf("%s shows %v, the server has %v", l.Mailbox, uids, want)
			}
			n += len(want)
		}
		if n < 30 {
			t.Errorf("the sample has only %d messages", n)
		}
	})
}

// folderPath is where a mailbox of the sample is shown. A child of digits only
// could be taken for a message where its parent holds some.
func folderPath(mnt string, all []*imap.ListData, l *imap.ListData) string {
	path, parent := mnt, ""
	for _, c := range strings.Split(l.Mailbox, string(l.Delim)) {
		above := slices.IndexFunc(all, func(l *imap.ListData) bool { return l.Mailbox == parent })
		parent = strings.TrimPrefix(parent+string(l.Delim)+c, string(l.Delim))
		if above >= 0 && selectable(all[above]) && strings.Trim(c, "0123456789") == "" {
			c += ".folder"
		}
		if c == ".." {
			c = "%2E%2E"
		}
		path = filepath.Join(path, c)
	}
	return path
}

// eachMessage calls f for each message directory of the mount, with what the
// server holds.
func eachMessage(t *testing.T, a account, mnt string, f func(dir string, m held)) {
	t.Helper()
	c := a.client(t)
	list := folders(t, c)
	for _, l := range list {
		if !selectable(l) {
			continue
		}
		for _, m := range messages(t, c, l.Mailbox) {
			f(filepath.Join(folderPath(mnt, list, l), fmt.Sprint(m.uid)), m)
		}
	}
}

func TestMessageDirectory(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		mnt := mount(t, a)
		eachMessage(t, a, mnt, func(dir string, m held) {
			if a.changesNames {
				read(t, dir, "body.txt")
			}
			if got, want := names(t, dir), []string{"attachments", "body.txt", "headers.txt"}; !slices.Equal(got, want) {
				t.Errorf("%s lists %q, want %q", dir, got, want)
			}
			sameFiles(t, dir, m.raw)
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if !info.ModTime().Equal(m.date) {
				t.Errorf("%s is dated %v, INTERNALDATE is %v", dir, info.ModTime(), m.date)
			}
			if info.Mode() != fs.ModeDir|0o700 {
				t.Errorf("%s has mode %v", dir, info.Mode())
			}
		})
	})
}

// sameFiles compares a message's directory with what the raw message makes:
// the same whether the mount fetched it whole or by parts.
func sameFiles(t *testing.T, dir string, raw []byte) {
	t.Helper()
	root := mail.Parse(raw)
	parts := root.Text()
	bodies := make([][]byte, len(parts))
	for i, p := range parts {
		bodies[i], _ = root.Bytes(raw, p.Section)
	}
	want := map[string][]byte{
		"message.eml": raw,
		"headers.txt": mail.HeadersText(mail.SplitHeader(raw)),
		"body.txt":    mail.BodyText(parts, bodies),
	}
	if p := root.HTML(); p != nil {
		body, _ := root.Bytes(raw, p.Section)
		want["body.html"] = mail.HTMLFile(p, body)
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
	got := names(t, filepath.Join(dir, "attachments"))
	sort.Strings(attachments)
	sort.Strings(got)
	if !slices.Equal(got, attachments) {
		t.Errorf("%s/attachments lists %q, want %q", dir, got, attachments)
		return
	}
	for name, content := range want {
		if got := read(t, dir, name); !bytes.Equal(got, content) {
			t.Errorf("%s/%s has %d bytes, want %d, or others", dir, name, len(got), len(content))
		}
	}
}

// TestSizeIsExactOnceOpen opens each file of a mount that has loaded nothing:
// fstat after open tells how many bytes can be read.
func TestSizeIsExactOnceOpen(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		mnt := mount(t, a, "--show", "raw,html")
		n := 0
		err := filepath.WalkDir(mnt, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			n++
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			b, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			if int64(len(b)) != info.Size() {
				t.Errorf("%s: fstat says %d bytes, read gives %d", path, info.Size(), len(b))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n < 100 {
			t.Errorf("only %d files", n)
		}
	})
}

// TestToolsSeeTheSameBytes reads the whole tree with several programs, each on
// a mount that has loaded nothing yet.
func TestToolsSeeTheSameBytes(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) { toolsAgree(t, a, 30) })
}

func toolsAgree(t *testing.T, a account, atLeast int) {
	t.Helper()
	// What Courier calls an attachment depends on whether the message was read.
	settled := func(all map[string]string) map[string]string {
		maps.DeleteFunc(all, func(path, _ string) bool {
			return a.changesNames && (strings.HasSuffix(path, "boot.ini") || strings.HasSuffix(path, "ffner.txt"))
		})
		return all
	}
	want := settled(hashes(t, mount(t, a)))
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
		need(t, "cp")
		dir := t.TempDir()
		run(t, "cp", "-r", mount(t, a)+"/.", dir)
		compare(t, hashes(t, dir))
	})
	t.Run("tar", func(t *testing.T) {
		need(t, "tar")
		dir := t.TempDir()
		file := filepath.Join(t.TempDir(), "mail.tar")
		run(t, "tar", "-C", mount(t, a), "-cf", file, ".")
		run(t, "tar", "-C", dir, "-xf", file)
		compare(t, hashes(t, dir))
	})
	t.Run("rsync", func(t *testing.T) {
		need(t, "rsync")
		dir := t.TempDir()
		run(t, "rsync", "-a", mount(t, a)+"/", dir)
		compare(t, hashes(t, dir))
	})
	t.Run("wc and find", func(t *testing.T) {
		need(t, "find", "wc", "sh")
		mnt := mount(t, a)
		var total int64
		filepath.WalkDir(mnt, func(path string, d fs.DirEntry, err error) error { return err })
		for path := range want {
			total += int64(len(read(t, mnt, path)))
		}
		out := run(t, "sh", "-c", `find "$1" -type f -print0 | xargs -0 cat | wc -c`, "sh", mount(t, a))
		if strings.TrimSpace(out) != fmt.Sprint(total) && !a.changesNames {
			t.Errorf("wc counts %s bytes, want %d", out, total)
		}
	})
	t.Run("grep", func(t *testing.T) {
		need(t, "grep")
		out := run(t, "grep", "-r", "-c", "", mount(t, a))
		if n := strings.Count(out, "\n"); n != len(want) && !a.changesNames {
			t.Errorf("grep -r reads %d files, want %d", n, len(want))
		}
	})
	t.Run("mmap", func(t *testing.T) {
		need(t, "python3")
		out := run(t, "python3", "-c", `
import hashlib, mmap, os, sys
top = sys.argv[1]
for d, _, files in os.walk(top):
    for name in files:
        path = os.path.join(d, name)
        with open(path, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            data = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:] if size else b""
        sys.stdout.buffer.write(hashlib.sha256(data).hexdigest().encode() + b" " + os.fsencode(os.path.relpath(path, top)) + b"\0")
`, mount(t, a))
		got := make(map[string]string)
		for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
			sum, path, _ := strings.Cut(line, " ")
			got[path] = sum
		}
		compare(t, got)
	})
}

// hashes returns the SHA-256 of each file below dir.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		sums[rel] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestReadingSetsNoFlag(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		c := a.client(t)
		before := make(map[string][]imap.Flag)
		record := func(into map[string][]imap.Flag) {
			for _, l := range folders(t, c) {
				if selectable(l) {
					for _, m := range messages(t, c, l.Mailbox) {
						into[fmt.Sprint(l.Mailbox, "/", m.uid)] = m.flags
					}
				}
			}
		}
		record(before)
		hashes(t, mount(t, a, "--show", "raw,html"))
		after := make(map[string][]imap.Flag)
		record(after)
		for id, flags := range before {
			// \Recent belongs to the session that looks, not to the message.
			drop := func(f imap.Flag) bool { return f == `\Recent` }
			was, is := slices.DeleteFunc(flags, drop), slices.DeleteFunc(after[id], drop)
			if !slices.Equal(was, is) {
				t.Errorf("%s had flags %v, has %v", id, was, is)
			}
		}
	})
}

// bigMessage has a short text and an attachment of n bytes.
func bigMessage(n int) (raw, attachment []byte) {
	attachment = make([]byte, n)
	for i := range attachment {
		attachment[i] = byte(i * i >> 7)
	}
	var b bytes.Buffer
	b.WriteString("Subject: big\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nSee the film.\r\n" +
		"--b\r\nContent-Type: video/mp4; name=film.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(attachment)
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n--b--\r\n")
	return b.Bytes(), attachment
}

func TestLargeAttachment(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		raw, attachment := bigMessage(25 << 20)
		uid := deliver(t, a.client(t), "INBOX", raw, time.Now())
		p := newProxy(t, a)
		mnt := mount(t, p.account)
		dir := filepath.Join(mnt, "INBOX", fmt.Sprint(uid))

		start := p.fromServer.Load()
		if got := string(read(t, dir, "body.txt")); got != "See the film.\n" {
			t.Errorf("body %q", got)
		}
		if n := p.fromServer.Load() - start; n >= 200_000 {
			t.Errorf("reading the body took %d bytes from the server, want less than 200,000", n)
		}

		start = p.fromServer.Load()
		out := run(t, "head", "-c", "100", filepath.Join(dir, "attachments", "film.mp4"))
		if !bytes.Equal([]byte(out), attachment[:100]) {
			t.Error("the first 100 bytes differ")
		}
		if n := p.fromServer.Load() - start; n >= 5<<20 {
			t.Errorf("the first 100 bytes took %d from the server", n)
		}
		if got := read(t, dir, "attachments", "film.mp4"); !bytes.Equal(got, attachment) {
			t.Errorf("the attachment has %d bytes that differ", len(got))
		}
		if got := read(t, dir, "message.eml"); !bytes.Equal(got, raw) {
			t.Errorf("message.eml has %d bytes that differ", len(got))
		}
	})
}

// raceSample is the step through the corpus under the race detector, which makes
// everything several times slower: every tenth message in the order of their
// paths, so as many of each of its five groups as fits its size. Races are
// between goroutines that serve many messages, not within the bytes of one.
const raceSample = 10

// corpus returns real mail: the SpamAssassin public corpus, which
// testdata/fetch-corpus puts into testdata/corpus, or a sample of it under the
// race detector.
func corpus(t *testing.T) [][]byte {
	t.Helper()
	dir := os.Getenv("IMAPFS_CORPUS")
	if dir == "" {
		dir = filepath.Join("testdata", "corpus")
	}
	var files []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txt") {
			files = append(files, path)
		}
		return nil
	})
	if len(files) == 0 {
		t.Skip("no corpus; get it with testdata/fetch-corpus")
	}
	sort.Strings(files)
	step := 1
	if raceDetector() {
		step = raceSample
	}
	var all [][]byte
	for i := 0; i < len(files); i += step {
		all = append(all, read(t, files[i]))
	}
	return all
}

// TestCorpus shows 6,046 real messages through Dovecot, byte for byte, to every
// tool, within the memory that was promised.
func TestCorpus(t *testing.T) {
	all := corpus(t)
	s := dovecot.Start(t, dovecot.Options{Extra: dovecot.Compress})
	s.Deliver(t, all...)
	a := serverAccount(s)

	mnt, p := mountProcess(t, a, "--cache-size", "64M")
	list := names(t, filepath.Join(mnt, "INBOX"))
	if len(list) != len(all) {
		t.Fatalf("%d messages are listed, want %d", len(list), len(all))
	}
	for _, m := range messages(t, a.client(t), "INBOX") {
		sameFiles(t, filepath.Join(mnt, "INBOX", fmt.Sprint(m.uid)), m.raw)
	}
	hashes(t, mnt)
	peak := peakMemory(t, p.cmd.Process.Pid)
	t.Logf("peak memory %d MB", peak>>20)
	if peak > (64+100)<<20 && !raceDetector() {
		t.Errorf("peak memory %d MB, want at most 64 + 100", peak>>20)
	}
	toolsAgree(t, a, len(all))
}

// raceDetector tells whether it is on: it multiplies memory.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// peakMemory returns the largest resident size of a process so far, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	for line := range strings.Lines(string(read(t, fmt.Sprintf("/proc/%d/status", pid)))) {
		if f := strings.Fields(line); f[0] == "VmHWM:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("the kernel does not tell the peak memory")
	return 0
}
