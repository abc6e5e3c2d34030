package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"go.uber.org/goleak"

	"imapfs/demo"
	"imapfs/internal/courier"
	"imapfs/internal/cyrus"
	"imapfs/internal/dovecot"
)

// The tests mount for real. The test binary plays imapfs itself, in a process
// of its own: a process must not read a mount that it serves.
const runMain = "IMAPFS_TEST_RUN_MAIN"

// exitLeak is the exit code of an imapfs that left goroutines behind.
const exitLeak = 9

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		// However the mount has ended, nothing of it runs any more. But while
		// somebody has a file of it open, the kernel keeps it.
		err := goleak.Find(
			goleak.IgnoreAnyFunction("github.com/hanwen/go-fuse/v2/fuse.(*fuseFD).readRequest"),
			goleak.IgnoreAnyFunction("github.com/hanwen/go-fuse/v2/fuse.(*Server).Serve"),
			goleak.IgnoreAnyFunction("imapfs/fs.(*Mounted).Wait"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitLeak)
		}
		os.Exit(0)
	}
	// Under the race detector each imapfs would sleep for a second before it
	// ends, so that goroutines left behind can still be caught. See above: there
	// are none.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	os.Exit(m.Run())
}

// within is how long anything here may take; a failure then, never a hang.
const within = 2 * time.Minute

// account is a server that a test can mount, and talk to by itself.
type account struct {
	addr, user, password string

	below        string // the folder in which the server has all the others, as Courier in INBOX
	changesNames bool   // of attachments, which shows until the message is read
}

// mailbox returns the server's name of a folder.
func (a account) mailbox(folder string) string {
	if a.below == "" || folder == a.below {
		return folder
	}
	return a.below + "." + strings.ReplaceAll(strings.TrimPrefix(folder, a.below+"/"), "/", ".")
}

// top returns where a mount shows the folders of an account.
func (a account) top(mnt string) string { return filepath.Join(mnt, a.below) }

// forEachServer runs a test against the embedded server, Dovecot, Cyrus and
// Courier, all with the sample mail, side by side: most of a test is waiting. It
// has to be the last call of the test, which ends before they do.
func forEachServer(t *testing.T, f func(t *testing.T, a account)) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		f(t, embedded(t))
	})
	t.Run("dovecot", func(t *testing.T) {
		t.Parallel()
		to := emptyDovecot(t, "")
		copyMail(t, embedded(t), to)
		f(t, to)
	})
	t.Run("cyrus", func(t *testing.T) {
		t.Parallel()
		to := emptyCyrus(t)
		copyMail(t, embedded(t), to)
		f(t, to)
	})
	t.Run("courier", func(t *testing.T) {
		t.Parallel()
		to := emptyCourier(t)
		copyMail(t, embedded(t), to)
		f(t, to)
	})
}

func embedded(t *testing.T) account {
	t.Helper()
	s := startDemo(t)
	if err := s.AddSample(); err != nil {
		t.Fatal(err)
	}
	return account{addr: s.Addr, user: s.User, password: s.Password}
}

func startDemo(t *testing.T) *demo.Server {
	t.Helper()
	s, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Accounts without mail.

func emptyDemo(t *testing.T) account {
	s := startDemo(t)
	return account{addr: s.Addr, user: s.User, password: s.Password}
}

// emptyDovecot has extra lines in its configuration.
func emptyDovecot(t *testing.T, extra string) account {
	return serverAccount(dovecot.Start(t, dovecot.Options{Extra: extra}))
}

func emptyCyrus(t *testing.T) account {
	return cyrusAccount(cyrus.Start(t, "testdata/cyrus"))
}

func emptyCourier(t *testing.T) account {
	return courierAccount(courier.Start(t, "testdata/courier"))
}

func cyrusAccount(s *cyrus.Server) account {
	return account{addr: s.Addr, user: cyrus.User, password: cyrus.Password}
}

func courierAccount(s *courier.Server) account {
	return account{addr: s.Addr, user: courier.User, password: courier.Password, below: "INBOX", changesNames: true}
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
		folder := to.mailbox(l.Mailbox)
		dst.Create(folder, nil).Wait() // INBOX is there already
		for _, m := range messages(t, src, l.Mailbox) {
			_, err := appendTo(dst, folder, m.raw, m.date)
			var refused *imap.Error // Cyrus takes no broken mail
			if err != nil && !errors.As(err, &refused) {
				t.Fatal(err)
			}
		}
	}
}

func deliver(t *testing.T, c *imapclient.Client, folder string, raw []byte, date time.Time) imap.UID {
	t.Helper()
	uid, err := appendTo(c, folder, raw, date)
	if err != nil {
		t.Fatalf("deliver to %s: %v", folder, err)
	}
	return uid
}

func appendTo(c *imapclient.Client, folder string, raw []byte, date time.Time) (imap.UID, error) {
	cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Time: date})
	if _, err := cmd.Write(raw); err != nil {
		return 0, err
	}
	if err := cmd.Close(); err != nil {
		return 0, err
	}
	data, err := cmd.Wait()
	if err != nil {
		return 0, err
	}
	return data.UID, nil
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

// imapfs runs the program, with a cache on disk of its own.
func imapfs(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program(t, self, env, args...)
}

// program runs what may start imapfs.
func program(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), stderr: &lines{more: make(chan struct{}, 1)}, done: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), runMain+"=1", "XDG_CACHE_HOME="+t.TempDir()), env...)
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
	p.waitSaid(t, "imapfs: mounted ")
}

func (p *process) waitSaid(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(within)
	for !strings.Contains(p.stderr.String(), text) {
		select {
		case <-p.stderr.more:
		case <-p.done:
			t.Fatalf("imapfs ended before it said %q:\n%s", text, p.stderr)
		case <-timeout:
			t.Fatalf("imapfs does not say %q:\n%s", text, p.stderr)
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

// need skips a test where a program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// proxy passes one account's traffic on, counts it, and keeps the commands. So
// that it can read them it hides that the server can compress.
type proxy struct {
	listener net.Listener
	silent   atomic.Bool // whoever comes is not answered
	account
	toServer, fromServer atomic.Int64

	mu       sync.Mutex
	commands []string
}

func newProxy(t *testing.T, a account) *proxy {
	t.Helper()
	return newProxyAt(t, a, "127.0.0.1:0")
}

func newProxyAt(t *testing.T, a account, addr string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{account: a, listener: l}
	p.addr = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			if p.silent.Load() {
				t.Cleanup(func() { down.Close() })
				continue
			}
			up, err := net.Dial("tcp", a.addr)
			if err != nil {
				down.Close()
				continue
			}
			wg.Go(func() {
				defer down.Close()
				io.Copy(down, plainReader{countReader{up, &p.fromServer}})
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

// plainReader hides COMPRESS=DEFLATE.
type plainReader struct{ io.Reader }

func (r plainReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	copy(b, bytes.ReplaceAll(b[:n], []byte("COMPRESS=DEFLATE"), []byte("X-COMPRESS=NEVER")))
	return n, err
}

// sent returns the commands that hold a word, without their tags, and without
// IDLE, which may come at any time.
func (p *proxy) sent(word string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, c := range p.commands {
		if _, command, _ := strings.Cut(c, " "); strings.Contains(command, word) && command != "IDLE" && c != "DONE" {
			list = append(list, command)
		}
	}
	return list
}

// forget forgets the commands so far.
func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands = nil
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
