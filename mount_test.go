package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/internal/harness"
)

// These tests are the contract in short: what the README promises. All others
// that mount are in mounttests.

func TestMain(m *testing.M) { harness.Main(m) }

// TestFirstSession types what the README shows first, and sees what it shows. In
// which order names come, and how ls arranges them, is not compared.
func TestFirstSession(t *testing.T) {
	harness.Need(t, "bash")
	readme := string(harness.Read(t, "README.md"))
	_, session, _ := strings.Cut(readme, "```\n$ ")
	session, _, _ = strings.Cut(session, "```\n")
	home, bin := t.TempDir(), t.TempDir()
	harness.Must(t, os.Symlink(harness.Self(t), filepath.Join(bin, "imapfs")))
	defer harness.Unmount(t, filepath.Join(home, "mail"))
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
		if got, want := harness.Shown(out.String()), harness.Shown(strings.ReplaceAll(want, "/home/ines", home)); !slices.Equal(got, want) {
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

// TestDemo makes the mount point, and shows the sample.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made by demo")
	p := harness.Imapfs(t, nil, "demo", dir)
	p.WaitMounted(t)
	if n := len(harness.Names(t, filepath.Join(dir, "INBOX"))); n < 5 {
		t.Errorf("the demo's INBOX has %d entries", n)
	}
	p.Cmd.Process.Signal(syscall.SIGTERM)
	p.EndsWith(t, 0, "")
}

// TestTreeIsTheServers lists all folders: their messages are the server's.
func TestTreeIsTheServers(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		mnt := harness.Mount(t, a)
		c := a.Client(t)
		n := 0
		list := harness.Folders(t, c)
		for _, l := range list {
			if !harness.Selectable(l) {
				continue
			}
			dir := harness.FolderPath(mnt, list, l)
			var uids []string
			for _, name := range harness.Names(t, dir) {
				if _, err := strconv.Atoi(name); err == nil {
					uids = append(uids, name)
				}
			}
			var want []string
			for _, m := range harness.Messages(t, c, l.Mailbox) {
				want = append(want, fmt.Sprint(m.UID))
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

// TestMessageDirectory reads all messages: a directory has the headers, the text
// and the attachments, the date at which it came, and is for the user alone.
func TestMessageDirectory(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		mnt := harness.Mount(t, a)
		harness.EachMessage(t, a, mnt, func(dir string, m harness.Held) {
			if a.ChangesNames {
				harness.Read(t, dir, "body.txt")
			}
			if got, want := harness.Names(t, dir), []string{"attachments", "body.txt", "headers.txt"}; !slices.Equal(got, want) {
				t.Errorf("%s lists %q, want %q", dir, got, want)
			}
			harness.SameFiles(t, dir, m.Raw)
			info, err := os.Stat(dir)
			harness.Must(t, err)
			if !info.ModTime().Equal(m.Date) {
				t.Errorf("%s is dated %v, INTERNALDATE is %v", dir, info.ModTime(), m.Date)
			}
			if info.Mode() != fs.ModeDir|0o700 {
				t.Errorf("%s has mode %v", dir, info.Mode())
			}
		})
	})
}

// TestToolsSeeTheSameBytes reads the whole tree with several programs, each on
// a mount that has loaded nothing yet.
func TestToolsSeeTheSameBytes(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) { harness.ToolsAgree(t, a, 30) })
}

// TestLargeAttachment fetches no more of a large message than is read.
func TestLargeAttachment(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		raw, attachment := harness.BigMessage(25 << 20)
		uid := harness.Deliver(t, a.Client(t), "INBOX", raw, time.Now())
		p := harness.NewProxy(t, a)
		mnt := harness.Mount(t, p.Account)
		dir := filepath.Join(mnt, "INBOX", fmt.Sprint(uid))

		start := p.FromServer.Load()
		if got := string(harness.Read(t, dir, "body.txt")); got != "See the film.\n" {
			t.Errorf("body %q", got)
		}
		if n := p.FromServer.Load() - start; n >= 200_000 {
			t.Errorf("reading the body took %d bytes from the server, want less than 200,000", n)
		}

		start = p.FromServer.Load()
		out := harness.Run(t, "head", "-c", "100", filepath.Join(dir, "attachments", "film.mp4"))
		if !bytes.Equal([]byte(out), attachment[:100]) {
			t.Error("the first 100 bytes differ")
		}
		if n := p.FromServer.Load() - start; n >= 5<<20 {
			t.Errorf("the first 100 bytes took %d from the server", n)
		}
		if got := harness.Read(t, dir, "attachments", "film.mp4"); !bytes.Equal(got, attachment) {
			t.Errorf("the attachment has %d bytes that differ", len(got))
		}
		if got := harness.Read(t, dir, "message.eml"); !bytes.Equal(got, raw) {
			t.Errorf("message.eml has %d bytes that differ", len(got))
		}
	})
}

// TestReadingSetsNoFlag reads everything: no message is marked as read.
func TestReadingSetsNoFlag(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		before := make(map[string][]imap.Flag)
		record := func(into map[string][]imap.Flag) {
			for _, l := range harness.Folders(t, c) {
				if harness.Selectable(l) {
					for _, m := range harness.Messages(t, c, l.Mailbox) {
						into[fmt.Sprint(l.Mailbox, "/", m.UID)] = m.Flags
					}
				}
			}
		}
		record(before)
		harness.Hashes(t, harness.Mount(t, a, "--show", "raw,html"))
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

// TestNewsByIdle never polls: only IDLE can tell.
func TestNewsByIdle(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		inUse := a.Mailbox("In use")
		harness.Must(t, c.Create(inUse, nil).Wait())
		mnt := harness.Mount(t, a, "--poll", "24h")
		inbox := filepath.Join(mnt, "INBOX")
		harness.Names(t, inbox)
		for range 2 {
			harness.SeesAnother(t, c, inUse, filepath.Join(a.Top(mnt), "In use"))
			harness.SeesAnother(t, c, "INBOX", inbox)
		}
	})
}

// TestDeleteOneMessage removes a directory in several ways: this one message goes
// from the server.
func TestDeleteOneMessage(t *testing.T) {
	ways := map[string]func(t *testing.T, dir string){
		"rm -r": func(t *testing.T, dir string) { harness.Run(t, "rm", "-r", dir) },
		"rmdir": func(t *testing.T, dir string) { harness.Run(t, "rmdir", dir) },
		"RemoveAll": func(t *testing.T, dir string) {
			harness.Must(t, os.RemoveAll(dir))
		},
		"unlink, rmdir": func(t *testing.T, dir string) {
			harness.Run(t, "rm", filepath.Join(dir, "body.txt"), filepath.Join(dir, "headers.txt"))
			harness.Run(t, "rmdir", filepath.Join(dir, "attachments"), dir)
		},
	}
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		uid := harness.Deliver(t, c, "INBOX", []byte("Subject: to go\r\n\r\nBye.\r\n"), time.Now())
		marked := harness.Deliver(t, c, "INBOX", []byte("Subject: marked by another client\r\n\r\nStay.\r\n"), time.Now())
		harness.Select(t, c, "INBOX")
		harness.Mark(t, c, marked)
		for name, way := range ways {
			t.Run(name, func(t *testing.T) {
				if uid == 0 {
					uid = harness.Deliver(t, a.Client(t), "INBOX", []byte("Subject: to go\r\n\r\nBye.\r\n"), time.Now())
				}
				before := harness.Messages(t, a.Client(t), "INBOX")
				p := harness.NewProxy(t, a)
				mnt := harness.Mount(t, p.Account)
				dir := filepath.Join(mnt, "INBOX", fmt.Sprint(uid))
				harness.Names(t, filepath.Join(mnt, "INBOX"))
				way(t, dir)

				var want []imap.UID
				for _, m := range before {
					if m.UID != uid {
						want = append(want, m.UID)
					}
				}
				var left []imap.UID
				for _, m := range harness.Messages(t, a.Client(t), "INBOX") {
					left = append(left, m.UID)
				}
				if !slices.Equal(left, want) {
					t.Errorf("the server has %v, want %v", left, want)
				}
				if got, want := p.Sent("STORE"), []string{fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid)}; !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				if got, want := p.Sent("EXPUNGE"), []string{fmt.Sprintf(`UID EXPUNGE %d`, uid)}; !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the name is still there: %v", err)
				}
				if slices.Contains(harness.Names(t, filepath.Join(mnt, "INBOX")), fmt.Sprint(uid)) {
					t.Error("the message is still listed")
				}
				uid = 0
			})
		}
	})
}

// TestFiling makes a folder, moves and copies into it with the tools that people know,
// renames it, and takes it away when it is empty.
func TestFiling(t *testing.T) {
	harness.ForEachServer(t, func(t *testing.T, a harness.Account) {
		c := a.Client(t)
		letter := []byte("Subject: filed\r\n\r\nKeep me.\r\n")
		uid := harness.Deliver(t, c, "INBOX", letter, time.Now())
		inbox := len(harness.Messages(t, c, "INBOX"))
		mnt := harness.Mount(t, a)
		top := a.Top(mnt)
		boats, ships := filepath.Join(top, "Boats"), filepath.Join(top, "Ships")
		file := filepath.Join(t.TempDir(), "x.eml")
		harness.Must(t, os.WriteFile(file, []byte("Subject: from elsewhere\n\nNew.\n"), 0o600))

		harness.Run(t, "mkdir", boats)
		harness.Run(t, "mv", filepath.Join(mnt, "INBOX", fmt.Sprint(uid)), boats)
		harness.Run(t, "cp", file, boats)
		harness.Run(t, "cp", filepath.Join(boats, "1", "message.eml"), filepath.Join(boats, "again.eml"))
		harness.Run(t, "mv", boats, ships)

		var got []string
		for _, m := range harness.Messages(t, a.Client(t), a.Mailbox("Ships")) {
			got = append(got, string(m.Raw))
			harness.SameFiles(t, filepath.Join(ships, fmt.Sprint(m.UID)), m.Raw)
		}
		slices.Sort(got) // Courier numbers what comes within a second as it likes
		if want := []string{string(letter), string(letter), "Subject: from elsewhere\r\n\r\nNew.\r\n"}; !slices.Equal(got, want) {
			t.Errorf("the folder has %q, want %q", got, want)
		}
		if n := len(harness.Messages(t, a.Client(t), "INBOX")); n != inbox-1 {
			t.Errorf("INBOX has %d messages, want %d", n, inbox-1)
		}
		if names := harness.Names(t, ships); !slices.Equal(names, []string{"1", "2", "3"}) {
			t.Errorf("the folder shows %q", names)
		}
		if err := harness.Rmdir(ships); !errors.Is(err, syscall.ENOTEMPTY) {
			t.Errorf("rmdir of a folder with mail: %v", err)
		}
		harness.Run(t, "rm", "-r", filepath.Join(ships, "1"), filepath.Join(ships, "2"), filepath.Join(ships, "3"))
		harness.Run(t, "rmdir", ships)
		if l := harness.Folders(t, a.Client(t)); slices.ContainsFunc(l, func(l *imap.ListData) bool {
			return strings.HasSuffix(l.Mailbox, "hips") || strings.HasSuffix(l.Mailbox, "Boats")
		}) {
			t.Error("the folder is still on the server")
		}
	})
}

// TestRemountFetchesOnlyWhatIsNew mounts again with what the last mount has kept.
func TestRemountFetchesOnlyWhatIsNew(t *testing.T) {
	_, p := harness.Inbox(t, 100)
	r := harness.NewRemounter(t, p.Account)
	first := r.Mount(t)
	harness.Tree(t, r.Dir) // loads
	before := harness.Tree(t, r.Dir)
	first.Unmount(t)

	p.Forget()
	second := r.Mount(t)
	harness.SameTree(t, "after a remount", harness.Tree(t, r.Dir), before)
	if got := p.Sent("FETCH"); len(got) > 0 {
		t.Errorf("nothing has changed, but asked for: %s", got)
	}
	if got := p.Sent("SEARCH"); len(got) > 0 {
		t.Errorf("nothing has changed, but searched: %s", got)
	}
	second.Unmount(t)

	c := p.Client(t)
	harness.Deliver(t, c, "INBOX", harness.OneLetter(1001), time.Now())
	harness.Deliver(t, c, "INBOX", harness.OneLetter(1002), time.Now())
	harness.Select(t, c, "INBOX")
	harness.Expunge(t, c, 7)
	p.Forget()
	third := r.Mount(t)
	now := harness.Tree(t, r.Dir)
	if strings.Contains(now, "/7/") || !strings.Contains(now, "/103/body.txt") {
		t.Errorf("7 is there, or 103 is not: %s", harness.Names(t, filepath.Join(r.Dir, "INBOX")))
	}
	uids, _ := p.Content(t)
	if fmt.Sprint(uids) != "[102 103]" && fmt.Sprint(uids) != "[103 102]" {
		t.Errorf("content of %v was asked for, want that of 102 and 103", uids)
	}
	third.Unmount(t)
}

// TestOfflineMount mounts without a server: what was kept can be read, and
// nothing deleted.
func TestOfflineMount(t *testing.T) {
	s, p := harness.Inbox(t, 20)
	r := harness.NewRemounter(t, p.Account)
	first := r.Mount(t)
	want := harness.Run(t, "grep", "-r", "^end of", r.Dir)
	uncached := filepath.Join(r.Dir, "INBOX/21/attachments/large.pdf")
	if _, err := os.Stat(uncached); err != nil {
		t.Fatal(err)
	}
	first.Unmount(t)
	s.Kill()

	second := r.Mount(t)
	if got := harness.Run(t, "grep", "-r", "--exclude=large.pdf", "^end of", r.Dir); got != want {
		t.Errorf("grep finds\n%s\nwant\n%s", got, want)
	}
	_ = uncached
	if err := os.RemoveAll(filepath.Join(r.Dir, "INBOX/3")); err == nil {
		t.Error("deleted while the server is away")
	}
	if got := string(harness.Read(t, r.Dir, "INBOX/3/body.txt")); !strings.HasSuffix(got, "end of 3\n") {
		t.Errorf("got %q", got)
	}
	harness.Must(t, s.Restart())
	harness.Eventually(t, "the mount heals", func() bool { return os.RemoveAll(filepath.Join(r.Dir, "INBOX/3")) == nil })
	second.Unmount(t)
}

// TestEnds ends the mount in each way: it is gone, and the server is told.
func TestEnds(t *testing.T) {
	ends := map[string]func(t *testing.T, dir string, p *harness.Process){
		"SIGTERM": func(_ *testing.T, _ string, p *harness.Process) { p.Cmd.Process.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(_ *testing.T, _ string, p *harness.Process) { p.Cmd.Process.Signal(syscall.SIGHUP) },
		"SIGINT":  func(_ *testing.T, _ string, p *harness.Process) { p.Cmd.Process.Signal(os.Interrupt) },
		"umount":  func(t *testing.T, dir string, _ *harness.Process) { harness.Unmount(t, dir) },
		"SIGTERM while in use": func(t *testing.T, dir string, p *harness.Process) {
			f, err := os.Open(dir)
			harness.Must(t, err)
			t.Cleanup(func() { f.Close() })
			p.Cmd.Process.Signal(syscall.SIGTERM)
		},
	}
	// Under nohup the signal is ignored, and so by a child, but not if this
	// process handles it.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			proxy := harness.NewProxy(t, harness.Embedded(t))
			dir, p := harness.MountProcess(t, proxy.Account)
			harness.Names(t, filepath.Join(dir, "INBOX"))
			end(t, dir, p)
			p.EndsWith(t, 0, "")
			if len(proxy.Sent("LOGOUT")) == 0 {
				t.Error("no LOGOUT was sent")
			}
			if got := harness.Names(t, dir); len(got) > 0 {
				t.Errorf("the mount is still there: %v", got)
			}
		})
	}
}
