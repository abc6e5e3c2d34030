package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/spf13/pflag"

	"imapfs/imapbackend"
)

// said is how a run of imapfs went that mounts nothing.
type said struct {
	stdout, stderr string
	code           int
}

// commandOf returns imapfs with these arguments and a cache of its own, not yet
// started.
func commandOf(t *testing.T, cache string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), runMain+"=1", "XDG_CACHE_HOME="+cache)
	return cmd
}

func runCommand(t *testing.T, cache string, args ...string) said {
	t.Helper()
	cmd := commandOf(t, cache, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	timer := time.AfterFunc(within, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		t.Fatalf("imapfs %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return said{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// failsWith checks that a run failed with one line of text.
func (s said) failsWith(t *testing.T, code int, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(s.stderr), "\n")
	if s.code != code || s.stdout != "" || !strings.HasPrefix(lines[0], "imapfs: ") || !strings.Contains(lines[0], text) || code == exitFailed && len(lines) != 1 {
		t.Errorf("got %+v, want code %d and a line with %q", s, code, text)
	}
}

func TestCommandLine(t *testing.T) {
	none := t.TempDir()
	missing := filepath.Join(none, "missing")
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{}, exitUsage, "want SOURCE and MOUNTPOINT, got 0 of 2"},
		{[]string{"foo"}, exitUsage, "want SOURCE and MOUNTPOINT, got 1 of 2 arguments: foo"},
		{[]string{"imaps://anna@example.org/"}, exitUsage, "want SOURCE and MOUNTPOINT"},
		{[]string{none, "imaps://anna@example.org/"}, exitUsage, "SOURCE comes first, and then MOUNTPOINT: imapfs imaps://anna@example.org/ " + none},
		{[]string{"dmeo", none}, exitUsage, `there is no command "dmeo"; did you mean demo?`},
		{[]string{"statsu", none}, exitUsage, `did you mean status?`},
		{[]string{"satus"}, exitUsage, `did you mean status?`},
		{[]string{"http://example.org/", none}, exitUsage, "imaps://"},
		{[]string{"example.org", none}, exitUsage, "imaps://"},
		{[]string{"imaps://example.org/", none}, exitUsage, "no user name"},
		{[]string{"imaps://anna:secret@example.org/", none}, exitUsage, "password"},
		{[]string{"--mirror", "INBOX", "imaps://anna@example.org/", none}, exitUsage, "stands behind a =, like --mirror=INBOX"},
		{[]string{"--trash", "Bin", "imaps://anna@example.org/", none}, exitUsage, "stands behind a =, like --trash=Bin"},
		{[]string{"demo", "--trash", "Bin", none}, exitUsage, "stands behind a =, like --trash=Bin"},
		{[]string{"--connections", "many", "imaps://anna@example.org/", none}, exitUsage, `--connections cannot be "many"; write a number, like --connections 4`},
		{[]string{"--connections", "99999999999999999999", "imaps://anna@example.org/", none}, exitUsage, "write a number"},
		{[]string{"--connections", "0", "imaps://anna@example.org/", none}, exitUsage, "above zero"},
		{[]string{"--poll", "5", "imaps://anna@example.org/", none}, exitUsage, `--poll cannot be "5"; write a time with its unit, like --poll 30s`},
		{[]string{"--poll", "-5s", "imaps://anna@example.org/", none}, exitUsage, "--poll needs a time above zero"},
		{[]string{"--timeout", "soon", "imaps://anna@example.org/", none}, exitUsage, "write a time with its unit, like --timeout 30s"},
		{[]string{"--timeout"}, exitUsage, "--timeout needs a value"},
		{[]string{"--daemon=maybe", "imaps://anna@example.org/", none}, exitUsage, `--daemon cannot be "maybe"; write --daemon`},
		{[]string{"--cache-size", "big", "imaps://anna@example.org/", none}, exitUsage, `"big" is not a size; write it like 64M`},
		{[]string{"--umask", "99", "imaps://anna@example.org/", none}, exitUsage, `"99" is not a umask; write it like 022`},
		{[]string{"--show", "all", "imaps://anna@example.org/", none}, exitUsage, "--show knows raw and html"},
		{[]string{"-insecure", "imaps://anna@example.org/", none}, exitUsage, "there is no flag -insecure; with two dashes there is: --insecure"},
		{[]string{"-mirror=INBOX", "imaps://anna@example.org/", none}, exitUsage, "--mirror=INBOX"},
		{[]string{"-x", "imaps://anna@example.org/", none}, exitUsage, "there is no flag -x"},
		{[]string{"--insecur", "imaps://anna@example.org/", none}, exitUsage, "there is no flag --insecur; did you mean --insecure?"},
		{[]string{"--nonsense", "imaps://anna@example.org/", none}, exitUsage, "there is no flag --nonsense"},
		{[]string{"demo", "--mirror", none}, exitUsage, "imapfs demo has no flag --mirror"},
		{[]string{"-o", "nonsense", "imaps://anna@example.org/", none}, exitUsage, `unknown mount option "nonsense"`},
		{[]string{"-o", "poll=5", "imaps://anna@example.org/", none}, exitUsage, "write a time with its unit"},
		{[]string{"-o", "poll", "imaps://anna@example.org/", none}, exitUsage, "-o poll needs a value, like -o poll=1m0s"},
		{[]string{"--disk-cache-size", "0", "--mirror", "imaps://anna@example.org/", none}, exitUsage, "leave out --disk-cache-size 0"},
		{[]string{"--token-command", "x", "--password-file", "x", "imaps://anna@example.org/", none}, exitUsage, "--token-command takes the place of a password"},
		{[]string{"--tls-ca", missing, "imaps://anna@example.org/", none}, exitFailed, missing},
		{[]string{"imaps://anna@example.org/", missing}, exitFailed, missing},
		{[]string{"--trash=", "imaps://anna@example.org/", none}, exitUsage, "--trash is empty"},
		{[]string{"-o", "trash=", "imaps://anna@example.org/", none}, exitUsage, "--trash is empty"},
		{[]string{"demo", "--trash=", none}, exitUsage, "--trash is empty"},
		{[]string{"--mirror=", "imaps://anna@example.org/", none}, exitUsage, "--mirror is empty"},
		{[]string{"--password-file", "", "imaps://anna@example.org/", none}, exitUsage, "--password-file is empty"},
		{[]string{"--log-file=", "imaps://anna@example.org/", none}, exitUsage, "--log-file is empty"},
		{[]string{"imaps://anna@example.org/", ""}, exitUsage, "argument 2 of 2 is empty"},
		{[]string{"", none}, exitUsage, "argument 1 of 2 is empty"},
		{[]string{"status", ""}, exitUsage, "argument 1 of 1 is empty"},
		{[]string{"-o", "conections=3", "imaps://anna@example.org/", none}, exitUsage, `unknown mount option "conections=3"; did you mean connections?`},
		{[]string{"-o", "disk_cache_siz=3", "imaps://anna@example.org/", none}, exitUsage, "did you mean disk-cache-size?"},
		{[]string{"mount", "imaps://anna@example.org/", none}, exitUsage, "imapfs SOURCE MOUNTPOINT"},
		{[]string{"umount", none}, exitUsage, "fusermount3 -u"},
		{[]string{"help", "nothing"}, exitUsage, `there is no command "nothing"; there are cache, demo`},
		{[]string{"help", "cache", "nothing"}, exitUsage, `there is no command`},
		{[]string{"status"}, exitUsage, "want MOUNTPOINT"},
		{[]string{"status", "--nonsense", none}, exitUsage, "--nonsense"},
		{[]string{"status", none}, exitFailed, none + " is not in a mount of imapfs"},
		{[]string{"status", missing}, exitFailed, missing + " is not in a mount of imapfs"},
		{[]string{"wait"}, exitUsage, "want DIR"},
		{[]string{"wait", none}, exitFailed, none + " is not in a mount of imapfs"},
		{[]string{"cache"}, exitUsage, "list, clear"},
		{[]string{"cache", "foo"}, exitUsage, "list, clear"},
		{[]string{"cache", "list", "x"}, exitUsage, "no arguments"},
		{[]string{"cache", "clear", "x"}, exitFailed, `no mail of "x"`},
		{[]string{"cache", "clear", "../x"}, exitFailed, `no mail of "../x"`},
	} {
		t.Run(strings.Join(test.args[:min(2, len(test.args))], " "), func(t *testing.T) {
			got := runCommand(t, none, test.args...)
			got.failsWith(t, test.code, test.text)
			for _, word := range []string{"strconv", "pflag", "invalid argument", "time:", "shorthand"} {
				if strings.Contains(got.stderr, word) {
					t.Errorf("no plain words: %s", got.stderr)
				}
			}
		})
	}
	if got := runCommand(t, none, "demo"); !strings.Contains(got.stderr, "got 0 of 1 arguments\nSee: imapfs demo --help\n") {
		t.Errorf("demo without an argument: %+v", got)
	}
	if got := runCommand(t, none, "cache", "list"); got != (said{}) {
		t.Errorf("no cache is listed as %+v", got)
	}
	if got := runCommand(t, none, "cache", "clear"); got != (said{}) {
		t.Errorf("no cache is cleared with %+v", got)
	}
}

// TestNoHome runs imapfs as mount(8) does for a normal user.
func TestNoHome(t *testing.T) {
	if u, err := user.Current(); err != nil || u.HomeDir == "" {
		t.Skip("this user has no home directory")
	}
	t.Setenv("HOME", "")
	if got := runCommand(t, "", "cache", "clear", "no-such-account"); !strings.Contains(got.stderr, "no mail of") {
		t.Errorf("%+v", got)
	}
}

// TestMountOptions gives the options of a line in fstab.
func TestMountOptions(t *testing.T) {
	s := &settings{connections: 1}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.shared(flags)
	s.mountOptions = []string{"ro,nodev,user=anna,noauto,relatime,nodiratime,x-systemd.automount", "_netdev,umask=022,daemon"}
	if err := s.applyMountOptions(flags); err != nil || !slices.Equal(s.mountOptions, []string{"ro", "nodev"}) || s.umask != 0o022 || !s.daemon {
		t.Errorf("%v: %+v", err, s)
	}
}

func TestStatus(t *testing.T) {
	s, p := inbox(t, 5)
	r := newRemounter(t, p.account, "--mirror", "--poll", "300ms")
	process := r.mount(t)
	eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.dir) })
	eventually(t, "the mirror is on the disk", func() bool {
		return strings.Contains(runCommand(t, r.cache, "status", r.dir).stdout, " MiB of 2.0 GiB, ")
	})
	eventually(t, "a connection has the inbox", func() bool {
		return strings.Contains(runCommand(t, r.cache, "status", r.dir).stdout, "connection 1  INBOX: ")
	})

	var fields map[string]any
	asJSON := runCommand(t, r.cache, "status", "--json", r.dir)
	if err := json.Unmarshal([]byte(asJSON.stdout), &fields); err != nil || asJSON.code != 0 {
		t.Fatalf("%v, %+v", err, asJSON)
	}
	snakeCase(t, fields)
	var got report
	if err := json.Unmarshal([]byte(asJSON.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Server != p.addr || got.User != p.user || got.Away != "" || got.RoundTrip <= 0 || len(got.Connections) == 0 ||
		got.Disk == nil || got.Disk.Bytes < 1<<20 || got.Mirror == nil || got.Mirror.Here != 6 {
		t.Errorf("got %s", asJSON.stdout)
	}
	if !strings.Contains(fmt.Sprint(got.InUse), "ESEARCH") {
		t.Errorf("capabilities in use: %s", got.InUse)
	}

	for _, dir := range []string{r.dir, r.dir + "/INBOX", r.dir + "/INBOX/1/attachments"} {
		text := runCommand(t, r.cache, "status", dir)
		for _, want := range []string{p.addr + ", user " + p.user + ", connected", "round trip ", "connection 1  INBOX: ", "on disk ", " of 2.0 GiB, ", "mirror        complete; 6 messages, ", "last errors   none"} {
			if !strings.Contains(text.stdout, want) || text.code != 0 {
				t.Errorf("the status of %s has no %q: %+v", dir, want, text)
			}
		}
	}

	s.Kill()
	eventually(t, "the status says that the server is away", func() bool {
		text := runCommand(t, r.cache, "status", r.dir)
		return text.code == 0 && strings.Contains(text.stdout, ", away: ") && !strings.Contains(text.stdout, "last errors   none")
	})

	process.cmd.Process.Signal(syscall.SIGSTOP)
	eventually(t, "imapfs is stopped", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.cmd.Process.Pid))
		return err == nil && strings.Contains(string(state), "State:\tT")
	})
	runCommand(t, r.cache, "status", r.dir).failsWith(t, exitFailed, "does not answer")
	process.cmd.Process.Signal(syscall.SIGCONT)
	process.unmount(t)
	runCommand(t, r.cache, "status", r.dir).failsWith(t, exitFailed, "is not in a mount")
}

// What fails again and again leaves room for other errors.
func TestLastErrors(t *testing.T) {
	last := &lastErrors{Handler: slog.DiscardHandler, kept: new(keptErrors)}
	log := slog.New(last)
	log.Warn("the one")
	for range 2 * mostErrors {
		log.Info("the server is still away", "error", "refused")
	}
	if got := last.list(); len(got) != 2 || got[0].What != "the one" || got[1].Error != "refused" {
		t.Errorf("got %v", got)
	}
}

// snakeCase checks the keys of JSON.
func snakeCase(t *testing.T, value any) {
	t.Helper()
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") != "" {
				t.Errorf("the key %q", key)
			}
			snakeCase(t, v)
		}
	case []any:
		for _, v := range value {
			snakeCase(t, v)
		}
	}
}

func TestStatusPrintsNoControls(t *testing.T) {
	r := report{}
	r.Server, r.Connections = "host", []imapbackend.Connection{{Folder: "a\x1b[2Jb\u202e"}}
	var b bytes.Buffer
	if err := r.print(&b, time.Now()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "a?[2Jb?: idle") {
		t.Errorf("got %q", b.String())
	}
}

func TestStatusOfDeadMount(t *testing.T) {
	_, p := inbox(t, 1)
	r := newRemounter(t, p.account)
	process := r.mount(t)
	process.cmd.Process.Kill()
	<-process.done
	runCommand(t, r.cache, "status", r.dir).failsWith(t, exitFailed, "has died; clear it with: fusermount3 -u -z "+r.dir)
	said := runCommand(t, r.cache, "wait", r.dir+"/INBOX")
	if said.failsWith(t, exitFailed, "has died"); strings.Contains(said.stderr, "INBOX") {
		t.Errorf("what is to be cleared is not the mount: %s", said.stderr)
	}
}

// waiting starts imapfs wait.
func waiting(t *testing.T, args ...string) (p *process, stdout *lines) {
	t.Helper()
	stdout = &lines{more: make(chan struct{}, 1)}
	p = &process{cmd: commandOf(t, t.TempDir(), append([]string{"wait"}, args...)...), stderr: &lines{more: make(chan struct{}, 1)}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = stdout, p.stderr
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
	return p, stdout
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func TestWait(t *testing.T) {
	s, p := inbox(t, 5)
	r := newRemounter(t, p.account, "--poll", "300ms")
	mount := r.mount(t)
	dir := filepath.Join(r.dir, "INBOX")
	c := p.client(t)

	// Nobody can know when it has begun; so mail comes until it ends.
	var delivered []string
	one, stdout := waiting(t, dir)
	eventually(t, "wait sees new mail", func() bool {
		if one.hasEnded() {
			return true
		}
		delivered = append(delivered, fmt.Sprintf("%s/%d", dir, deliver(t, c, "INBOX", oneLetter(100), time.Now())))
		return false
	})
	printed := strings.Fields(stdout.String())
	if code := one.exit(t); code != 0 || len(printed) == 0 || !strings.Contains(fmt.Sprint(delivered), printed[0]) {
		t.Errorf("code %d, printed %q, delivered %q, said %s", code, printed, delivered, one.stderr)
	}

	// From its first line on it misses nothing.
	all, stdout := waiting(t, "--follow", dir)
	eventually(t, "wait --follow sees new mail", func() bool {
		if stdout.String() != "" {
			return true
		}
		deliver(t, c, "INBOX", oneLetter(200), time.Now())
		return false
	})
	var want []string
	for range 20 {
		want = append(want, fmt.Sprintf("%s/%d\n", dir, deliver(t, c, "INBOX", oneLetter(300), time.Now())))
	}
	eventually(t, "all new mail is printed", func() bool { return strings.HasSuffix(stdout.String(), strings.Join(want, "")) })
	if all.hasEnded() {
		t.Errorf("--follow has ended: %s", all.stderr)
	}
	all.cmd.Process.Signal(os.Interrupt)
	if code := all.exit(t); code != exitFailed || !strings.Contains(all.stderr.String(), "interrupted") {
		t.Errorf("interrupted: code %d, %s", code, all.stderr)
	}

	// What goes ends the wait too, and is not printed.
	gone, stdout := waiting(t, dir)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	uid := imap.UID(0)
	eventually(t, "wait sees an expunge", func() bool {
		if !gone.hasEnded() {
			uid++
			expunge(t, c, uid)
		}
		return gone.hasEnded()
	})
	if code := gone.exit(t); code != 0 || stdout.String() != "" {
		t.Errorf("code %d, printed %q", code, stdout)
	}

	message := filepath.Join(dir, fmt.Sprint(deliver(t, c, "INBOX", oneLetter(300), time.Now())))
	eventually(t, "a new message is there", func() bool {
		_, err := os.Stat(message)
		return err == nil
	})
	runCommand(t, r.cache, "wait", message).failsWith(t, exitFailed, "is a message")
	runCommand(t, r.cache, "wait", r.dir).failsWith(t, exitFailed, "wait watches a folder, like "+dir)

	// While it waits, the server hears nothing of it, and it goes on when the
	// server is back.
	away, stdout := waiting(t, "--follow", dir)
	eventually(t, "wait --follow sees new mail", func() bool {
		if stdout.String() != "" {
			return true
		}
		deliver(t, c, "INBOX", oneLetter(400), time.Now())
		return false
	})
	s.Kill()
	eventually(t, "the server is away", func() bool {
		return strings.Contains(runCommand(t, r.cache, "status", r.dir).stdout, ", away: ")
	})
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	back := fmt.Sprintf("%s/%d\n", dir, deliver(t, p.client(t), "INBOX", oneLetter(500), time.Now()))
	eventually(t, "mail after the server was away is printed", func() bool { return strings.HasSuffix(stdout.String(), back) })
	mount.unmount(t)
	if code := away.exit(t); code != exitFailed || !strings.Contains(away.stderr.String(), "INBOX is gone") {
		t.Errorf("after the mount: code %d, %s", code, away.stderr)
	}
}

// TestChangeTime looks at what imapfs wait goes by.
func TestChangeTime(t *testing.T) {
	_, p := inbox(t, 3)
	r := newRemounter(t, p.account, "--poll", "300ms")
	process := r.mount(t)
	dir := filepath.Join(r.dir, "INBOX")
	stat := func() (mtime time.Time, ctime syscall.Timespec) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime(), info.Sys().(*syscall.Stat_t).Ctim
	}
	date, before := stat()
	c := p.client(t)
	for _, at := range []time.Time{date.Add(-time.Hour), date.Add(-time.Hour), date} {
		deliver(t, c, "INBOX", oneLetter(10), at.Truncate(time.Second))
		eventually(t, "the change time grows", func() bool {
			_, now := stat()
			return now.Nano() > before.Nano()
		})
		_, before = stat()
	}
	if now, _ := stat(); !now.Equal(date.Truncate(time.Second)) {
		t.Errorf("the folder has the date %v, its newest message %v", now, date)
	}
	p.forget()
	for range 100 {
		stat()
	}
	if got := p.sent("FETCH"); len(got) > 0 {
		t.Errorf("stat asked for %q", got)
	}
	process.unmount(t)
}

func TestCacheCommands(t *testing.T) {
	_, p := inbox(t, 10)
	r := newRemounter(t, p.account, "--mirror")
	other := filepath.Join(r.cache, "imapfs", "bert@example.org:993")
	process := r.mount(t)
	eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.dir) })
	name := p.user + "@" + strings.ReplaceAll(p.addr, "/", "%2F")
	if err := os.MkdirAll(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	var list said
	eventually(t, "the mirror is on the disk", func() bool {
		list = runCommand(t, r.cache, "cache", "list")
		return strings.Contains(list.stdout, " MiB  "+name+"  in use by a mount\n")
	})
	if list.code != 0 || strings.Count(list.stdout, "\n") != 2 || !strings.Contains(list.stdout, "  bert@example.org:993\n") {
		t.Errorf("while mounted: %+v", list)
	}
	clear := runCommand(t, r.cache, "cache", "clear")
	if clear.code != exitFailed || !strings.Contains(clear.stdout, "of bert@") || strings.Count(clear.stderr, "\n") != 1 || !strings.Contains(clear.stderr, name+"; unmount first") {
		t.Errorf("clearing while mounted: %+v", clear)
	}
	if !strings.HasSuffix(string(read(t, r.dir, "INBOX/1/body.txt")), "end of 1\n") {
		t.Error("clearing has broken the mount")
	}
	process.unmount(t)

	list = runCommand(t, r.cache, "cache", "list")
	if list.code != 0 || strings.Count(list.stdout, "\n") != 1 || !strings.HasSuffix(list.stdout, "  "+name+"\n") {
		t.Errorf("after the mount: %+v", list)
	}
	clear = runCommand(t, r.cache, "cache", "clear", name)
	if clear.code != 0 || !strings.HasPrefix(clear.stdout, "removed ") || clear.stderr != "" {
		t.Errorf("clearing: %+v", clear)
	}
	if left, err := filepath.Glob(filepath.Join(r.cache, "imapfs", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %s, %v", left, err)
	}
	if again := runCommand(t, r.cache, "cache", "list"); again != (said{}) {
		t.Errorf("afterwards: %+v", again)
	}
}
