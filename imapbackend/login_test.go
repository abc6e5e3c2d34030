package imapbackend

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/xdg-go/scram"

	"imapfs/internal/dovecot"

	"imapfs/mail"
)

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// saslScript is a server that answers AUTHENTICATE and the lines behind it in
// turn. "OK" and "NO" get the tag in front.
func saslScript(caps string, answers ...string) *script {
	var tag string
	return &script{caps: strings.TrimSpace("IMAP4rev1 UIDPLUS ESEARCH " + caps), answer: func(word, command string) string {
		if strings.HasPrefix(command, "AUTHENTICATE") || strings.HasPrefix(command, "LOGIN") {
			tag = word
		} else if command != "" {
			return ""
		}
		if len(answers) == 0 {
			return tag + " OK done\r\n"
		}
		answer := answers[0]
		answers = answers[1:]
		if !strings.HasPrefix(answer, "+") {
			answer = tag + " " + answer
		}
		return answer + "\r\n"
	}}
}

// said returns the lines of the logins, without tags.
func (s *script) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, line := range s.raw {
		word, command, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(command, "AUTHENTICATE") || strings.HasPrefix(command, "LOGIN "):
			lines = append(lines, command)
		case command == "":
			lines = append(lines, word)
		}
	}
	return lines
}

// tokens hands out token1, token2 and so on.
func tokens(calls *int) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		*calls++
		return fmt.Sprintf("token%d", *calls), nil
	}
}

func TestLogin(t *testing.T) {
	plain := encoded("\x00anna\x00secret")
	xoauth2 := func(token string) string { return encoded("user=anna\x01auth=Bearer " + token + "\x01\x01") }
	const no = "NO [AUTHENTICATIONFAILED] no"
	for _, test := range []struct {
		name    string
		caps    string
		answers []string
		token   bool
		want    []string
		fails   string // in the error
	}{
		{"PLAIN", "AUTH=PLAIN SASL-IR", nil, false, []string{"AUTHENTICATE PLAIN " + plain}, ""},
		{"PLAIN without SASL-IR", "AUTH=PLAIN", []string{"+ "}, false, []string{"AUTHENTICATE PLAIN", plain}, ""},
		{"PLAIN beside LOGINDISABLED", "AUTH=PLAIN SASL-IR LOGINDISABLED", nil, false, []string{"AUTHENTICATE PLAIN " + plain}, ""},
		{"PLAIN refused", "AUTH=PLAIN SASL-IR", []string{no}, false, []string{"AUTHENTICATE PLAIN " + plain}, "does not accept the password for anna"},
		{"LOGIN", "", nil, false, []string{`LOGIN "anna" "secret"`}, ""},
		{"SASL LOGIN", "AUTH=LOGIN SASL-IR LOGINDISABLED", []string{"+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6"}, false, []string{"AUTHENTICATE LOGIN", encoded("anna"), encoded("secret")}, ""},
		{"LOGINDISABLED", "LOGINDISABLED", nil, false, nil, "does not allow a password login"},
		{"a password where only tokens are accepted", "AUTH=XOAUTH2 LOGINDISABLED", nil, false, nil, "--token-command"},

		{"XOAUTH2", "AUTH=PLAIN AUTH=XOAUTH2 SASL-IR", nil, true, []string{"AUTHENTICATE XOAUTH2 " + xoauth2("token1")}, ""},
		{"XOAUTH2 without SASL-IR", "AUTH=XOAUTH2", []string{"+ "}, true, []string{"AUTHENTICATE XOAUTH2", xoauth2("token1")}, ""},
		{"XOAUTH2 expired", "AUTH=XOAUTH2 SASL-IR", []string{"+ " + encoded(`{"status":"401"}`), no}, true,
			[]string{"AUTHENTICATE XOAUTH2 " + xoauth2("token1"), "", "AUTHENTICATE XOAUTH2 " + xoauth2("token2")}, ""},
		{"XOAUTH2 refused", "AUTH=XOAUTH2 SASL-IR", []string{"+ " + encoded(`{"status":"401"}`), no, "+ " + encoded("what"), no}, true,
			[]string{"AUTHENTICATE XOAUTH2 " + xoauth2("token1"), "", "AUTHENTICATE XOAUTH2 " + xoauth2("token2"), ""}, "does not accept the access token for anna"},
		{"XOAUTH2, not available", "AUTH=XOAUTH2 SASL-IR", []string{"NO [UNAVAILABLE] later"}, true, []string{"AUTHENTICATE XOAUTH2 " + xoauth2("token1")}, "at the moment"},
		{"no token accepted", "AUTH=PLAIN SASL-IR", nil, true, nil, "no login with an access token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := saslScript(test.caps, test.answers...)
			cfg := s.start(t)
			calls := 0
			if test.token {
				cfg.Token = tokens(&calls)
			}
			b, err := Connect(t.Context(), cfg)
			if err == nil {
				b.Close()
			}
			if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("error %v, want one with %q", err, test.fails)
			}
			if got := s.said(); !reflect.DeepEqual(got, test.want) {
				t.Errorf("sent\n%q, want\n%q", got, test.want)
			}
		})
	}
}

func TestOAuthBearer(t *testing.T) {
	s := saslScript("AUTH=XOAUTH2 AUTH=OAUTHBEARER SASL-IR", "+ "+encoded(`{"status":"invalid_token"}`), "NO no", "OK yes")
	cfg := s.start(t)
	cfg.URL.User = "anna,=x"
	calls := 0
	cfg.Token = tokens(&calls)
	connect(t, cfg).Close()
	first := func(token string) string {
		return "AUTHENTICATE OAUTHBEARER " + encoded(fmt.Sprintf("n,a=anna=2C=3Dx,\x01host=%s\x01port=%s\x01auth=Bearer %s\x01\x01", cfg.URL.Host, cfg.URL.Port, token))
	}
	if got, want := s.said(), []string{first("token1"), encoded("\x01"), first("token2")}; !reflect.DeepEqual(got, want) {
		t.Errorf("sent\n%q, want\n%q", got, want)
	}
	if calls != 2 {
		t.Errorf("%d tokens were fetched, want 2", calls)
	}
}

// TestStartTLSRefused has servers with which no encryption comes about. Nothing
// of a login may be sent to them.
func TestStartTLSRefused(t *testing.T) {
	for _, test := range []struct{ name, greeting, answer, want string }{
		{"not offered", "* OK hi", "NO what", "offers no encryption"},
		{"BYE", "* BYE too many connections", "OK", "too many connections"},
		{"PREAUTH", "* PREAUTH welcome", "OK", "before it could be encrypted"},
		{"no IMAP server", "220 smtp.example.org", "OK", "like an IMAP server"},
		{"no end of the line", "* OK " + strings.Repeat("x", 100_000), "OK", "like an IMAP server"},
		{"words put behind the answer", "* OK hi", "OK go\r\nT1 OK [CAPABILITY IMAP4rev1] welcome", "not safe"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &script{greeting: func(int) string { return test.greeting }, answer: func(tag, _ string) string {
				return tag + " " + test.answer + "\r\n" + cut
			}}
			cfg := s.start(t)
			cfg.Insecure = false
			_, err := Connect(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if lines := s.said(); len(lines) > 0 {
				t.Errorf("sent %q", lines)
			}
		})
	}
}

func TestTokenCommandFails(t *testing.T) {
	s := saslScript("AUTH=XOAUTH2")
	cfg := s.start(t)
	want := errors.New("the token command failed")
	cfg.Token = func(context.Context) (string, error) { return "", want }
	if _, err := Connect(t.Context(), cfg); !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
	if n := len(s.raw); n > 0 {
		t.Errorf("%d lines were sent without a token", n)
	}
}

// scramScript is a server that follows SCRAM-SHA-256, with what spoil makes of
// its messages. "" ends the login with OK.
func scramScript(t *testing.T, password string, spoil func(n int, message string) string) *script {
	client, err := scram.SHA256.NewClient("anna", password, "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	var conversation *scram.ServerConversation
	var tag string
	n := 0
	return &script{caps: "IMAP4rev1 UIDPLUS ESEARCH SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256", answer: func(word, command string) string {
		message, first := strings.CutPrefix(command, "AUTHENTICATE SCRAM-SHA-256 ")
		switch {
		case first:
			tag, conversation, n = word, server.NewConversation(), 0
		case command != "":
			return ""
		case word == "":
			if conversation.Valid() {
				return tag + " OK done\r\n"
			}
			return tag + " NO wrong password\r\n"
		default:
			message = word
		}
		decoded, err := base64.StdEncoding.DecodeString(message)
		if err != nil {
			return tag + " BAD not base64\r\n"
		}
		answer, _ := conversation.Step(string(decoded))
		if spoil != nil {
			answer = spoil(n, answer)
		}
		n++
		if answer == "" {
			return tag + " OK done\r\n"
		}
		return "+ " + encoded(answer) + "\r\n"
	}}
}

func TestScram(t *testing.T) {
	const unproved = "does not prove that it knows the password"
	replace := func(n int, old, new string) func(int, string) string {
		return func(i int, message string) string {
			if i == n {
				return strings.Replace(message, old, new, 1)
			}
			return message
		}
	}
	for _, test := range []struct {
		name     string
		password string
		spoil    func(int, string) string
		fails    string
	}{
		{"right", "secret", nil, ""},
		{"wrong password", "other", nil, "does not accept the password for anna"},
		{"OK without a proof", "secret", func(n int, m string) string {
			if n == 1 {
				return ""
			}
			return m
		}, unproved},
		{"OK at once", "secret", func(int, string) string { return "" }, unproved},
		{"wrong proof", "secret", replace(1, "v=", "v=AAAA"), unproved},
		{"another nonce", "secret", replace(0, "r=", "r=x"), unproved},
		{"too few iterations", "secret", replace(0, "i=4096", "i=1"), unproved},
		{"too many iterations", "secret", replace(0, "i=4096", "i=4096000000"), unproved},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := scramScript(t, test.password, test.spoil)
			cfg := s.start(t)
			b, err := Connect(t.Context(), cfg)
			if err == nil {
				b.Close()
			}
			if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("error %v, want one with %q", err, test.fails)
			}
			if s.count("AUTHENTICATE PLAIN") > 0 {
				t.Error("the password was sent")
			}
			for _, line := range s.said() {
				if text, _ := base64.StdEncoding.DecodeString(line); bytes.Contains(text, []byte("secret")) {
					t.Errorf("the password was sent: %s", text)
				}
			}
		})
	}
}

// TestScramThatBreaks has servers that offer SCRAM-SHA-256 and break off, or say that
// they cannot do it now. What else the user can do is in the error.
func TestScramThatBreaks(t *testing.T) {
	const hint = "try ;AUTH=PLAIN"
	for answer, hints := range map[string]bool{
		cut:                             true,
		"* BYE shutting down\r\n" + cut: true,
		"TAG NO [UNAVAILABLE] Temporary failure\r\n": true,
		"TAG NO [LIMIT] Too many connections\r\n":    false,
	} {
		for _, other := range []string{" AUTH=PLAIN", ""} {
			s := &script{caps: "IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256" + other}
			s.answer = func(tag, command string) string {
				if strings.HasPrefix(command, "AUTHENTICATE") {
					return strings.ReplaceAll(answer, "TAG", tag)
				}
				return ""
			}
			b, err := Connect(t.Context(), s.start(t))
			if b != nil {
				b.Close()
			}
			if !isUnreached(err) || strings.Contains(err.Error(), hint) != (hints && other != "") {
				t.Errorf("%q%s: error %v, with %q: %v", answer, other, err, hint, hints)
			}
			if s.count("AUTHENTICATE PLAIN") > 0 {
				t.Error("the password was sent")
			}
		}
	}
}

// TestEcho has servers that repeat the credential in whatever they say.
func TestEcho(t *testing.T) {
	const token = "ya29.Token-of-anna"
	for _, mechanism := range []string{"", "AUTH=PLAIN SASL-IR", "AUTH=PLAIN", "AUTH=XOAUTH2 SASL-IR", "AUTH=OAUTHBEARER"} {
		t.Run(mechanism, func(t *testing.T) {
			s := saslScript(mechanism)
			cfg := s.start(t)
			var log, trace lockedBuffer
			cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			cfg.Trace = &trace
			credential := cfg.Password
			if strings.Contains(mechanism, "OAUTH") || strings.Contains(mechanism, "XOAUTH") {
				credential = token
				cfg.Token = func(context.Context) (string, error) { return token, nil }
			}
			var tag string
			s.answer = func(word, command string) string {
				said := "you said " + word + " " + command + " which is\t" + strings.ToUpper(credential[:3]) + "\x07" + credential[3:]
				switch {
				case command == "AUTHENTICATE PLAIN", command == "AUTHENTICATE OAUTHBEARER":
					tag = word
					return "+ \r\n"
				case command == "":
					return tag + " NO " + said + "\r\n"
				case strings.HasPrefix(command, "AUTHENTICATE"), strings.HasPrefix(command, "LOGIN "):
					return "* OK " + said + "\r\n" + word + " NO " + said + "\r\n"
				}
				return ""
			}
			_, err := Connect(t.Context(), cfg)
			if _, ok := errors.AsType[*LoginError](err); !ok {
				t.Fatalf("%v, want a LoginError", err)
			}
			for what, text := range map[string]string{"error": err.Error(), "log": log.String(), "trace": trace.String()} {
				text = strings.ToLower(mail.Plain(text))
				for _, secret := range []string{credential, encoded("\x00anna\x00" + credential), encoded(credential), encoded("user=anna\x01auth=Bearer " + credential + "\x01\x01")} {
					if strings.Contains(text, strings.ToLower(secret)) {
						t.Errorf("the %s holds %q: %s", what, secret, text)
					}
				}
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestDovecotScram(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Extra: "auth_mechanisms = plain login scram-sha-256\n" + dovecot.NoPenalty})
	s.Deliver(t, letter(1))
	cfg := config(s.Addr, dovecot.User, dovecot.Password)
	var trace lockedBuffer
	cfg.Trace = &trace
	b := connect(t, cfg)
	if l, err := b.Messages(t.Context(), "INBOX"); err != nil || len(l.UIDs) != 1 {
		t.Error(l, err)
	}
	if text := trace.String(); !strings.Contains(text, "AUTHENTICATE SCRAM-SHA-256 [not shown]") {
		t.Errorf("another mechanism was used:\n%s", text)
	}
	cfg.Password = "wrong"
	_, err := Connect(t.Context(), cfg)
	if _, ok := errors.AsType[*LoginError](err); !ok {
		t.Errorf("wrong password: %v, want a LoginError", err)
	}
}

// TestDovecotTokens logs in with both mechanisms.
func TestDovecotTokens(t *testing.T) {
	for _, mechanism := range []string{"xoauth2", "oauthbearer"} {
		t.Run(mechanism, func(t *testing.T) {
			s := dovecot.Start(t, dovecot.Options{Extra: dovecot.NoPenalty + dovecot.Tokens(t, mechanism, "good")})
			s.Deliver(t, letter(1))
			cfg := config(s.Addr, dovecot.User, "")
			token, calls := "good", 0
			cfg.Token = func(context.Context) (string, error) {
				calls++
				if calls == 1 {
					return "expired", nil
				}
				return token, nil
			}
			b, err := Connect(t.Context(), cfg)
			if err != nil {
				t.Fatalf("%v\n%s", err, s.Log())
			}
			defer b.Close()
			if l, err := b.Messages(t.Context(), "INBOX"); err != nil || len(l.UIDs) != 1 {
				t.Error(l, err)
			}
			if calls != 2 {
				t.Errorf("the token command ran %d times, want 2", calls)
			}
			token = "bad"
			_, err = Connect(t.Context(), cfg)
			if refused, ok := errors.AsType[*LoginError](err); !ok || !strings.Contains(refused.Error(), "access token") {
				t.Errorf("bad token: %v", err)
			}
		})
	}
}

func TestLoginRefused(t *testing.T) {
	cfg := (&script{answer: func(tag, command string) string {
		if strings.HasPrefix(command, "LOGIN") {
			return tag + " NO wrong\r\n"
		}
		return ""
	}}).start(t)
	_, err := Connect(t.Context(), cfg)
	var login *LoginError
	if !errors.As(err, &login) {
		t.Errorf("%v, want a LoginError", err)
	}
	s := &script{caps: "IMAP4rev1 LOGINDISABLED"}
	if _, err := Connect(t.Context(), s.start(t)); err == nil || s.count("LOGIN") > 0 {
		t.Errorf("LOGINDISABLED: %v, %d logins sent", err, s.count("LOGIN"))
	}
}
