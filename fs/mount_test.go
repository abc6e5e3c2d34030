package fs

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"imapfs/internal/fakemail"
	"imapfs/mail"
)

// The tests of this file mount for real. The test binary serves the mount in a
// process of its own: a process must not read a mount that it serves.
const serveEnv = "IMAPFS_TEST_SERVE"

func TestMain(m *testing.M) {
	if scenario := os.Getenv(serveEnv); scenario != "" {
		if err := serve(scenario, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const attachmentUID = 1000 // and above: a lying size each

var lies = []int64{0, 1 << 20, 20 << 20}

// bigMessage is a message with an attachment of 3 MB, whose base64 has lines of
// any length.
func bigMessage() (raw, attachment []byte) {
	r := rand.New(rand.NewPCG(3, 3))
	attachment = make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{3}).Read(attachment)
	body := bytes.NewBufferString("Subject: big\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n" +
		"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for text := base64.StdEncoding.EncodeToString(attachment); len(text) > 0; {
		n := min(1+r.IntN(150), len(text))
		body.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	body.WriteString("--b--\r\n")
	return body.Bytes(), attachment
}

var smallMessage = []byte("Subject: small\r\n\r\nHello\r\n")

// serve mounts fake mail on dir, until standard input ends. A line there makes
// something happen.
func serve(scenario, dir string) error {
	f := &fakemail.Server{Validity: 1, Mail: map[uint32]fakemail.Message{
		7: {Claimed: int64(len(smallMessage)), Raw: smallMessage, Date: time.Unix(7, 0)},
		8: {Claimed: int64(len(smallMessage)), Raw: smallMessage},
	}}
	f.Mailboxes = append([]mail.Folder{{Name: "Old", Delim: '/', Selectable: true}, {Name: "Year", Delim: '/'}, {Name: "Year/7", Delim: '/', Selectable: true}}, fakemail.Inbox...)
	timeout, ended, found := time.Minute, make(chan struct{}), make(chan struct{})
	switch scenario {
	case "lies":
		raw, _ := bigMessage()
		for i, lie := range lies {
			// The size of the attachment is wrong too, where it can be.
			root := mail.Parse(raw)
			parts := map[string][]byte{"": raw}
			for _, section := range []string{"1", "2"} {
				parts[section], _ = root.Bytes(raw, section)
			}
			root.Children[1].Size = lie
			f.Mail[uint32(attachmentUID+i)] = fakemail.Message{Claimed: lie, Raw: raw, Root: root, Parts: parts}
		}
	case "searching":
		for uid := range uint32(2500) {
			f.Mail[uid+1] = fakemail.Message{Raw: smallMessage}
		}
		f.Searches = func(first uint32) {
			if first > 1 {
				<-found
			}
		}
	case "blocked":
		timeout = time.Second
		fallthrough
	case "interrupted":
		f.Fails = func(string, int64) error {
			fmt.Println("fetching")
			<-ended
			return mail.ErrTimeout
		}
	}
	fsys, err := newFSOf(f, 4<<20, Options{
		Timeout: timeout, Umask: 0077, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	m, err := fsys.Mount("test", dir, nil)
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		f.Lock()
		switch in.Text() {
		case "renew":
			f.Validity++
			f.Unlock()
			fsys.Changed(mail.Change{Folder: "INBOX", Renewed: true})
		case "renew with 9":
			f.Validity++
			f.Mail[9] = f.Mail[8]
			f.Unlock()
			fsys.Changed(mail.Change{Folder: "INBOX", Renewed: true})
		case "renew unnoticed":
			f.Validity++
			f.Unlock()
			fmt.Println("renewed")
		case "expunge":
			delete(f.Mail, 7)
			f.Unlock()
			fsys.Changed(mail.Change{Folder: "INBOX", Removed: []uint32{7}})
		case "deliver":
			f.Mail[9] = fakemail.Message{Raw: smallMessage}
			f.Unlock()
			fsys.Changed(mail.Change{Folder: "INBOX", UIDValidity: f.Validity, Added: []uint32{9}})
		case "deleted":
			fmt.Println(f.Deleted)
			f.Unlock()
		case "mail": // what has come
			for _, uid := range slices.Sorted(maps.Keys(f.Mail)) {
				if uid > 8 {
					fmt.Printf("%q ", f.Mail[uid].Raw)
				}
			}
			fmt.Println(f.Deleted)
			f.Unlock()
		case "dates": // of that
			for _, uid := range slices.Sorted(maps.Keys(f.Mail)) {
				if uid > 8 {
					fmt.Print(f.Mail[uid].Date.Unix(), " ")
				}
			}
			fmt.Println()
			f.Unlock()
		case "refuse":
			f.Refuses = mail.ErrNoRoom
			f.Unlock()
			fmt.Println("refusing")
		case "accept":
			f.Refuses = nil
			f.Unlock()
			fmt.Println("accepting")
		case "drop":
			f.Mailboxes = f.Mailboxes[1:]
			f.Unlock()
			fsys.Changed(mail.Change{})
		case "find":
			f.Unlock()
			close(found)
		case "pages": // that the kernel has of a file
			f.Unlock()
			have := make([]byte, 100)
			n, errno := fsys.inode([]string{"INBOX", "7", bodyName}).ReadCache(0, have)
			if errno != 0 {
				return errno
			}
			fmt.Printf("%q\n", have[:n])
		case "select": // a folder of folders gets messages
			for i := range f.Mailboxes {
				f.Mailboxes[i].Selectable = true
			}
			f.Unlock()
			fsys.Changed(mail.Change{})
			fsys.Changed(mail.Change{Folder: "Year", Removed: []uint32{7}})
		}
	}
	err = m.Unmount()
	m.Wait()
	m.Close()
	close(ended)
	return errors.Join(err, goleak.Find())
}

// mounted is a mount that another process serves.
type mounted struct {
	dir    string
	stdin  io.Writer
	stdout *bufio.Scanner
}

func mount(t *testing.T, scenario string) *mounted {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{dir: t.TempDir()}
	cmd := exec.Command(self, m.dir)
	cmd.Env = append(os.Environ(), serveEnv+"="+scenario, "GORACE=atexit_sleep_ms=0")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.stdin, m.stdout = stdin, bufio.NewScanner(stdout)
	t.Cleanup(func() {
		stdin.Close()
		for m.stdout.Scan() { // to its end
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server: %v\n%s", err, stderr.String())
		}
	})
	m.expect(t, "mounted")
	return m
}

func (m *mounted) expect(t *testing.T, line string) {
	t.Helper()
	if !m.stdout.Scan() || m.stdout.Text() != line {
		t.Fatalf("the server says %q, not %q", m.stdout.Text(), line)
	}
}

func (m *mounted) do(t *testing.T, command string) {
	t.Helper()
	if _, err := fmt.Fprintln(m.stdin, command); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a notification to arrive, whose time nobody knows.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func TestLyingSizes(t *testing.T) {
	m := mount(t, "lies")
	raw, attachment := bigMessage()
	for i, lie := range lies {
		message := filepath.Join(m.dir, "INBOX", fmt.Sprint(attachmentUID+i))
		for name, want := range map[string][]byte{"message.eml": raw, "attachments/a.pdf": attachment, "body.txt": []byte("Hello\n")} {
			path := filepath.Join(message, name)
			agree := func(how string, got []byte, err error) {
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, claimed %d, %s: %d bytes, %v; want the %d of the message", path, lie, how, len(got), err, len(want))
				}
			}
			if i%2 == 0 { // the estimate is known to the kernel before the file is open
				if _, err := os.Stat(path); err != nil {
					t.Error(err)
				}
				got, err := exec.Command("cat", path).Output()
				agree("cat", got, err)
			}
			file, err := os.Open(path)
			if err != nil {
				t.Error(err)
				continue
			}
			info, err := file.Stat()
			if err != nil || info.Size() != int64(len(want)) {
				t.Errorf("%s, claimed %d: fstat after open: %v, %v; want %d", path, lie, info, err, len(want))
			}
			data, err := syscall.Mmap(int(file.Fd()), 0, len(want), syscall.PROT_READ, syscall.MAP_SHARED)
			agree("mmap", data, err)
			if err == nil {
				syscall.Munmap(data)
			}
			file.Close()
			got, err := exec.Command("cat", path).Output()
			agree("cat", got, err)
			if info, err := os.Stat(path); err != nil || info.Size() != int64(len(want)) {
				t.Errorf("%s, claimed %d: stat afterwards: %v, %v; want %d", path, lie, info, err, len(want))
			}
		}
	}
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	m := mount(t, "blocked")
	if _, err := os.ReadFile(filepath.Join(m.dir, "INBOX/7/body.txt")); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("reading gives %v, want ETIMEDOUT", err)
	}
}

func TestInterrupt(t *testing.T) {
	m := mount(t, "interrupted")
	cat := exec.Command("cat", filepath.Join(m.dir, "INBOX/7/body.txt"))
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	m.expect(t, "fetching")
	cat.Process.Signal(os.Interrupt)
	cat.Wait() // ends before the minute of the time limit, or the test run does not
	if status, ok := cat.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
		t.Errorf("cat ended with %v", cat.ProcessState)
	}
}

func TestNewUIDValidity(t *testing.T) {
	m := mount(t, "plain")
	path := filepath.Join(m.dir, "INBOX/7")
	open, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	var before, after syscall.Stat_t
	if err := syscall.Stat(path, &before); err != nil {
		t.Fatal(err)
	}
	m.do(t, "renew")
	eventually(t, "a new inode", func() bool {
		return syscall.Stat(path, &after) == nil && after.Ino != before.Ino
	})
	if _, err := syscall.Openat(int(open.Fd()), "headers.txt", syscall.O_RDONLY, 0); err != syscall.ESTALE {
		t.Errorf("looking into the open directory gives %v, want ESTALE", err)
	}
	if err := syscall.Fstat(int(open.Fd()), &before); err != syscall.ESTALE {
		t.Errorf("fstat of the open directory gives %v, want ESTALE", err)
	}
	if got, err := os.ReadFile(filepath.Join(path, "body.txt")); err != nil || string(got) != "Hello\n" {
		t.Errorf("body.txt afterwards: %q, %v", got, err)
	}
}

func TestNeverDeletesAnotherMessage(t *testing.T) {
	m := mount(t, "plain")
	if _, err := os.Stat(filepath.Join(m.dir, "INBOX/7")); err != nil {
		t.Fatal(err)
	}
	m.do(t, "renew unnoticed")
	m.expect(t, "renewed")
	if out, err := exec.Command("rmdir", filepath.Join(m.dir, "INBOX/7")).CombinedOutput(); err == nil || !strings.Contains(string(out), "No such file") {
		t.Errorf("removing the directory of a message that was numbered anew: %s, %v; want ENOENT", out, err)
	}
	if entries, err := os.ReadDir(filepath.Join(m.dir, "INBOX")); err != nil || len(entries) != 2 {
		t.Errorf("left are %v, %v; want both messages", entries, err)
	}
}

func TestGone(t *testing.T) {
	m := mount(t, "plain")
	for _, path := range []string{"INBOX/7", "Old", "Year/7"} {
		if _, err := os.ReadDir(filepath.Join(m.dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(path string) {
		t.Helper()
		eventually(t, path+" is gone", func() bool {
			_, err := os.Lstat(filepath.Join(m.dir, path))
			entries, _ := os.ReadDir(filepath.Join(m.dir, filepath.Dir(path)))
			for _, e := range entries {
				if e.Name() == filepath.Base(path) {
					return false
				}
			}
			return errors.Is(err, os.ErrNotExist)
		})
	}
	m.do(t, "expunge")
	gone("INBOX/7")
	m.do(t, "drop")
	gone("Old")
	m.do(t, "select") // a folder's name was a UID's, and is no more
	eventually(t, "Year/7.folder", func() bool {
		_, err := os.ReadDir(filepath.Join(m.dir, "Year/7.folder"))
		return err == nil
	})
}

// TestOpenGivesContent opens a file of a message that is here already: the kernel
// has the content then, though nobody has read.
func TestOpenGivesContent(t *testing.T) {
	m := mount(t, "plain")
	dir := filepath.Join(m.dir, "INBOX/7")
	if _, err := os.ReadFile(filepath.Join(dir, headersName)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, bodyName)); err != nil {
		t.Fatal(err)
	}
	m.do(t, "pages")
	m.expect(t, `""`)
	f, err := os.Open(filepath.Join(dir, bodyName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m.do(t, "pages")
	m.expect(t, `"Hello\n"`)
	if got, err := io.ReadAll(f); string(got) != "Hello\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestLargeFileBesideOthers reads an attachment of unknown size while others
// list its directory, ask for its size, and open it too.
func TestLargeFileBesideOthers(t *testing.T) {
	m := mount(t, "lies")
	_, want := bigMessage()
	for i, lie := range lies {
		dir := filepath.Join(m.dir, "INBOX", fmt.Sprint(attachmentUID+i), "attachments")
		path := filepath.Join(dir, "a.pdf")
		if _, err := os.Lstat(path); err != nil { // the kernel keeps an estimate
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 300 {
				select {
				case <-stop:
					return
				default:
				}
				os.ReadDir(dir)
				if f, err := os.Open(path); err == nil {
					f.Close()
				}
			}
		})
		// Like dd: no fstat, small blocks, to the end.
		var got []byte
		block := make([]byte, 16<<10)
		for {
			n, err := file.Read(block)
			got = append(got, block[:n]...)
			if err != nil {
				break
			}
		}
		close(stop)
		wg.Wait()
		if !bytes.Equal(got, want) {
			t.Errorf("claimed %d: %d bytes were read, want %d", lie, len(got), len(want))
		}
		if info, err := file.Stat(); err != nil || info.Size() != int64(len(want)) {
			t.Errorf("claimed %d: fstat: %v, %v", lie, info, err)
		}
		file.Close()
	}
}

// TestEstimateTooLarge reads a small file without fstat after the kernel was
// told more than there is.
func TestEstimateTooLarge(t *testing.T) {
	m := mount(t, "plain")
	path := filepath.Join(m.dir, "INBOX/7/body.txt")
	if info, err := os.Stat(path); err != nil || info.Size() <= 6 {
		t.Fatalf("%v, %v: this test wants an estimate that is too large", info, err)
	}
	for range 3 {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, _ := file.Read(b)
		if rest, err := file.Read(b[n:]); string(b[:n]) != "Hello\n" || rest != 0 {
			t.Errorf("read %q and %d more, %v", b[:n], rest, err)
		}
		file.Close()
	}
}

// TestNumberThatWasNotThere asks for a message that comes to be under a new
// UIDVALIDITY.
func TestNumberThatWasNotThere(t *testing.T) {
	m := mount(t, "plain")
	path := filepath.Join(m.dir, "INBOX/9")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	m.do(t, "renew with 9")
	eventually(t, "the message is there", func() bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// TestFolderStaysUsable holds a folder open that was made anew, while its
// change is told once more.
func TestFolderStaysUsable(t *testing.T) {
	m := mount(t, "plain")
	year := filepath.Join(m.dir, "Year")
	if _, err := os.ReadDir(year); err != nil {
		t.Fatal(err)
	}
	m.do(t, "select")
	eventually(t, "the new tree", func() bool {
		_, err := os.Stat(filepath.Join(year, "7.folder"))
		return err == nil
	})
	held, err := os.Open(year)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for end := time.Now().Add(2 * onTheWay); time.Now().Before(end); {
		if _, err := os.ReadDir(year); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEmptyFolderFills lists an empty folder, which the kernel keeps, before the
// first message comes.
func TestEmptyFolderFills(t *testing.T) {
	m := mount(t, "plain")
	dir := filepath.Join(m.dir, "INBOX")
	for _, uid := range []string{"7", "8"} {
		if err := os.RemoveAll(filepath.Join(dir, uid)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if left := list(t, dir); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	}
	m.do(t, "deliver")
	eventually(t, "the new message is listed", func() bool { return slices.Equal(list(t, dir), []string{"9"}) })
}
