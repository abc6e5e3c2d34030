package mounttests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"imapfs/internal/harness"
)

// notification is what a desktop is to show.
type notification struct {
	Replaces      uint32
	Summary, Body string
}

// notifications is the desktop: the service of that name on the bus.
type notifications chan notification

// Notify implements org.freedesktop.Notifications.
func (n notifications) Notify(_ string, replaces uint32, _, summary, body string, _ []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	n <- notification{replaces, summary, body}
	return 7, nil
}

func (n notifications) next(t *testing.T) notification {
	t.Helper()
	select {
	case got := <-n:
		return got
	case <-time.After(harness.Within):
		t.Fatal("nothing is shown")
	}
	return notification{}
}

// sessionBus starts a session's bus at a path, with a desktop.
func sessionBus(t *testing.T, path string) notifications {
	t.Helper()
	harness.Need(t, "dbus-daemon")
	daemon := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address=1", "--address=unix:path="+path)
	out, err := daemon.StdoutPipe()
	harness.Must(t, err)
	harness.Must(t, daemon.Start())
	t.Cleanup(func() {
		daemon.Process.Kill()
		daemon.Wait()
	})
	_, err = out.Read(make([]byte, 1)) // it listens
	harness.Must(t, err)
	bus, err := dbus.Connect("unix:path=" + path)
	harness.Must(t, err)
	t.Cleanup(func() { bus.Close() })
	shown := make(notifications, 100)
	harness.Must(t, bus.Export(shown, "/org/freedesktop/Notifications", "org.freedesktop.Notifications"))
	_, err = bus.RequestName("org.freedesktop.Notifications", dbus.NameFlagDoNotQueue)
	harness.Must(t, err)
	return shown
}

// notifyingMount mounts with --notify where the session's bus has this path.
func notifyingMount(t *testing.T, bus string, flags ...string) (mnt string, p *harness.Process) {
	t.Helper()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+bus)
	return harness.MountProcess(t, harness.Embedded(t), append(flags, "--notify")...)
}

// refuseOne does what is refused.
func refuseOne(t *testing.T, mnt string) {
	t.Helper()
	fails(t, "mv", os.Rename(filepath.Join(mnt, "INBOX/1"), filepath.Join(mnt, "Archive/<77>")), syscall.EPERM)
}

const refusedOne = "Cannot move INBOX/1 to Archive/<77>"

// TestNotify has a refusal shown, and nothing else: neither what is done, nor what
// programs try by themselves.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	shown := sessionBus(t, path)
	mnt, p := notifyingMount(t, path)
	harness.Must(t, os.Mkdir(filepath.Join(mnt, "new"), 0o700))
	harness.Must(t, harness.Rmdir(filepath.Join(mnt, "INBOX/14")))
	fails(t, "a swap file", os.WriteFile(filepath.Join(mnt, "INBOX/1/.body.txt.swp"), nil, 0o600), syscall.EPERM)
	_, err := os.OpenFile(filepath.Join(mnt, "INBOX/1/body.txt"), os.O_RDWR, 0)
	fails(t, "opening for both", err, syscall.EPERM)
	refuseOne(t, mnt)
	if got := shown.next(t); got.Replaces != 0 || got.Summary != refusedOne || !strings.Contains(got.Body, "under its own number") {
		t.Errorf("%+v", got)
	}

	begun := time.Now()
	for i := range 300 {
		fails(t, "chmod", os.Chmod(filepath.Join(mnt, "INBOX", fmt.Sprint(1+i%10)), 0o777), syscall.EPERM)
	}
	if got := shown.next(t); got.Replaces != 7 || got.Summary != "Cannot change INBOX/1" || !strings.Contains(got.Body, "More was refused") {
		t.Errorf("%+v", got)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("the second one comes after %v", took)
	}
	p.Unmount(t)
	if len(shown) > 0 {
		t.Errorf("more is shown: %+v", <-shown)
	}
}

// TestNotifyOfDaemon has the flag as an option, as in fstab.
func TestNotifyOfDaemon(t *testing.T) {
	path, dir := filepath.Join(t.TempDir(), "bus"), t.TempDir()
	shown := sessionBus(t, path)
	a := harness.Embedded(t)
	p := harness.Imapfs(t, []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + path}, "--password-command", "echo "+a.Password, "-o", "daemon,notify,insecure", a.URL(), dir)
	p.EndsWith(t, 0, "")
	defer harness.Unmount(t, dir)
	refuseOne(t, dir)
	if got := shown.next(t); got.Summary != refusedOne {
		t.Errorf("%+v", got)
	}
}

// TestNotifyWithoutBus mounts before there is a bus, which is told, and finds it later.
func TestNotifyWithoutBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	mnt, p := notifyingMount(t, path)
	p.WaitSaid(t, "cannot show notifications")
	shown := sessionBus(t, path)
	refuseOne(t, mnt)
	if got := shown.next(t); got.Summary != refusedOne {
		t.Errorf("%+v", got)
	}
}

// TestNotifyOfSilentBus has a bus that takes connections and says nothing. It holds up
// neither a request nor the end.
func TestNotifyOfSilentBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	bus, err := net.Listen("unix", path)
	harness.Must(t, err)
	defer bus.Close()
	mnt, p := notifyingMount(t, path)
	c, err := bus.Accept()
	harness.Must(t, err)
	defer c.Close()
	begun := time.Now()
	for range 100 {
		refuseOne(t, mnt)
	}
	p.Unmount(t)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it takes %v", took)
	}
}
