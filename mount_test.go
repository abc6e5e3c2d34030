package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/demo"
	"imapfs/internal/dovecot"
	"imapfs/mail"
)

// The tests mount for real. The test binary plays imapfs itself, in a process
// of its own: a process must not read a mount that it serves.
const runMain = "IMAPFS_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// within is how long anything here may take; a failure then, never a hang.
const within = 2 * time.Minute

// account is a server that a test can mount, and talk to by itself.
type account struct {
	addr, user, password string
}

// forEachServer runs a test against the embedded server and against Dovecot,
// both with the sample mail.
func forEachServer(t *testing.T, f func(t *testing.T, a account)) {
	t.Run("embedded", func(t *testing.T) { f(t, embedded(t)) })
	t.Run("dovecot", func(t *testing.T) {
		from := embedded(t)
		s := dovecot.Start(t, dovecot.Options{})
		to := account{s.Addr, dovecot.User, dovecot.Password}
		copyMail(t, from, to)
		f(t, to)
	})
}

func embedded(t *testing.T) account {
	t.Helper()
	s, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.AddSample(); err != nil {
		t.Fatal(err)
	}
	return account{s.Addr, s.User, s.Password}
}

func (a account) url() string { return "imap://" + a.user + "@" + a.addr + "/" }

// client is a second client of the same account.
func (a account) client(t *testing.T) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(a.addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(a.user, a.password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// held is a message as the server holds it.
type held struct {
	uid   imap.UID
	raw   []byte
	date  time.Time
	flags []imap.Flag
}

// messages returns what the server holds in a folder.
func messages(t *testing.T, c *imapclient.Client, folder string) []held {
	t.Helper()
	if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{
		UID: true, InternalDate: true, Flags: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	var status *imap.Error
	if err != nil && !errors.As(err, &status) { // NO: the folder is empty
		t.Fatal(err)
	}
	var list []held
	for _, m := range all {
		list = append(list, held{m.UID, m.BodySection[0].Bytes, m.InternalDate, m.Flags})
	}
	return list
}

func folders(t *testing.T, c *imapclient.Client) []*imap.ListData {
	t.Helper()
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func selectable(l *imap.ListData) bool {
	return !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) && !slices.Contains(l.Attrs, imap.MailboxAttrNonExistent)
}

func copyMail(t *testing.T, from, to account) {
	t.Helper()
	src, dst := from.client(t), to.client(t)
	for _, l := range folders(t, src) {
		if !selectable(l) || strings.HasSuffix(l.Mailbox, "/..") {
			continue // Dovecot allows no such name
		}
		dst.Create(l.Mailbox, nil).Wait() // INBOX is there already
		for _, m := range messages(t, src, l.Mailbox) {
			deliver(t, dst, l.Mailbox, m.raw, m.date)
		}
	}
}

func deliver(t *testing.T, c *imapclient.Client, folder string, raw []byte, date time.Time) imap.UID {
	t.Helper()
	cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Time: date})
	if _, err := cmd.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := cmd.Wait()
	if err != nil {
		t.Fatalf("deliver to %s: %v", folder, err)
	}
	return data.UID
}

// process is a running imapfs.
type process struct {
	cmd    *exec.Cmd
	stderr *lines
	done   chan struct{}
}

// lines collects what is written to it, and wakes up those who wait for it.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// imapfs runs the program.
func imapfs(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self, args...), stderr: &lines{more: make(chan struct{}, 1)}, done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), runMain+"=1"), env...)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

// exit waits for the end of the program and returns its exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		t.Fatalf("imapfs does not end; it said:\n%s", p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// mount mounts the account and returns the mount point.
func mount(t *testing.T, a account, flags ...string) string {
	t.Helper()
	dir, _ := mountProcess(t, a, flags...)
	return dir
}

func mountProcess(t *testing.T, a account, flags ...string) (string, *process) {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"--insecure"}, flags...)
	p := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, append(args, a.url(), dir)...)
	p.waitMounted(t)
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		if code := p.exit(t); code != 0 && !t.Failed() {
			t.Errorf("imapfs ended with code %d:\n%s", code, p.stderr)
		}
		if strings.Contains(p.stderr.String(), "DATA RACE") || strings.Contains(p.stderr.String(), "panic") {
			t.Errorf("imapfs said:\n%s", p.stderr)
		}
	})
	return dir, p
}

func (p *process) waitMounted(t *testing.T) {
	t.Helper()
	timeout := time.After(within)
	for !strings.Contains(p.stderr.String(), "imapfs: mounted ") {
		select {
		case <-p.stderr.more:
		case <-p.done:
			t.Fatalf("imapfs ended before it had mounted:\n%s", p.stderr)
		case <-timeout:
			t.Fatalf("imapfs does not mount:\n%s", p.stderr)
		}
	}
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(within)
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("still not: %s", what)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// run runs a program on the mount and returns what it prints. Anything on
// standard error fails the test: tar and rsync tell of changed files there.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

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
	want := hashes(t, mount(t, a))
	if len(want) < 2*atLeast {
		t.Fatalf("only %d files", len(want))
	}
	compare := func(t *testing.T, got map[string]string) {
		t.Helper()
		if len(got) != len(want) {
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
		if strings.TrimSpace(out) != fmt.Sprint(total) {
			t.Errorf("wc counts %s bytes, want %d", out, total)
		}
	})
	t.Run("grep", func(t *testing.T) {
		need(t, "grep")
		out := run(t, "grep", "-r", "-c", "", mount(t, a))
		if n := strings.Count(out, "\n"); n != len(want) {
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

// need skips a test where a program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
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

// proxy passes one account's traffic on, counts it, and keeps the commands.
type proxy struct {
	account
	toServer, fromServer atomic.Int64

	mu       sync.Mutex
	commands []string
}

func newProxy(t *testing.T, a account) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{account: a}
	p.addr = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", a.addr)
			if err != nil {
				down.Close()
				continue
			}
			wg.Go(func() {
				defer down.Close()
				n, _ := io.Copy(down, countReader{up, &p.fromServer})
				_ = n
			})
			wg.Go(func() {
				defer up.Close()
				in := bufio.NewReader(countReader{down, &p.toServer})
				for {
					line, err := in.ReadString('\n')
					p.mu.Lock()
					p.commands = append(p.commands, strings.TrimSpace(line))
					p.mu.Unlock()
					if _, werr := io.WriteString(up, line); err != nil || werr != nil {
						return
					}
				}
			})
		}
	})
	return p
}

type countReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c countReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// sent returns the commands that hold a word, without their tags.
func (p *proxy) sent(word string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, c := range p.commands {
		if _, command, _ := strings.Cut(c, " "); strings.Contains(command, word) {
			list = append(list, command)
		}
	}
	return list
}

func TestDeleteOneMessage(t *testing.T) {
	ways := map[string]func(t *testing.T, dir string){
		"rm -r": func(t *testing.T, dir string) { run(t, "rm", "-r", dir) },
		"rmdir": func(t *testing.T, dir string) { run(t, "rmdir", dir) },
		"RemoveAll": func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
		"unlink body.txt":    func(t *testing.T, dir string) { run(t, "rm", filepath.Join(dir, "body.txt")) },
		"unlink headers.txt": func(t *testing.T, dir string) { run(t, "rm", filepath.Join(dir, "headers.txt")) },
		"unlink message.eml": func(t *testing.T, dir string) { run(t, "rm", filepath.Join(dir, "message.eml")) },
	}
	forEachServer(t, func(t *testing.T, a account) {
		c := a.client(t)
		uid := deliver(t, c, "INBOX", []byte("Subject: to go\r\n\r\nBye.\r\n"), time.Now())
		marked := deliver(t, c, "INBOX", []byte("Subject: marked by another client\r\n\r\nStay.\r\n"), time.Now())
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		if err := c.Store(imap.UIDSetNum(marked), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		for name, way := range ways {
			t.Run(name, func(t *testing.T) {
				if uid == 0 {
					uid = deliver(t, a.client(t), "INBOX", []byte("Subject: to go\r\n\r\nBye.\r\n"), time.Now())
				}
				before := messages(t, a.client(t), "INBOX")
				p := newProxy(t, a)
				mnt := mount(t, p.account)
				dir := filepath.Join(mnt, "INBOX", fmt.Sprint(uid))
				names(t, filepath.Join(mnt, "INBOX"))
				way(t, dir)

				var want []imap.UID
				for _, m := range before {
					if m.uid != uid {
						want = append(want, m.uid)
					}
				}
				var left []imap.UID
				for _, m := range messages(t, a.client(t), "INBOX") {
					left = append(left, m.uid)
				}
				if !slices.Equal(left, want) {
					t.Errorf("the server has %v, want %v", left, want)
				}
				if got, want := p.sent("STORE"), []string{fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid)}; !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				if got, want := p.sent("EXPUNGE"), []string{fmt.Sprintf(`UID EXPUNGE %d`, uid)}; !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				eventually(t, "the listing forgets the message", func() bool {
					return !slices.Contains(names(t, filepath.Join(mnt, "INBOX")), fmt.Sprint(uid))
				})
				uid = 0
			})
		}
	})
}

// withAttachments finds a message that has some.
func withAttachments(t *testing.T, mnt string) (dir string, names []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(mnt, "*", "*", "attachments", "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no attachment anywhere: %v", err)
	}
	dir = filepath.Dir(all[0])
	for _, path := range all {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	return dir, names
}

func TestMovingAnAttachmentLeavesTheMessage(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		p := newProxy(t, a)
		mnt := mount(t, p.account)
		dir, all := withAttachments(t, mnt)
		want := read(t, dir, all[0])
		to := t.TempDir()
		run(t, "mv", filepath.Join(dir, all[0]), to)
		if got := read(t, to, all[0]); !bytes.Equal(got, want) {
			t.Error("the moved attachment differs")
		}
		if _, err := os.Stat(filepath.Join(dir, all[0])); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the moved attachment can still be seen: %v", err)
		}
		if slices.Contains(names(t, dir), all[0]) {
			t.Error("the moved attachment is still listed")
		}
		if sent := append(p.sent("STORE"), p.sent("EXPUNGE")...); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
		read(t, filepath.Dir(dir), "body.txt")
	})
}

func TestNothingElseCanBeChanged(t *testing.T) {
	mnt := mount(t, embedded(t))
	dir := filepath.Join(mnt, "INBOX", firstUID(t, filepath.Join(mnt, "INBOX")))
	body := filepath.Join(dir, "body.txt")
	for name, change := range map[string]func() error{
		"create a file":      func() error { return os.WriteFile(filepath.Join(mnt, "INBOX", "new"), nil, 0o600) },
		"create in message":  func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		"create attachment":  func() error { return os.WriteFile(filepath.Join(dir, "attachments", "new"), nil, 0o600) },
		"write":              func() error { return os.WriteFile(body, []byte("x"), 0o600) },
		"append":             func() error { _, err := os.OpenFile(body, os.O_APPEND|os.O_WRONLY, 0); return err },
		"truncate":           func() error { return os.Truncate(body, 0) },
		"chmod":              func() error { return os.Chmod(body, 0o644) },
		"mkdir":              func() error { return os.Mkdir(filepath.Join(mnt, "New"), 0o700) },
		"rename a message":   func() error { return os.Rename(dir, filepath.Join(mnt, "INBOX", "1000000")) },
		"rename a folder":    func() error { return os.Rename(filepath.Join(mnt, "INBOX"), filepath.Join(mnt, "Box")) },
		"rmdir a folder":     func() error { return syscall.Rmdir(filepath.Join(mnt, "INBOX")) },
		"symlink":            func() error { return os.Symlink("x", filepath.Join(mnt, "link")) },
		"link":               func() error { return os.Link(body, filepath.Join(dir, "link")) },
		"change the times":   func() error { return os.Chtimes(body, time.Now(), time.Now()) },
		"unlink what is not": func() error { return os.Remove(filepath.Join(dir, "none")) },
	} {
		want := syscall.EPERM
		if name == "unlink what is not" {
			want = syscall.ENOENT
		}
		if err := change(); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func firstUID(t *testing.T, folder string) string {
	t.Helper()
	for _, name := range names(t, folder) {
		if _, err := strconv.Atoi(name); err == nil {
			return name
		}
	}
	t.Fatalf("no message in %s", folder)
	return ""
}

func TestReadOnlyMount(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		p := newProxy(t, a)
		mnt := mount(t, p.account, "-o", "ro")
		dir := filepath.Join(mnt, "INBOX", firstUID(t, filepath.Join(mnt, "INBOX")))
		for _, err := range []error{
			syscall.Rmdir(dir),
			os.Remove(filepath.Join(dir, "body.txt")),
			os.WriteFile(filepath.Join(dir, "body.txt"), nil, 0o600),
			os.Mkdir(filepath.Join(mnt, "x"), 0o700),
		} {
			if !errors.Is(err, syscall.EROFS) {
				t.Errorf("got %v, want %v", err, syscall.EROFS)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o500 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if sent := append(append(p.sent("STORE"), p.sent("EXPUNGE")...), p.sent("SELECT")...); len(sent) > 0 {
			t.Errorf("sent %q", sent)
		}
	})
}

// TestSecondClient has another client deliver and expunge while the mount is
// up. What the kernel has cached follows.
func TestSecondClient(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		mnt := mount(t, a, "--keepalive", "200ms")
		inbox := filepath.Join(mnt, "INBOX")
		before := names(t, inbox)
		c := a.client(t)

		uid := deliver(t, c, "INBOX", []byte("Subject: new\r\n\r\nFresh.\r\n"), time.Now())
		path := filepath.Join(inbox, fmt.Sprint(uid))
		os.Stat(path) // not there yet, which the kernel may remember
		eventually(t, "the new message is listed", func() bool { return slices.Contains(names(t, inbox), fmt.Sprint(uid)) })
		if got := string(read(t, path, "body.txt")); got != "Fresh.\n" {
			t.Errorf("body %q", got)
		}

		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		set := imap.UIDSetNum(uid)
		if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.UIDExpunge(set).Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the expunged message goes from the listing", func() bool { return slices.Equal(names(t, inbox), before) })
		if _, err := os.ReadFile(filepath.Join(path, "body.txt")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("reading the expunged message: %v", err)
		}

		if err := c.Create("Fresh folder", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the new folder is listed", func() bool { return slices.Contains(names(t, mnt), "Fresh folder") })
		if err := c.Delete("Fresh folder").Wait(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the deleted folder goes", func() bool { return !slices.Contains(names(t, mnt), "Fresh folder") })
	})
}

// TestExpungedUnnoticed reads a message that another client has expunged, before
// the mount has heard of it.
func TestExpungedUnnoticed(t *testing.T) {
	forEachServer(t, func(t *testing.T, a account) {
		mnt := mount(t, a)
		c := a.client(t)
		inbox := filepath.Join(mnt, "INBOX")
		uid, err := strconv.Atoi(firstUID(t, inbox))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		set := imap.UIDSetNum(imap.UID(uid))
		if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.UIDExpunge(set).Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadFile(filepath.Join(inbox, fmt.Sprint(uid), "body.txt")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want %v", err, os.ErrNotExist)
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

// TestFailures goes through what can go wrong before the mount is there. Each
// ends with its own message and exit code, and leaves no mount.
func TestFailures(t *testing.T) {
	a := embedded(t)
	cert, key := certificate(t, "127.0.0.1")
	secure := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	empty := t.TempDir()

	for _, test := range []struct {
		name string
		args []string
		dir  string
		code int
		want string
	}{
		{"wrong password", []string{"--insecure", "--password-command", "echo wrong", a.url()}, empty, 1, "does not accept the password for " + a.user},
		{"unknown host", []string{"imaps://anna@no-such-host.invalid/"}, empty, 1, "no-such-host.invalid"},
		{"closed port", []string{"imaps://anna@" + closed.Addr().String() + "/"}, empty, 1, "refuses connections"},
		{"self-signed certificate", []string{"imaps://anna@" + secure.TLS + "/"}, empty, 1, "--tls-ca"},
		{"self-signed certificate, STARTTLS", []string{"imap://anna@" + secure.Addr + "/"}, empty, 1, "--tls-ca"},
		{"plain server", []string{a.url()}, empty, 1, "--insecure"},
		{"plain port, TLS asked", []string{"imaps://anna@" + a.addr + "/"}, empty, 1, "imap://"},
		{"no such folder", []string{"--insecure", a.url() + "Nowhere"}, empty, 1, `no folder "Nowhere"`},
		{"missing mount point", []string{"--insecure", a.url()}, missing, 1, "mkdir -p"},
		{"mount point not empty", []string{"--insecure", a.url()}, full, 1, "not empty"},
		{"mount point is a file", []string{"--insecure", a.url()}, filepath.Join(full, "file"), 1, "not a directory"},
		{"CA file missing", []string{"--tls-ca", missing, a.url()}, empty, 1, "CA"},
		{"password in the URL", []string{"imaps://anna:geheim@example.org/"}, empty, 2, "process list|every user"},
		{"not a URL", []string{"example.org"}, empty, 2, "imaps://"},
		{"unknown flag", []string{"--nonsense", a.url()}, empty, 2, "--nonsense"},
		{"unknown option", []string{"-o", "nonsense", a.url()}, empty, 2, "nonsense"},
		{"no arguments", nil, "", 2, "SOURCE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.dir != "" {
				args = append(slices.Clip(args), test.dir)
			}
			p := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, args...)
			code := p.exit(t)
			said := p.stderr.String()
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			found := false
			for want := range strings.SplitSeq(test.want, "|") {
				found = found || strings.Contains(said, want)
			}
			if !found {
				t.Errorf("it said %q, want something with %q", said, test.want)
			}
			said = regexp.MustCompile(`(?m)^imapfs: warning: .*\n`).ReplaceAllString(said, "")
			if test.code == 1 && strings.Count(strings.TrimSpace(said), "\n") > 0 {
				t.Errorf("it said more than one line: %q", said)
			}
			if strings.Contains(said, "geheim") || strings.Contains(said, a.password) {
				t.Errorf("it told the password: %q", said)
			}
			mounts, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Fatal(err)
			}
			if test.dir != "" && bytes.Contains(mounts, []byte(" "+test.dir+" ")) {
				t.Error("a mount is left behind")
			}
		})
	}
}

// TestMountPointTaken mounts where a mount is, or is left over from a crash.
func TestMountPointTaken(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	env := []string{"IMAPFS_PASSWORD=" + a.password}
	first := imapfs(t, env, "--insecure", a.url(), dir)
	first.waitMounted(t)
	t.Cleanup(func() { exec.Command("fusermount3", "-u", "-z", dir).Run() })
	refused := func(want string) {
		t.Helper()
		p := imapfs(t, env, "--insecure", a.url(), dir)
		if code := p.exit(t); code != 1 || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("exit code %d, it said %q, want something with %q", code, p.stderr, want)
		}
	}
	refused("mounted on " + dir + " already")
	first.cmd.Process.Kill()
	first.exit(t)
	refused("left over")
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, host string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestEncrypted mounts through TLS and through STARTTLS with a private CA.
func TestEncrypted(t *testing.T) {
	cert, key := certificate(t, "127.0.0.1")
	s := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key})
	s.Deliver(t, []byte("Subject: hello\n\nOver TLS.\n"))
	for name, url := range map[string]string{
		"TLS":      "imaps://" + dovecot.User + "@" + s.TLS + "/",
		"STARTTLS": "imap://" + dovecot.User + "@" + s.Addr + "/INBOX",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := imapfs(t, []string{"IMAPFS_PASSWORD=" + dovecot.Password}, "--tls-ca", cert, url, dir)
			p.waitMounted(t)
			inbox := dir
			if name == "TLS" {
				inbox = filepath.Join(dir, "INBOX")
			}
			if got := string(read(t, inbox, "1", "body.txt")); got != "Over TLS.\n" {
				t.Errorf("body %q", got)
			}
			p.cmd.Process.Signal(os.Interrupt)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}
		})
	}
}

// TestWithoutUIDPlus deletes on a server that can only expunge everything that
// is marked: it is refused, and nothing has changed.
func TestWithoutUIDPlus(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Extra: "imap_capability = IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE NAMESPACE"})
	s.Deliver(t, []byte("Subject: a\n\nOne.\n"), []byte("Subject: b\n\nTwo.\n"))
	a := account{s.Addr, dovecot.User, dovecot.Password}
	p := newProxy(t, a)
	mnt := mount(t, p.account)
	if err := syscall.Rmdir(filepath.Join(mnt, "INBOX", "1")); !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("got %v, want %v", err, syscall.ENOTSUP)
	}
	if sent := append(p.sent("STORE"), p.sent("EXPUNGE")...); len(sent) > 0 {
		t.Errorf("sent %q", sent)
	}
	if got := names(t, filepath.Join(mnt, "INBOX")); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("left %v", got)
	}
}

func TestEnds(t *testing.T) {
	ends := map[string]func(t *testing.T, dir string, p *process){
		"SIGTERM": func(_ *testing.T, _ string, p *process) { p.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGINT":  func(_ *testing.T, _ string, p *process) { p.cmd.Process.Signal(os.Interrupt) },
		"umount":  func(t *testing.T, dir string, _ *process) { unmount(t, dir) },
		"SIGTERM while in use": func(t *testing.T, dir string, p *process) {
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			p.cmd.Process.Signal(syscall.SIGTERM)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			proxy := newProxy(t, embedded(t))
			dir, p := mountProcess(t, proxy.account)
			names(t, filepath.Join(dir, "INBOX"))
			end(t, dir, p)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}
			if len(proxy.sent("LOGOUT")) == 0 {
				t.Error("no LOGOUT was sent")
			}
			if got := names(t, dir); len(got) > 0 {
				t.Errorf("the mount is still there: %v", got)
			}
		})
	}
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() == 0 {
		run(t, "umount", dir)
	} else {
		run(t, "fusermount3", "-u", dir)
	}
}

func TestDaemon(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	p := imapfs(t, nil, "--daemon", "--password-command", "echo "+a.password, "--insecure", a.url(), dir)
	if code := p.exit(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if !slices.Contains(names(t, dir), "INBOX") {
		t.Error("nothing is mounted when --daemon returns")
	}
	unmount(t, dir)

	p = imapfs(t, nil, "--daemon", "--password-command", "echo wrong", "--insecure", a.url(), dir)
	if code := p.exit(t); code != 1 {
		t.Errorf("exit code %d with a wrong password", code)
	}
}

func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made by demo")
	p := imapfs(t, nil, "demo", dir)
	p.waitMounted(t)
	if n := len(names(t, filepath.Join(dir, "INBOX"))); n < 5 {
		t.Errorf("the demo's INBOX has %d entries", n)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// corpus returns real mail: the SpamAssassin public corpus, which
// testdata/fetch-corpus puts into testdata/corpus.
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
	all := make([][]byte, len(files))
	for i, f := range files {
		all[i] = read(t, f)
	}
	return all
}

// TestCorpus shows 6,046 real messages through Dovecot, byte for byte, to every
// tool, within the memory that was promised.
func TestCorpus(t *testing.T) {
	all := corpus(t)
	s := dovecot.Start(t, dovecot.Options{})
	s.Deliver(t, all...)
	a := account{s.Addr, dovecot.User, dovecot.Password}

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
