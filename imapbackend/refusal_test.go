package imapbackend

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// heard is a log that tells when a message comes for the first time.
type heard struct {
	slog.Handler
	message string
	once    *atomic.Bool
	came    chan struct{}
}

func hearing(message string) (*slog.Logger, <-chan struct{}) {
	h := heard{slog.DiscardHandler, message, new(atomic.Bool), make(chan struct{})}
	return slog.New(h), h.came
}

func (h heard) Enabled(context.Context, slog.Level) bool { return true }

func (h heard) Handle(_ context.Context, r slog.Record) error {
	if r.Message == h.message && !h.once.Swap(true) {
		close(h.came)
	}
	return nil
}

// TestRefusals has what servers say to a login that they do not want.
func TestRefusals(t *testing.T) {
	const full, notNow, wrong, noAccess = "no more connections or logins", "at the moment", "does not accept the password", "does not let anna in"
	for _, c := range []struct {
		says    string
		want    string
		refused bool // the password is not to be sent again
	}{
		{"NO [AUTHENTICATIONFAILED] Authentication failed.", wrong, true},
		{"NO Login failed.", wrong, true},
		{"NO [ALERT] Invalid credentials (Failure)", wrong, true},
		{"BAD invalid", wrong, true},
		{"NO Invalid user name or password, please try again", wrong, true},
		{"NO Password incorrect; backend ldap", wrong, true},
		{"NO Invalid credentials, too many failed attempts will lock the account", wrong, true},
		{"NO Wrong password. Account locked after too many failed logins", wrong, true},
		{"* BYE [AUTHENTICATIONFAILED] x", wrong, true},
		{"* BYE Invalid password", wrong, true},
		{"NO Account temporarily locked after failed logins", wrong, true},
		{"NO [AUTHORIZATIONFAILED] no such mailbox", noAccess, true},
		{"NO [CONTACTADMIN] your account is locked", noAccess, true},
		{"NO [EXPIRED] change it", "has expired", true},
		{"NO [PRIVACYREQUIRED] no", "only over an encrypted connection", true},
		{"NO [LIMIT] LOGIN Rate limit hit", full, false},
		{"NO [ALERT] Too many simultaneous connections. (Failure)", full, false},
		{"NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", full, false},
		{"NO [limit] x", full, false},
		{"NO Too many login failures", full, false},
		{"NO [UNAVAILABLE] Temporary authentication failure.", notNow, false},
		{"NO [SERVERBUG] Internal error occurred", notNow, false},
		{"NO [INUSE] locked", notNow, false},
		{"NO Temporary failure in authentication, try again later", notNow, false},
		{"NO User is authenticated but not connected.", notNow, false},
		{"* BYE Too many connections from your address", full, false},
		{"* BYE [UNAVAILABLE] restarting", notNow, false},
		{"* BYE [PRIVACYREQUIRED] x", "only over an encrypted connection", true},
		{"* BYE [CONTACTADMIN] x", noAccess, true},
		{"* BYE ]", "turns the connection down: ]", false},
		{"* BYE have a nice day", "have a nice day", false},
	} {
		t.Run(c.says, func(t *testing.T) {
			s := &script{answer: func(tag, command string) string {
				if !strings.HasPrefix(command, "LOGIN") {
					return ""
				}
				if strings.HasPrefix(c.says, "*") {
					return c.says + "\r\n" + cut
				}
				return tag + " " + c.says + "\r\n"
			}}
			_, err := Connect(t.Context(), s.start(t))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if isRefusal(err) != c.refused || isUnreached(err) == c.refused {
				t.Errorf("%v: refused %v, away %v", err, isRefusal(err), isUnreached(err))
			}
			if n := s.count("LOGIN"); n != 1 {
				t.Errorf("%d logins, want 1", n)
			}
			if !strings.HasPrefix(c.says, "*") {
				return
			}
			_, err = Connect(t.Context(), (&script{greeting: func(int) string { return c.says }}).start(t))
			if err == nil || !strings.Contains(err.Error(), c.want) || isUnreached(err) == c.refused || isRefusal(err) {
				t.Errorf("as the greeting: error %v, want one with %q", err, c.want)
			}
			cfg := (&script{greeting: func(int) string { return c.says }}).start(t)
			cfg.Insecure = false // STARTTLS comes first
			_, err = Connect(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("before STARTTLS: error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestSlowRefusal has a server that takes longer to refuse than Connect waits
// for a sign of it where the folders are remembered.
func TestSlowRefusal(t *testing.T) {
	box := &box{validity: 7, uidNext: 4, uids: "1:3", count: 3}
	store := filled(t, box)
	log, waiting := hearing("waiting for the server")
	s := box.script()
	usual := s.answer
	s.answer = func(tag, command string) string {
		if strings.HasPrefix(command, "LOGIN") {
			<-waiting
			return tag + " NO [AUTHENTICATIONFAILED] no\r\n"
		}
		return usual(tag, command)
	}
	cfg := s.start(t)
	cfg.Store, cfg.Log = store, log
	if _, err := Connect(t.Context(), cfg); !isRefusal(err) {
		t.Errorf("got %v, want a LoginError", err)
	}
}

// TestRefusedPassword has the password changed on the server while the mailbox
// is in use. The old one is sent once, and the new one when there is one.
func TestRefusedPassword(t *testing.T) {
	right := "secret"
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "LOGIN") && !strings.Contains(command, right):
			return tag + " NO [AUTHENTICATIONFAILED] no\r\n"
		case strings.HasPrefix(command, "UID FETCH") && right == "secret":
			right = "changed"
			return cut
		}
		return ""
	}
	cfg := s.start(t)
	asked, given := make(chan struct{}), make(chan string)
	cfg.NewPassword = func(context.Context) (string, error) {
		asked <- struct{}{}
		return <-given, nil
	}
	b := listed(t, cfg)
	b.pool.mu.Lock()
	b.pool.refusedPause = time.Millisecond
	b.pool.mu.Unlock()
	go b.Fetch(msg(2), "", 0, -1)
	for range 5 {
		<-asked
		given <- "secret"
	}
	<-asked
	if away := b.Status().Away; !strings.Contains(away, "does not accept the password") {
		t.Errorf("the status says %q", away)
	}
	if _, err := b.Fetch(msg(3), "", 0, -1); !errors.Is(err, errAway) || !isRefusal(err) {
		t.Errorf("meanwhile: %v", err)
	}
	given <- "changed"
	eventually(t, "it reads again", func() bool { got, err := b.Fetch(msg(2), "", 0, -1); return err == nil && string(got) == rawMail })
	if old, all := s.count(`LOGIN "anna" "secret"`), s.count("LOGIN "); old != 2 || all != 3 {
		t.Errorf("%d logins, %d of them with the old password, want 3 and 2", all, old)
	}
}

// TestNoOtherPassword has nobody to ask for another one.
func TestNoOtherPassword(t *testing.T) {
	gone := false
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "LOGIN") && gone:
			return tag + " NO [AUTHENTICATIONFAILED] no\r\n"
		case strings.HasPrefix(command, "UID FETCH"):
			gone = true
			return cut
		}
		return ""
	}
	cfg := s.start(t)
	var refused <-chan struct{}
	cfg.Log, refused = hearing("the login is refused: it is not tried again before there is another password or token")
	b := listed(t, cfg)
	b.pool.mu.Lock()
	b.pool.refusedPause = time.Microsecond
	b.pool.mu.Unlock()
	if _, err := b.Fetch(msg(2), "", 0, -1); !isRefusal(err) {
		t.Errorf("got %v, want a LoginError", err)
	}
	<-refused
	for range 1000 {
		b.credentials.next(t.Context())
	}
	if _, err := b.connect(false); !isRefusal(err) {
		t.Errorf("connecting: %v", err)
	}
	if n := s.count("LOGIN"); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

// TestRefusedSecondConnection has a server that has a limit and calls it a wrong
// password.
func TestRefusedSecondConnection(t *testing.T) {
	logins := 0
	s := &script{}
	s.answer = func(tag, command string) string {
		switch {
		case strings.HasPrefix(command, "LOGIN"):
			if logins++; logins == 2 {
				return tag + " NO [AUTHENTICATIONFAILED] no\r\n"
			}
		case strings.HasPrefix(command, "UID FETCH") && logins == 2:
			return cut
		}
		return ""
	}
	cfg := s.start(t)
	cfg.Connections = 3
	var looked atomic.Int32
	cfg.NewPassword = func(context.Context) (string, error) {
		looked.Add(1)
		return "", errors.New("none")
	}
	b := listed(t, cfg)
	for _, folder := range []string{"Other", "Third", "INBOX"} { // want connections of their own
		if _, err := b.Messages(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.count("LOGIN"); n != 2 {
		t.Fatalf("%d logins, want 2", n)
	}
	if n := looked.Load(); n > 0 {
		t.Errorf("another password was looked for %d times while this one works", n)
	}
	if got, err := b.Fetch(msg(2), "", 0, -1); err != nil || string(got) != rawMail {
		t.Errorf("after the first connection has broken: %q, %v", got, err)
	}
}

// TestRetry waits for a server that is not there yet.
func TestRetry(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	cfg := config(addr, "anna", "secret")
	if _, err := Connect(t.Context(), cfg); !isUnreached(err) {
		t.Fatalf("without: %v", err)
	}
	cfg.Retry = true
	var again <-chan struct{}
	cfg.Log, again = hearing("trying again")
	connected := make(chan error)
	go func() {
		b, err := Connect(t.Context(), cfg)
		if err == nil {
			b.Close()
		}
		connected <- err
	}()
	<-again
	if ln, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := &script{caps: "IMAP4rev1"}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	if err := <-connected; err != nil {
		t.Error(err)
	}

	// And may be told to stop.
	ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Log, again = hearing("trying again")
	go func() { _, err := Connect(ctx, cfg); connected <- err }()
	<-again
	cancel()
	if err := <-connected; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// TestAlert has a server that wants the user to see something, at each login.
func TestAlert(t *testing.T) {
	s := &script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "LOGIN") {
			return "* OK [ALERT] Your mailbox is nearly full\r\n" + tag + " OK [ALERT] Read the news\r\n"
		}
		return ""
	}}
	var log lockedBuffer
	cfg := s.start(t)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	b := listed(t, cfg)
	again, err := b.connect(false)
	if err != nil {
		t.Fatal(err)
	}
	again.close()
	for _, want := range []string{"Your mailbox is nearly full", "Read the news"} {
		if n := strings.Count(log.String(), `level=WARN msg="the server says" alert="`+want+`"`); n != 1 {
			t.Errorf("%q is told %d times, want once:\n%s", want, n, log.String())
		}
	}
}
