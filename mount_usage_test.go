package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUsage asks for what df shows: the messages that are known, their bytes,
// and room.
func TestUsage(t *testing.T) {
	a := emptyDovecot(t, "")
	m := &mailbox{client: a.client(t)}
	m.fill(t, "Letters")
	m.fill(t, "Letters/Old")
	mnt := mount(t, a)
	if out := run(t, "df", mnt); !strings.Contains(out, "1000") && !strings.Contains(out, "1048576000") {
		t.Errorf("df says\n%s", out)
	}
	run(t, "ls", "-lR", mnt)
	var bytes int64
	count := 0
	for _, folder := range []string{"Letters", "Letters/Old"} {
		for _, m := range messages(t, a.client(t), folder) {
			bytes += int64(len(m.raw))
			count++
		}
	}
	var st syscall.Statfs_t
	eventually(t, "all is counted", func() bool {
		if err := syscall.Statfs(filepath.Join(mnt, "Letters", "1"), &st); err != nil {
			t.Fatal(err)
		}
		return st.Files-st.Ffree == uint64(count)
	})
	if used, want := st.Blocks-st.Bfree, uint64(bytes+int64(st.Bsize)-1)/uint64(st.Bsize); used != want || st.Bavail == 0 {
		t.Errorf("%d blocks are used, want %d; %d are there", used, want, st.Bavail)
	}
}

// TestSymlinkedMountPoint announces the path that fusermount3 -u takes.
func TestSymlinkedMountPoint(t *testing.T) {
	a := emptyDemo(t)
	link, dir := filepath.Join(t.TempDir(), "link"), t.TempDir()
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	p := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, "--insecure", a.url(), link)
	p.waitMounted(t)
	// Nor does it name the link to who mounts there once more.
	second := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, "--insecure", a.url(), link)
	if code := second.exit(t); code != exitFailed || !strings.Contains(second.stderr.String(), "unmount it with: fusermount3 -u "+dir+"\n") {
		t.Errorf("a second mount: code %d, %s", code, second.stderr)
	}
	_, at, _ := strings.Cut(p.stderr.String(), " at ")
	at, _, _ = strings.Cut(at, "\n")
	run(t, "fusermount3", "-u", at)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
