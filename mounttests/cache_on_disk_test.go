package mounttests

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapfs/commands"
	"imapfs/internal/harness"
)

// TestNoCacheOfWrongNames mounts with a password that is wrong: before the first
// mount there is no cache of the account afterwards, later it stays.
func TestNoCacheOfWrongNames(t *testing.T) {
	a := harness.Embedded(t)
	r := harness.NewRemounter(t, a)
	refused := func() {
		t.Helper()
		wrong := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=wrong", "XDG_CACHE_HOME=" + r.Cache}, append(r.Flags, r.URL(), r.Dir)...)
		wrong.EndsWith(t, commands.ExitFailed, "")
	}
	refused()
	if list := harness.RunCommand(t, r.Cache, "cache", "list"); list != (harness.Said{}) {
		t.Errorf("before the first mount: %+v", list)
	}
	r.Mount(t).Unmount(t)
	refused()
	if list := harness.RunCommand(t, r.Cache, "cache", "list"); strings.Count(list.Stdout, "\n") != 1 {
		t.Errorf("after the first mount: %+v", list)
	}
}

// TestDeletedIsNotKept deletes a message, and ends the mount at once: its content
// is in no file of the cache.
func TestDeletedIsNotKept(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	c := p.Client(t)
	for _, kept := range []string{"kept", "deleted"} {
		harness.Deliver(t, c, "INBOX", []byte("Subject: "+kept+"\r\n\r\n"+strings.Repeat("This is "+kept+".\r\n", 100)), time.Now())
	}
	r := harness.NewRemounter(t, p.Account)
	process := r.Mount(t)
	folder := filepath.Join(r.Dir, "INBOX")
	all := harness.Names(t, folder)
	for _, uid := range all {
		harness.Read(t, folder, uid, "body.txt")
	}
	inCache := func(text string) bool {
		return exec.Command("grep", "-rqa", text, r.Cache).Run() == nil
	}
	harness.Eventually(t, "the cache has it", func() bool { return inCache("This is deleted") && inCache("This is kept") })
	for _, uid := range all {
		if strings.Contains(string(harness.Read(t, folder, uid, "body.txt")), "This is deleted") {
			harness.Run(t, "rm", "-r", filepath.Join(folder, uid))
		}
	}
	process.Unmount(t)
	if inCache("This is deleted") || !inCache("This is kept") {
		t.Errorf("in the cache: deleted %v, kept %v", inCache("This is deleted"), inCache("This is kept"))
	}
}

// A cache that belongs to another mount is left alone.
func TestSecondMountOfAnAccount(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	r := harness.NewRemounter(t, p.Account)
	first := r.Mount(t)
	other := *r
	other.Dir = t.TempDir()
	second := other.Mount(t)
	if said := second.Stderr.String(); !strings.Contains(said, "another mount of this account") {
		t.Errorf("the second mount said %q", said)
	}
	harness.Tree(t, r.Dir) // loads
	harness.Tree(t, other.Dir)
	harness.SameTree(t, "the second mount", harness.Tree(t, other.Dir), harness.Tree(t, r.Dir))
	second.Unmount(t)
	first.Unmount(t)
}

// A cache directory that cannot be used is no reason not to mount.
func TestNoRoomForACache(t *testing.T) {
	_, p := harness.Inbox(t, 3)
	r := harness.NewRemounter(t, p.Account)
	r.Cache = filepath.Join(t.TempDir(), "file")
	harness.Must(t, os.WriteFile(r.Cache, nil, 0o600))
	process := r.Mount(t)
	if said := process.Stderr.String(); !strings.Contains(said, "no cache on disk (") || !strings.Contains(said, "set XDG_CACHE_HOME") {
		t.Errorf("it said %q", said)
	}
	harness.Tree(t, r.Dir)
	process.Unmount(t)
}

func TestNoServerAndNothingRemembered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	addr := ln.Addr().String()
	ln.Close()
	a := harness.Account{Addr: addr, User: "anna", Password: "secret"}
	p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=secret"}, "--insecure", a.URL(), t.TempDir())
	p.EndsWith(t, 1, "refuses connections")
}
