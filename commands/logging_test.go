package commands

import (
	"context"
	"log/slog"
	"log/syslog"
	"net"
	"regexp"
	"testing"
	"time"
)

// TestSystemLog has the priorities of syslog(3), and neither time nor level
// twice.
func TestSystemLog(t *testing.T) {
	system, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	out, err := syslog.Dial("udp", system.LocalAddr().String(), syslog.LOG_DAEMON|syslog.LOG_INFO, "imapfs")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(newSystemLog(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("folder", "INBOX")
	// Facility 3, daemon, and the severities 7, 6, 4 and 3 (RFC 5424 §6.2.1).
	for level, priority := range map[slog.Level]string{
		slog.LevelDebug: "31", slog.LevelInfo: "30", slog.LevelWarn: "28", slog.LevelError: "27",
	} {
		log.Log(context.Background(), level, "what happens", "uid", 5)
		line := make([]byte, 1000)
		system.SetReadDeadline(time.Now().Add(time.Minute))
		n, _, err := system.ReadFrom(line)
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`^<(\d+)>.* imapfs\[\d+\]: msg="what happens" folder=INBOX uid=5\n$`)
		m := want.FindSubmatch(line[:n])
		if m == nil || string(m[1]) != priority {
			t.Errorf("%v: %q", level, line[:n])
		}
	}
}

// What fails again and again leaves room for other errors.
func TestLastErrors(t *testing.T) {
	last := new(lastErrors)
	log := slog.New(last)
	log.Warn("the one")
	for range 2 * mostErrors {
		log.Info("the server is still away", "error", "refused")
	}
	if got := last.list(); len(got) != 2 || got[0].What != "the one" || got[1].Error != "refused" {
		t.Errorf("got %v", got)
	}
}
