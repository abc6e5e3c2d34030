package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapfs/internal/dovecot"
)

// remounter mounts one account again and again with the same cache on disk.
type remounter struct {
	account
	dir, cache string
	flags      []string
}

func newRemounter(t *testing.T, a account, flags ...string) *remounter {
	return &remounter{account: a, dir: t.TempDir(), cache: t.TempDir(), flags: append([]string{"--insecure"}, flags...)}
}

func (r *remounter) mount(t *testing.T) *process {
	t.Helper()
	p := imapfs(t, []string{"IMAPFS_PASSWORD=" + r.password, "XDG_CACHE_HOME=" + r.cache}, append(r.flags, r.url(), r.dir)...)
	p.waitMounted(t)
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		exec.Command("fusermount3", "-u", "-z", r.dir).Run() // if it is there still
	})
	return p
}

func (p *process) unmount(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Fatalf("imapfs ended with code %d:\n%s", code, p.stderr)
	}
	if s := p.stderr.String(); strings.Contains(s, "DATA RACE") || strings.Contains(s, "panic") {
		t.Fatalf("imapfs said:\n%s", s)
	}
}

// inbox starts a Dovecot with letters in the inbox, and one large message.
func inbox(t *testing.T, n int) (*dovecot.Server, *proxy) {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{})
	var all [][]byte
	for i := range n {
		all = append(all, oneLetter(i+1))
	}
	s.Deliver(t, append(all, largeLetter())...)
	return s, newProxy(t, serverAccount(s))
}

func oneLetter(i int) []byte {
	return fmt.Appendf(nil, "Subject: letter %d\r\n\r\n%s\r\nend of %d\r\n", i, strings.Repeat("All work and no play. ", 90), i)
}

// largeLetter has an attachment of 700,000 bytes, base64 of 1 MB.
func largeLetter() []byte {
	line := strings.Repeat("QUJD", 18) + "\r\n" // 54 bytes
	return []byte("Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
		"--x\r\n\r\nsee below\r\nend of large\r\n--x\r\nContent-Type: application/pdf; name=large.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(line, 13000) + "--x--\r\n")
}

// tree returns names, sizes and contents of all files, read with a fresh look.
func tree(t *testing.T, dir string) string {
	t.Helper()
	return run(t, "sh", "-c", `cd "$1" && find . -type f -printf '%p %s\n' | sort && find . -type f | sort | xargs -d '\n' sha256sum`, "sh", dir)
}

// sameTree compares what tree has returned.
func sameTree(t *testing.T, what, got, want string) {
	t.Helper()
	have := make(map[string]bool)
	for line := range strings.Lines(want) {
		have[line] = true
	}
	for line := range strings.Lines(got) {
		if !have[line] {
			t.Errorf("%s: %s is new", what, strings.TrimSpace(line))
		}
		delete(have, line)
	}
	for line := range have {
		t.Errorf("%s: %s is gone", what, strings.TrimSpace(line))
	}
}

func TestRemountFetchesOnlyWhatIsNew(t *testing.T) {
	_, p := inbox(t, 100)
	r := newRemounter(t, p.account)
	first := r.mount(t)
	tree(t, r.dir) // loads
	before := tree(t, r.dir)
	first.unmount(t)

	p.forget()
	second := r.mount(t)
	sameTree(t, "after a remount", tree(t, r.dir), before)
	if got := p.sent("FETCH"); len(got) > 0 {
		t.Errorf("nothing has changed, but asked for: %s", got)
	}
	if got := p.sent("SEARCH"); len(got) > 0 {
		t.Errorf("nothing has changed, but searched: %s", got)
	}
	second.unmount(t)

	c := p.client(t)
	deliver(t, c, "INBOX", oneLetter(1001), time.Now())
	deliver(t, c, "INBOX", oneLetter(1002), time.Now())
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	expunge(t, c, 7)
	p.forget()
	third := r.mount(t)
	now := tree(t, r.dir)
	if strings.Contains(now, "/7/") || !strings.Contains(now, "/103/body.txt") {
		t.Errorf("7 is there, or 103 is not: %s", names(t, filepath.Join(r.dir, "INBOX")))
	}
	uids, _ := p.content(t)
	if fmt.Sprint(uids) != "[102 103]" && fmt.Sprint(uids) != "[103 102]" {
		t.Errorf("content of %v was asked for, want that of 102 and 103", uids)
	}
	third.unmount(t)
}

// TestNoCacheOfWrongNames mounts with a password that is wrong: before the first
// mount there is no cache of the account afterwards, later it stays.
func TestNoCacheOfWrongNames(t *testing.T) {
	a := embedded(t)
	r := newRemounter(t, a)
	refused := func() {
		t.Helper()
		wrong := imapfs(t, []string{"IMAPFS_PASSWORD=wrong", "XDG_CACHE_HOME=" + r.cache}, append(r.flags, r.url(), r.dir)...)
		if code := wrong.exit(t); code != exitFailed {
			t.Errorf("exit code %d: %s", code, wrong.stderr)
		}
	}
	refused()
	if list := runCommand(t, r.cache, "cache", "list"); list != (said{}) {
		t.Errorf("before the first mount: %+v", list)
	}
	r.mount(t).unmount(t)
	refused()
	if list := runCommand(t, r.cache, "cache", "list"); strings.Count(list.stdout, "\n") != 1 {
		t.Errorf("after the first mount: %+v", list)
	}
}

func TestOfflineMount(t *testing.T) {
	s, p := inbox(t, 20)
	r := newRemounter(t, p.account)
	first := r.mount(t)
	want := run(t, "grep", "-r", "^end of", r.dir)
	uncached := filepath.Join(r.dir, "INBOX/21/attachments/large.pdf")
	if _, err := os.Stat(uncached); err != nil {
		t.Fatal(err)
	}
	first.unmount(t)
	s.Kill()

	second := r.mount(t)
	if got := run(t, "grep", "-r", "--exclude=large.pdf", "^end of", r.dir); got != want {
		t.Errorf("grep finds\n%s\nwant\n%s", got, want)
	}
	_ = uncached
	if err := os.RemoveAll(filepath.Join(r.dir, "INBOX/3")); err == nil {
		t.Error("deleted while the server is away")
	}
	if got := string(read(t, r.dir, "INBOX/3/body.txt")); !strings.HasSuffix(got, "end of 3\n") {
		t.Errorf("got %q", got)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mount heals", func() bool { return os.RemoveAll(filepath.Join(r.dir, "INBOX/3")) == nil })
	second.unmount(t)
}

// TestDeletedIsNotKept deletes a message, and ends the mount at once: its content
// is in no file of the cache.
func TestDeletedIsNotKept(t *testing.T) {
	_, p := inbox(t, 3)
	c := p.client(t)
	for _, kept := range []string{"kept", "deleted"} {
		deliver(t, c, "INBOX", []byte("Subject: "+kept+"\r\n\r\n"+strings.Repeat("This is "+kept+".\r\n", 100)), time.Now())
	}
	r := newRemounter(t, p.account)
	process := r.mount(t)
	folder := filepath.Join(r.dir, "INBOX")
	all := names(t, folder)
	for _, uid := range all {
		read(t, folder, uid, "body.txt")
	}
	inCache := func(text string) bool {
		return exec.Command("grep", "-rqa", text, r.cache).Run() == nil
	}
	eventually(t, "the cache has it", func() bool { return inCache("This is deleted") && inCache("This is kept") })
	for _, uid := range all {
		if strings.Contains(string(read(t, folder, uid, "body.txt")), "This is deleted") {
			run(t, "rm", "-r", filepath.Join(folder, uid))
		}
	}
	process.unmount(t)
	if inCache("This is deleted") || !inCache("This is kept") {
		t.Errorf("in the cache: deleted %v, kept %v", inCache("This is deleted"), inCache("This is kept"))
	}
}

// A cache that belongs to another mount is left alone.
func TestSecondMountOfAnAccount(t *testing.T) {
	_, p := inbox(t, 3)
	r := newRemounter(t, p.account)
	first := r.mount(t)
	other := *r
	other.dir = t.TempDir()
	second := other.mount(t)
	if said := second.stderr.String(); !strings.Contains(said, "another mount of this account") {
		t.Errorf("the second mount said %q", said)
	}
	tree(t, r.dir) // loads
	tree(t, other.dir)
	sameTree(t, "the second mount", tree(t, other.dir), tree(t, r.dir))
	second.unmount(t)
	first.unmount(t)
}

// A cache directory that cannot be used is no reason not to mount.
func TestNoRoomForACache(t *testing.T) {
	_, p := inbox(t, 3)
	r := newRemounter(t, p.account)
	r.cache = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(r.cache, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	process := r.mount(t)
	if said := process.stderr.String(); !strings.Contains(said, "no cache on disk (") || !strings.Contains(said, "set XDG_CACHE_HOME") {
		t.Errorf("it said %q", said)
	}
	tree(t, r.dir)
	process.unmount(t)
}

func TestNoServerAndNothingRemembered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	a := account{addr: addr, user: "anna", password: "secret"}
	p := imapfs(t, []string{"IMAPFS_PASSWORD=secret"}, "--insecure", a.url(), t.TempDir())
	if code := p.exit(t); code != 1 || !strings.Contains(p.stderr.String(), "refuses connections") {
		t.Errorf("code %d:\n%s", code, p.stderr)
	}
}

type mirrorStatus struct {
	Complete bool
	Spared   bool `json:"open_spared"`
}

func mirrorOf(t *testing.T, dir string) mirrorStatus {
	t.Helper()
	var status struct{ Mirror mirrorStatus }
	if err := json.Unmarshal(read(t, dir, ".imapfs/status"), &status); err != nil {
		t.Fatal(err)
	}
	return status.Mirror
}

// mirrored tells whether the mount says that its mirror is complete.
func mirrored(t *testing.T, dir string) bool {
	t.Helper()
	return mirrorOf(t, dir).Complete
}

func TestMirror(t *testing.T) {
	s, p := inbox(t, 100)
	plain := mount(t, p.account)
	tree(t, plain)
	want := tree(t, plain)

	r := newRemounter(t, p.account, "--mirror", "--poll", "300ms")
	first := r.mount(t)
	eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.dir) })
	s.Kill()
	sameTree(t, "the mirror", tree(t, r.dir), want)
	first.unmount(t)

	// And without the server, from the disk alone.
	second := r.mount(t)
	sameTree(t, "the mirror after a remount", tree(t, r.dir), want)
	second.unmount(t)

	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	p.forget()
	third := r.mount(t)
	eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.dir) })
	if uids, _ := p.content(t); len(uids) > 0 {
		t.Errorf("fetched again: %v", uids)
	}
	deliver(t, p.client(t), "INBOX", oneLetter(1000), time.Now())
	eventually(t, "a new message is mirrored", func() bool {
		uids, _ := p.content(t)
		return len(uids) == 1 && mirrored(t, r.dir)
	})
	s.Kill()
	if got := string(read(t, r.dir, "INBOX/102/body.txt")); !strings.HasSuffix(got, "end of 1000\n") {
		t.Errorf("got %q", got)
	}
	third.unmount(t)
}

// TestMirrorSparesOpen looks at a mount that has told the kernel to send no
// OPEN: what was there before, and what comes later, is as on any other mount.
func TestMirrorSparesOpen(t *testing.T) {
	_, p := inbox(t, 20)
	r := newRemounter(t, p.account, "--mirror", "--poll", "300ms")
	process := r.mount(t)
	// The kernel knows estimates, and files are open, before it is told.
	run(t, "ls", "-lR", r.dir)
	open, err := os.Open(filepath.Join(r.dir, "INBOX/3/body.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	eventually(t, "OPEN is spared", func() bool { return mirrorOf(t, r.dir).Spared })

	plain := mount(t, p.account, "--poll", "300ms")
	same := func(what string) {
		t.Helper()
		tree(t, plain)
		want := tree(t, plain)
		sameTree(t, what, tree(t, r.dir), want)
		sameTree(t, what+", again", tree(t, r.dir), want)
	}
	same("after OPEN is spared")
	if b, err := io.ReadAll(open); err != nil || !strings.HasSuffix(string(b), "end of 3\n") {
		t.Errorf("a file that was open before: %q, %v", b, err)
	}

	c := p.client(t)
	deliver(t, c, "INBOX", oneLetter(1000), time.Now())
	deliver(t, c, "INBOX", largeLetter(), time.Now())
	for _, dir := range []string{r.dir, plain} {
		eventually(t, "new mail shows", func() bool { return len(names(t, filepath.Join(dir, "INBOX"))) == 23 })
	}
	same("new mail")

	for _, how := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC} {
		f, err := os.OpenFile(filepath.Join(r.dir, "INBOX/3/body.txt"), how, 0)
		if err == nil {
			_, err = f.WriteString("overwritten")
			f.Close()
		}
		if !errors.Is(err, syscall.EPERM) {
			t.Errorf("writing with %x: got %v, want %v", how, err, syscall.EPERM)
		}
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "INBOX/3")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "INBOX/3/body.txt")); err == nil {
		t.Error("a deleted message is there")
	}
	process.unmount(t)
}
