package mounttests

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// TestNoCredentials looks for the password, the token, and what is made of them
// for the server, wherever somebody else could see them: after logins that
// succeed, one in the middle, and one that fails.
func TestNoCredentials(t *testing.T) {
	for _, mechanism := range []string{"plain", "login", "scram-sha-256", "xoauth2", "oauthbearer"} {
		t.Run(mechanism, func(t *testing.T) {
			// With characters that are escaped in a URL and quoted in IMAP.
			good, bad := "Good+/="+rand.Text(), "Bad+/="+rand.Text()
			options := dovecot.Options{Stored: good, Extra: dovecot.NoPenalty + "auth_mechanisms = " + mechanism + "\n"}
			flag := "--password-command"
			if strings.Contains(mechanism, "oauth") {
				options = dovecot.Options{Extra: dovecot.NoPenalty + dovecot.Tokens(t, mechanism, good)}
				flag = "--token-command"
			}
			s := dovecot.Start(t, options)
			s.Deliver(t, []byte("Subject: Lanterns\n\nThey are lit at dusk.\n"), []byte("Subject: Torches\n\nAlso.\n"))
			file, trace := filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "trace")
			give := func(secret string) {
				harness.Must(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
			}
			start := func(dir string) *harness.Process {
				return harness.Imapfs(t, nil, "--insecure", "-v", "--connections", "1", "--trace-imap", trace, flag, "cat "+file, "imap://"+dovecot.User+"@"+s.Addr+"/", dir)
			}
			give(good)
			dir := t.TempDir()
			p := start(dir)
			p.WaitMounted(t)
			t.Cleanup(func() { harness.Unmount(t, dir) })
			if got := string(harness.Read(t, dir, "INBOX", "1", "body.txt")); got != "They are lit at dusk.\n" {
				t.Errorf("body %q", got)
			}
			harness.Must(t, s.Kick())
			if got := string(harness.Read(t, dir, "INBOX", "2", "body.txt")); got != "Also.\n" {
				t.Errorf("body %q", got)
			}
			harness.Eventually(t, "it has logged in again", func() bool { // that was perhaps read ahead
				return strings.Count(string(harness.Read(t, trace)), " AUTHENTICATE ") >= 2
			})
			give(bad)
			failed := start(t.TempDir())
			failed.EndsWith(t, 1, "does not accept")
			places := map[string]string{
				"trace":                         string(harness.Read(t, trace)),
				"standard error":                p.Stderr.String(),
				"standard error of what failed": failed.Stderr.String(),
				"environment":                   string(harness.Read(t, fmt.Sprintf("/proc/%d/environ", p.Cmd.Process.Pid))),
				"table of mounts":               string(harness.Read(t, "/proc/self/mounts")),
			}
			processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
			harness.Must(t, err)
			for _, name := range processes {
				if cmdline, err := os.ReadFile(name); err == nil { // others end meanwhile
					places["process list"] += string(cmdline) + "\n"
				}
			}
			if !strings.Contains(places["process list"], trace) {
				t.Errorf("imapfs is not in the process list: %q", places["process list"])
			}
			if n := strings.Count(places["trace"], " AUTHENTICATE "); n < 3 {
				t.Errorf("%d logins are in the trace, want at least 3: %s", n, places["trace"])
			}
			for where, text := range places {
				for _, secret := range []string{good, bad} {
					for _, form := range secretForms(dovecot.User, secret, s.Addr) {
						if strings.Contains(text, form) {
							t.Errorf("the %s shows the secret as %s: %s", where, form, text)
						}
					}
				}
			}
			for _, words := range []string{"Lanterns", "lit at dusk"} {
				if strings.Contains(places["trace"], words) {
					t.Errorf("the trace shows mail: %s", places["trace"])
				}
			}
			if info, err := os.Stat(trace); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode of the trace: %v, %v", info, err)
			}
		})
	}
}

// secretForms are the forms in which a secret goes through the program, without
// the end of an encoded one, which may be cut off.
func secretForms(user, secret, addr string) []string {
	host, port, _ := strings.Cut(addr, ":")
	forms := []string{secret, secret[:len(secret)/2+4], url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	for _, text := range []string{
		secret,
		"\x00" + user + "\x00" + secret,
		"user=" + user + "\x01auth=Bearer " + secret,
		"n,a=" + user + ",\x01host=" + host + "\x01port=" + port + "\x01auth=Bearer " + secret,
	} {
		forms = append(forms, base64.RawStdEncoding.EncodeToString([]byte(text)[:len(text)/3*3]))
	}
	return forms
}

// TestScramFallback has a Dovecot that offers SCRAM-SHA-256 but keeps the
// password in a form that does not fit. PLAIN follows over TLS only, and only
// where the password has not been refused already.
func TestScramFallback(t *testing.T) {
	cert, key := certificate(t)
	hash := sha256.Sum256([]byte(dovecot.Password))
	extra := dovecot.NoPenalty + "auth_mechanisms = plain scram-sha-256\n"
	hashed := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key, Extra: extra, Stored: "{SHA256}" + base64.StdEncoding.EncodeToString(hash[:])})
	fits := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key, Extra: extra})
	hashed.Deliver(t, []byte("Subject: x\n\nBy a hash.\n"), []byte("Subject: y\n\nAgain.\n"))
	fits.Deliver(t, []byte("Subject: x\n\nBy proof.\n"), []byte("Subject: y\n\nAgain.\n"))
	for _, test := range []struct {
		name, url, password string
		insecure            bool
		want                string // body, "" if the login fails
		scram, plain        int    // how often each is tried
	}{
		{"TLS", "imaps://anna@" + hashed.TLS, dovecot.Password, false, "By a hash.\n", 1, 2},
		{"STARTTLS", "imap://anna@" + hashed.Addr, dovecot.Password, false, "By a hash.\n", 1, 2},
		{"wrong password", "imaps://anna@" + hashed.TLS, "wrong", false, "", 1, 1},
		{"not encrypted", "imap://anna@" + hashed.Addr, dovecot.Password, true, "", 1, 0},
		{"not encrypted, PLAIN asked for", "imap://anna;AUTH=PLAIN@" + hashed.Addr, dovecot.Password, true, "By a hash.\n", 0, 2},
		{"SCRAM asked for", "imaps://anna;AUTH=SCRAM-SHA-256@" + hashed.TLS, dovecot.Password, false, "", 1, 0},
		{"SCRAM works", "imaps://anna@" + fits.TLS, dovecot.Password, false, "By proof.\n", 2, 0},
		{"SCRAM works, wrong password", "imaps://anna@" + fits.TLS, "wrong", false, "", 1, 0},
		{"SCRAM works, PLAIN asked for", "imaps://anna;AUTH=PLAIN@" + fits.TLS, dovecot.Password, false, "By proof.\n", 0, 2},
		{"not offered", "imaps://anna;AUTH=LOGIN@" + fits.TLS, dovecot.Password, false, "", 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
			args := []string{"--connections", "1", "--tls-ca", cert, "--trace-imap", trace, test.url + "/INBOX", dir}
			if test.insecure {
				args = slices.Insert(args, 0, "--insecure")
			}
			p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + test.password}, args...)
			if test.want == "" {
				p.EndsWith(t, 1, "")
			} else {
				p.WaitMounted(t)
				t.Cleanup(func() { harness.Unmount(t, dir) })
				if got := string(harness.Read(t, dir, "1", "body.txt")); got != test.want {
					t.Errorf("body %q, want %q", got, test.want)
				}
				// The next login goes straight to what has worked.
				server := hashed
				if test.want == "By proof.\n" {
					server = fits
				}
				harness.Must(t, server.Kick())
				if got := string(harness.Read(t, dir, "2", "body.txt")); got != "Again.\n" {
					t.Errorf("body %q", got)
				}
			}
			said := string(harness.Read(t, trace))
			scram, plain := strings.Count(said, "AUTHENTICATE SCRAM-SHA-256"), strings.Count(said, "AUTHENTICATE PLAIN")
			if scram != test.scram || plain != test.plain {
				t.Errorf("%d times SCRAM-SHA-256 and %d times PLAIN, want %d and %d; imapfs said %s", scram, plain, test.scram, test.plain, p.Stderr)
			}
		})
	}
}

// TestTokenDaemon mounts in the background with a token command, which must not
// be run by the process that returns, and uses the mount after that is gone.
func TestTokenDaemon(t *testing.T) {
	s := dovecot.Start(t, dovecot.Options{Extra: dovecot.NoPenalty + dovecot.Tokens(t, "xoauth2", "token-2")})
	s.Deliver(t, []byte("Subject: x\n\nBy token.\n"))
	dir, count := t.TempDir(), filepath.Join(t.TempDir(), "count")
	trace := filepath.Join(t.TempDir(), "trace")
	// Prints token-1, token-2 and so on.
	command := "echo >>" + count + "; echo token-$(wc -l <" + count + ")"
	url := "imap://" + dovecot.User + "@" + s.Addr + "/"
	p := harness.Imapfs(t, nil, "--daemon", "-v", "--connections", "1", "--token-command", command, "--trace-imap", trace, "--insecure", url, dir)
	if code := p.Exit(t); code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, p.Stderr, s.Log())
	}
	t.Cleanup(func() { harness.Unmount(t, dir) })
	if got := string(harness.Read(t, dir, "INBOX", "1", "body.txt")); got != "By token.\n" {
		t.Errorf("body %q", got)
	}
	if got := string(harness.Read(t, count)); got != "\n\n" {
		t.Errorf("the token command ran %d times, want 2", len(got))
	}
	if !strings.Contains(string(harness.Read(t, trace)), "AUTHENTICATE XOAUTH2 [not shown]") {
		t.Errorf("no XOAUTH2 in the trace:\n%s", harness.Read(t, trace))
	}
	for where, text := range map[string]string{"trace": string(harness.Read(t, trace)), "standard error": p.Stderr.String()} {
		for n := range 3 {
			token := fmt.Sprintf("token-%d", n)
			first := "user=" + dovecot.User + "\x01auth=Bearer " + token + "\x01\x01"
			if strings.Contains(text, token) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(first))) {
				t.Errorf("the %s shows a token: %s", where, text)
			}
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	harness.Must(t, err)
	for _, file := range processes {
		if cmdline, err := os.ReadFile(file); err == nil && slices.Contains(strings.Split(string(cmdline), "\x00"), "token-2") {
			t.Errorf("%s shows the token", file)
		}
	}
}

func TestTokenUsage(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(t.TempDir(), "open")
	harness.Must(t, os.WriteFile(open, nil, 0o644))
	a := harness.Embedded(t)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--token-command", "echo t", "--password-file", "f", a.URL()}, 2, "--token-command"},
		{[]string{"--token-command", "echo t", "--password-command", "c", a.URL()}, 2, "--token-command"},
		{[]string{"--token-command", "echo t", "--insecure", a.URL()}, 1, "no login with an access token"},
		{[]string{"--token-command", "exit 7", "--insecure", a.URL()}, 1, "the token command failed"},
		{[]string{"--trace-imap", open, "--password-command", "echo x", "--insecure", a.URL()}, 1, "others may read"},
	} {
		p := harness.Imapfs(t, nil, append(slices.Clip(test.args), dir)...)
		p.EndsWith(t, test.code, test.want)
	}
	// The server has logged nothing in, and nothing is mounted.
	if err := syscall.Rmdir(dir); err != nil {
		t.Error(err)
	}
}
