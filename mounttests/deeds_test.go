package mounttests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/harness"
)

// deed is something that a program does to a folder of six messages, as a
// script for bash. It finds the folder in $M, a copy of it in $E, a copy in
// which all texts and attachments are longer and newer in $B, and room in $W.
type deed struct {
	act    string // what is done, as the table shows it
	needs  string // programs beside coreutils and bash
	script string
	fails  bool // its exit code is not 0
	gone   []imap.UID
}

// every is the messages of a folder.
var every = []imap.UID{1, 2, 3, 4, 5, 6}

var sixLetters = []string{
	"Subject: plain\n\nThe first one.\n",
	"Subject: html\nMIME-Version: 1.0\nContent-Type: text/html\n\n<p>The <b>second</b> one.</p>\n",
	"Subject: attachments\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\nThe third one.\n" +
		"--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"a bill.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjQK\n" +
		"--b\nContent-Type: text/x-note\nContent-Disposition: attachment; filename=note.txt\n\nA note.\n" +
		"--b--\n",
	"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nDie vierte, schöne Grüße.\n",
	"Subject: empty\n\n",
	"Subject: forwarded\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\nContent-Type: text/plain\n\nThe sixth one.\n" +
		"--b\nContent-Type: message/rfc822\n\nSubject: inner\n\nInside.\n" +
		"--b--\n",
}

// outcome is how a deed ended on one server.
type outcome struct {
	code int
	lost []imap.UID
}

// outcomes prints itself as a table in Markdown.
type outcomes struct {
	mu      sync.Mutex                    // guards what follows
	servers []string                      // in order
	of      map[string]map[string]outcome // by act and server
}

func (o *outcomes) add(act, server string, got outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.servers, server) {
		o.servers = append(o.servers, server)
	}
	if o.of == nil {
		o.of = make(map[string]map[string]outcome)
	}
	if o.of[act] == nil {
		o.of[act] = make(map[string]outcome)
	}
	o.of[act][server] = got
}

func (o *outcomes) table(deeds []deed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| what is done | exit code | lost on %s |\n|---|---|---|\n", strings.Join(o.servers, " / "))
	for _, d := range deeds {
		var codes []int
		var lost []string
		for _, server := range o.servers {
			got, ok := o.of[d.act][server]
			if !ok {
				lost = append(lost, "not run")
				continue
			}
			codes = append(codes, got.code)
			lost = append(lost, fmt.Sprint(len(got.lost)))
		}
		slices.Sort(codes)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.act, strings.Trim(fmt.Sprint(slices.Compact(codes)), "[]"), strings.Join(lost, " / "))
	}
	return b.String()
}

// doDeeds does each deed in a folder of its own, on all servers, and checks
// what messages are left there by asking the server.
func doDeeds(t *testing.T, deeds []deed) {
	harness.Need(t, "bash")
	var all outcomes
	t.Run("on", func(t *testing.T) { // until the parallel tests in it are done
		harness.ForEachEmpty(t, func(t *testing.T, a harness.Account) { doDeedsOn(t, a, deeds, &all) })
	})
	t.Log("\n" + all.table(deeds))
}

func doDeedsOn(t *testing.T, a harness.Account, deeds []deed, all *outcomes) {
	server := filepath.Base(t.Name())
	m := &mailbox{client: a.Client(t), left: make(map[string][]imap.UID)}
	for i := range deeds {
		folder := a.Mailbox(fmt.Sprintf("deed-%d", i))
		m.fill(t, folder)
		m.left[folder] = every
	}
	mnt := harness.Mount(t, a)
	t.Cleanup(func() { // no deed has touched the folder of another
		for folder, want := range m.left {
			if got := m.uids(t, folder); !slices.Equal(got, want) {
				t.Errorf("at the end %s has %v, want %v", folder, got, want)
			}
		}
	})
	for i, d := range deeds {
		t.Run(d.act, func(t *testing.T) {
			t.Parallel()
			harness.Need(t, strings.Fields(d.needs)...)
			name := fmt.Sprintf("deed-%d", i)
			folder, dir := a.Mailbox(name), filepath.Join(a.Top(mnt), name)
			code, said := d.do(t, dir)
			for _, uid := range d.gone {
				if _, err := os.Lstat(filepath.Join(dir, fmt.Sprint(uid))); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the name %d is still there: %v", uid, err)
				}
			}
			left := m.uids(t, folder)
			got := outcome{code, without(every, left)}
			all.add(d.act, server, got)
			m.leave(folder, left)
			if !slices.Equal(got.lost, d.gone) {
				t.Errorf("lost %v, want %v; it said:\n%s", got.lost, d.gone, said)
			}
			if (code != 0) != d.fails {
				t.Errorf("exit code %d; it said:\n%s", code, said)
			}
			if !d.fails && d.gone != nil && said != "" {
				t.Errorf("it said:\n%s", said)
			}
		})
	}
}

// mailbox is the account as another client sees it.
type mailbox struct {
	mu     sync.Mutex // guards what follows
	client *imapclient.Client
	first  string                // the folder that was filled first
	left   map[string][]imap.UID // by folder
}

// fill makes a folder with the six letters. It copies them from the folder that
// was filled first.
func (m *mailbox) fill(t *testing.T, folder string) {
	t.Helper()
	harness.Must(t, m.client.Create(folder, nil).Wait())
	if m.first != "" {
		if _, err := m.client.Copy(imap.SeqSet{{Start: 1}}, folder).Wait(); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, letter := range sixLetters {
		harness.Deliver(t, m.client, folder, []byte(strings.ReplaceAll("From: a@example.org\n"+letter, "\n", "\r\n")), time.Now())
	}
	if _, err := m.client.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	m.first = folder
}

func (m *mailbox) uids(t *testing.T, folder string) []imap.UID {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var uids []imap.UID
	if !slices.ContainsFunc(harness.Folders(t, m.client), func(l *imap.ListData) bool { return l.Mailbox == folder }) {
		return nil // it has gone with all that was in it
	}
	for _, message := range harness.Messages(t, m.client, folder) {
		uids = append(uids, message.UID)
	}
	return uids
}

func (m *mailbox) leave(folder string, uids []imap.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left[folder] = uids
}

func without(all, some []imap.UID) []imap.UID {
	var rest []imap.UID
	for _, uid := range all {
		if !slices.Contains(some, uid) {
			rest = append(rest, uid)
		}
	}
	return rest
}

// do runs the script. It returns its exit code, and what it wrote to standard
// error.
func (d deed) do(t *testing.T, dir string) (code int, said string) {
	t.Helper()
	work := t.TempDir()
	equal, changed := filepath.Join(work, "equal"), filepath.Join(work, "changed")
	harness.Run(t, "cp", "-a", dir, equal)
	harness.Run(t, "cp", "-a", dir, changed)
	harness.Run(t, "find", changed, "-type", "f", "-exec", "sh", "-c", `echo changed >>"$1"`, "sh", "{}", ";")

	return inBash(t, work, d.script, "M="+dir, "E="+equal, "B="+changed, "W="+work)
}

// inBash runs a script in a directory, which is its home too. It returns its exit code,
// and what it wrote to standard error.
func inBash(t *testing.T, work, script string, env ...string) (code int, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = work
	cmd.Env = append(append(os.Environ(), env...),
		"HOME="+work, "XDG_DATA_HOME="+work, "XDG_CONFIG_HOME="+work, "XDG_CACHE_HOME="+work, "TMPDIR="+work,
		"TERM=xterm", "LC_ALL=C.UTF-8",
		"BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes", "RESTIC_PASSWORD=x", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	// A whole process group, so that nothing outlives the time, and not by
	// SIGKILL, so that the script can end what it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("it does not end; it said:\n%s%s", &stdout, &stderr)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		t.Fatalf("%v; it said:\n%s", err, &stderr)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}
