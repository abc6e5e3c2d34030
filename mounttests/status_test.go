package mounttests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"imapfs/cache"
	"imapfs/commands"
	"imapfs/content"
	"imapfs/imapbackend"
	"imapfs/internal/harness"
)

func TestStatus(t *testing.T) {
	s, p := harness.Inbox(t, 5)
	r := harness.NewRemounter(t, p.Account, "--mirror", "--poll", "300ms")
	process := r.Mount(t)
	harness.Eventually(t, "the mirror is complete", func() bool { return mirrored(t, r.Dir) })
	harness.Eventually(t, "the mirror is on the disk", func() bool {
		return strings.Contains(harness.RunCommand(t, r.Cache, "status", r.Dir).Stdout, " MiB of 2.0 GiB, ")
	})
	harness.Eventually(t, "a connection has the inbox", func() bool {
		return strings.Contains(harness.RunCommand(t, r.Cache, "status", r.Dir).Stdout, "connection 1  INBOX: ")
	})

	var fields map[string]any
	asJSON := harness.RunCommand(t, r.Cache, "status", "--json", r.Dir)
	if err := json.Unmarshal([]byte(asJSON.Stdout), &fields); err != nil || asJSON.Code != 0 {
		t.Fatalf("%v, %+v", err, asJSON)
	}
	snakeCase(t, fields)
	var got struct {
		imapbackend.Status
		Disk   *cache.Stats `json:"disk_cache"`
		Mirror *content.Progress
	}
	harness.Must(t, json.Unmarshal([]byte(asJSON.Stdout), &got))
	if got.Server != p.Addr || got.User != p.User || got.Away != "" || got.RoundTrip <= 0 || len(got.Connections) == 0 ||
		got.Disk == nil || got.Disk.Bytes < 1<<20 || got.Mirror == nil || got.Mirror.Here != 6 {
		t.Errorf("got %s", asJSON.Stdout)
	}
	if !strings.Contains(fmt.Sprint(got.InUse), "ESEARCH") {
		t.Errorf("capabilities in use: %s", got.InUse)
	}

	for _, dir := range []string{r.Dir, r.Dir + "/INBOX", r.Dir + "/INBOX/1/attachments"} {
		text := harness.RunCommand(t, r.Cache, "status", dir)
		for _, want := range []string{p.Addr + ", user " + p.User + ", connected", "round trip ", "connection 1  INBOX: ", "on disk ", " of 2.0 GiB, ", "mirror        complete; 6 messages, ", "last errors   none"} {
			if !strings.Contains(text.Stdout, want) || text.Code != 0 {
				t.Errorf("the status of %s has no %q: %+v", dir, want, text)
			}
		}
	}

	s.Kill()
	harness.Eventually(t, "the status says that the server is away", func() bool {
		text := harness.RunCommand(t, r.Cache, "status", r.Dir)
		return text.Code == 0 && strings.Contains(text.Stdout, ", away: ") && !strings.Contains(text.Stdout, "last errors   none")
	})

	process.Cmd.Process.Signal(syscall.SIGSTOP)
	harness.Eventually(t, "imapfs is stopped", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Cmd.Process.Pid))
		return err == nil && strings.Contains(string(state), "State:\tT")
	})
	harness.RunCommand(t, r.Cache, "status", r.Dir).FailsWith(t, commands.ExitFailed, "does not answer")
	process.Cmd.Process.Signal(syscall.SIGCONT)
	process.Unmount(t)
	harness.RunCommand(t, r.Cache, "status", r.Dir).FailsWith(t, commands.ExitFailed, "is not in a mount")
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

func TestStatusOfDeadMount(t *testing.T) {
	_, p := harness.Inbox(t, 1)
	r := harness.NewRemounter(t, p.Account)
	process := r.Mount(t)
	process.Cmd.Process.Kill()
	<-process.Done
	harness.RunCommand(t, r.Cache, "status", r.Dir).FailsWith(t, commands.ExitFailed, "has died; clear it with: fusermount3 -u -z "+r.Dir)
	said := harness.RunCommand(t, r.Cache, "wait", r.Dir+"/INBOX")
	if said.FailsWith(t, commands.ExitFailed, "has died"); strings.Contains(said.Stderr, "INBOX") {
		t.Errorf("what is to be cleared is not the mount: %s", said.Stderr)
	}
}

// TestUsage asks for what df shows: the messages that are known, their bytes,
// and room.
func TestUsage(t *testing.T) {
	a := harness.EmptyDovecot(t, "")
	m := &mailbox{client: a.Client(t)}
	m.fill(t, "Letters")
	m.fill(t, "Letters/Old")
	mnt := harness.Mount(t, a)
	if out := harness.Run(t, "df", mnt); !strings.Contains(out, "1000") && !strings.Contains(out, "1048576000") {
		t.Errorf("df says\n%s", out)
	}
	harness.Run(t, "ls", "-lR", mnt)
	var bytes int64
	count := 0
	for _, folder := range []string{"Letters", "Letters/Old"} {
		for _, m := range harness.Messages(t, a.Client(t), folder) {
			bytes += int64(len(m.Raw))
			count++
		}
	}
	var st syscall.Statfs_t
	harness.Eventually(t, "all is counted", func() bool {
		harness.Must(t, syscall.Statfs(filepath.Join(mnt, "Letters", "1"), &st))
		return st.Files-st.Ffree == uint64(count)
	})
	if used, want := st.Blocks-st.Bfree, uint64(bytes+int64(st.Bsize)-1)/uint64(st.Bsize); used != want || st.Bavail == 0 {
		t.Errorf("%d blocks are used, want %d; %d are there", used, want, st.Bavail)
	}
}
