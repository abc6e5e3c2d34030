package mounttests

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imapfs/cache"
	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// setting is a way to start imapfs, with what has to become of it.
type setting struct {
	what   string
	flags  []string // $D is a directory with the files right, wrong and empty; $P the password's file
	server string   // "plain", "slow" to refuse, "tls"; and what happens once the cache is filled, see fail
	auth   string   // behind the user name
	code   int
	line   string // that tells why; "" for mounted
	logins int    // that the server sees
	cached bool   // with a cache on disk it is mounted all the same
}

var settingsTable = []setting{
	{what: "all right", flags: []string{"password-file=$D/right"}, logins: 1},
	{what: "no such password file", flags: []string{"password-file=$D/none"}, code: 1, line: "cannot read the password file"},
	{what: "an empty password file", flags: []string{"password-file=$D/empty"}, code: 1, line: "begins with an empty line"},
	{what: "the password command fails", flags: []string{"password-command=false"}, code: 1, line: "the password command failed"},
	{what: "the password command prints nothing", flags: []string{"password-command=true"}, code: 1, line: "the password command printed nothing"},
	{what: "no password anywhere", code: 1, line: "no password: use --password-command"},
	{what: "the token command fails", flags: []string{"token-command=false"}, code: 1, line: "the token command failed"},
	{what: "a wrong password", flags: []string{"password-file=$D/wrong"}, code: 1, line: "does not accept the password", logins: 1},
	{what: "a wrong password that is refused after 5 s", flags: []string{"password-file=$D/wrong"}, server: "slow", code: 1, line: "does not accept the password", logins: 1},
	{what: "a mechanism that is not offered", flags: []string{"password-file=$D/right"}, auth: ";AUTH=SCRAM-SHA-256", code: 1, line: "the server does not offer it"},
	{what: "a certificate that nobody has signed", flags: []string{"password-file=$D/right"}, server: "tls", code: 1, line: "is not signed by an authority"},
	{what: "no server", flags: []string{"password-file=$D/right"}, server: "plain away", code: 1, line: "refuses connections on port", cached: true},
	{what: "a server that says nothing", flags: []string{"password-file=$D/right", "timeout=2s"}, server: "plain silent", code: 1, line: "does not answer", cached: true},
	{what: "a mirror of no folder", flags: []string{"password-file=$D/right", "mirror=Nope"}, code: 1, line: "--mirror=Nope names no folder", logins: 1},
	{what: "a mirror without a cache", flags: []string{"password-file=$D/right", "mirror", "disk-cache-size=0"}, code: 2, line: "leave out --disk-cache-size 0"},
	{what: "a mirror in a cache that another mount uses", flags: []string{"password-file=$D/right", "mirror"}, server: "plain cache-in-use", code: 1, line: "another mount of this account uses the cache on disk, and --mirror needs it"},
	{what: "a mirror in a cache that cannot be written", flags: []string{"password-file=$D/right", "mirror"}, server: "plain cache-unwritable", code: 1, line: "no cache on disk"},
	{what: "a cache that another mount uses", flags: []string{"password-file=$D/right"}, server: "plain cache-in-use", logins: 1},
	{what: "a cache that cannot be written", flags: []string{"password-file=$D/right"}, server: "plain cache-unwritable", logins: 1},
	{what: "no such CA", flags: []string{"password-file=$D/right", "tls-ca=$D/none"}, code: 1, line: "cannot read the CA"},
	{what: "no such trash", flags: []string{"password-file=$D/right", "trash=Nope"}, code: 1, line: `there is no folder "Nope"`, logins: 1},
	{what: "a log that cannot be written", flags: []string{"password-file=$D/right", "log-file=$D/none/log"}, code: 1, line: "cannot write the log"},
	{what: "a trace that cannot be written", flags: []string{"password-file=$D/right", "trace-imap=$D/none/trace"}, code: 1, line: "cannot write the trace"},
	{what: "an empty trash", flags: []string{"password-file=$D/right", "trash="}, code: 2, line: "--trash is empty"},
	{what: "no such flag", flags: []string{"password-file=$D/right", "conections=3"}, code: 2, line: "conections"},
	{what: "no number", flags: []string{"password-file=$D/right", "connections=many"}, code: 2, line: "write a number, like --connections 4"},
}

// TestSettings starts imapfs with settings that are wrong, or meet a server that
// is: in each way to start it, with and without a cache on disk. It ends with
// one line, leaves no mount, and does not try a password twice. With -v the whole
// table is printed, in Markdown.
func TestSettings(t *testing.T) {
	harness.Need(t, "mount.fuse3")
	cert, key := certificate(t)
	servers := map[string]harness.Account{}
	var handshakes atomic.Int32
	for name, o := range map[string]dovecot.Options{
		"plain": {Extra: dovecot.NoPenalty + "auth_failure_delay = 0\n"},
		"slow":  {Extra: dovecot.NoPenalty + "auth_failure_delay = 5 secs\n"},
		"tls":   {Extra: dovecot.NoPenalty, CertFile: cert, KeyFile: key},
	} {
		s := dovecot.Start(t, o)
		s.Deliver(t, harness.OneLetter(1))
		servers[name] = harness.DovecotAccount(s)
		if name == "tls" {
			servers[name] = harness.Account{Addr: s.TLS, User: dovecot.User, Password: dovecot.Password}
			t.Cleanup(func() { noLogins(t, s, int(handshakes.Load())) })
		}
	}
	var rows []*string
	t.Cleanup(func() {
		table := "| setting | started | cache on disk | exit code | it says | mount left | logins |\n|---|---|---|---|---|---|---|\n"
		for _, row := range rows {
			table += *row
		}
		t.Log("\n" + table)
	})
	for _, c := range settingsTable {
		for _, way := range []string{"foreground", "daemon", "fstab"} {
			for _, cached := range []bool{false, true} {
				if cached && c.server == "tls" {
					continue // there never was one that could be filled
				}
				name := fmt.Sprintf("%s/%s/cache %v", c.what, way, cached)
				row := new(string)
				rows = append(rows, row)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if c.server == "tls" {
						handshakes.Add(1)
					}
					kind, fault, _ := strings.Cut(cmp.Or(c.server, "plain"), " ")
					*row = c.start(t, servers[kind], fault, way, cached)
				})
			}
		}
	}
}

// noLogins checks that a server has seen no login, when all connections have
// ended in the handshake. The proxy, which counts the others, reads no TLS.
func noLogins(t *testing.T, s *dovecot.Server, connections int) {
	harness.Eventually(t, "the server says how the connections ended", func() bool {
		return strings.Count(s.Log(), "TLS handshaking: SSL_accept() failed") >= connections || strings.Contains(s.Log(), "method=")
	})
	if strings.Contains(s.Log(), "method=") {
		t.Errorf("a login in spite of the certificate:\n%s", s.Log())
	}
}

// start returns the row of the table.
func (c setting) start(t *testing.T, a harness.Account, fault, way string, cached bool) (row string) {
	p := harness.NewProxy(t, a)
	r := harness.NewRemounter(t, p.Account)
	if cached {
		process := r.Mount(t)
		harness.Names(t, filepath.Join(r.Dir, "INBOX"))
		process.Unmount(t)
	}
	c.fail(t, fault, p, r)
	p.Forget()
	d := t.TempDir()
	for name, text := range map[string]string{"right": a.Password, "wrong": "wrong", "empty": ""} {
		harness.Must(t, os.WriteFile(filepath.Join(d, name), []byte(text), 0o600))
	}
	source := "imap://" + p.User + c.auth + "@" + p.Addr + "/"
	if c.server == "tls" {
		source = "imaps://" + p.User + "@" + a.Addr + "/" // the proxy reads lines
	}
	code, said := c.run(t, r, source, way, d)
	want, line := c.code, c.line
	if cached && c.cached {
		want, line = 0, ""
	}
	mounted := harness.IsMounted(t, r.Dir)
	logins := len(p.Sent("LOGIN")) + len(p.Sent("AUTHENTICATE"))
	if code != want || !strings.Contains(said, line) || mounted != (want == 0) {
		t.Errorf("code %d, mounted %v, want code %d and %q; it said:\n%s", code, mounted, want, line, said)
	}
	if n := len(plainLines(said)); n != 1 {
		t.Errorf("it said %d lines, want one:\n%s", n, said)
	}
	if logins != c.logins && !(cached && c.cached) {
		t.Errorf("%d logins, want %d", logins, c.logins)
	}
	if mounted {
		harness.Unmount(t, r.Dir)
	}
	_, port, _ := strings.Cut(p.Addr, ":")
	short := strings.NewReplacer(d, "DIR", r.Dir, "MOUNTPOINT", r.Cache, "CACHE", port, "PORT")
	return fmt.Sprintf("| %s | %s | %v | %d | %s | %v | %d |\n", c.what, way, cached, code, short.Replace(strings.Join(plainLines(said), " ")), mounted, logins)
}

// fail makes what goes wrong beside the settings.
func (c setting) fail(t *testing.T, fault string, p *harness.Proxy, r *harness.Remounter) {
	t.Helper()
	switch fault {
	case "":
	case "away":
		p.Listener.Close()
	case "silent":
		p.Silent.Store(true)
	case "cache-in-use":
		// As another mount has it, but without its logins.
		disk, err := cache.OpenDisk(filepath.Join(r.Cache, "imapfs", p.User+"@"+p.Addr), 1<<20, slog.New(slog.DiscardHandler))
		harness.Must(t, err)
		t.Cleanup(func() { disk.Close() })
	case "cache-unwritable":
		file := filepath.Join(t.TempDir(), "file")
		harness.Must(t, os.WriteFile(file, nil, 0o600))
		r.Cache = file // for root too, no directory can be made in it
	default:
		t.Fatalf("no fault %q", fault)
	}
}

// run starts imapfs and returns its exit code, and what it has said: once it has
// ended or mounted.
func (c setting) run(t *testing.T, r *harness.Remounter, source, way, d string) (code int, said string) {
	self := harness.Self(t)
	flags := append([]string{"insecure"}, c.flags...)
	if way != "foreground" {
		flags = append(flags, "daemon")
	}
	for i := range flags {
		flags[i] = strings.ReplaceAll(flags[i], "$D", d)
	}
	env := []string{"XDG_CACHE_HOME=" + r.Cache, "IMAPFS_PASSWORD="}
	if way == "foreground" {
		args := []string{}
		for _, f := range flags {
			args = append(args, "--"+f)
		}
		p := harness.Imapfs(t, env, append(args, source, r.Dir)...)
		for !strings.Contains(p.Stderr.String(), "imapfs: mounted ") && !p.HasEnded() {
			select {
			case <-p.Stderr.More:
			case <-p.Done:
			case <-time.After(harness.Within):
				t.Fatalf("neither ended nor mounted: %s", p.Stderr)
			}
		}
		if p.HasEnded() {
			return p.Cmd.ProcessState.ExitCode(), p.Stderr.String()
		}
		t.Cleanup(func() { <-p.Done }) // it is unmounted
		return 0, p.Stderr.String()
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Within)
	defer cancel()
	cmd := exec.CommandContext(ctx, "mount.fuse3", self+"#"+source, r.Dir, "-o", strings.Join(flags, ","))
	if way == "daemon" {
		args := []string{source, r.Dir}
		for _, f := range flags {
			args = append(args, "--"+f)
		}
		cmd = exec.CommandContext(ctx, self, args...)
	}
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); ctx.Err() != nil {
		t.Fatalf("it does not end: %v\n%s", err, out.String())
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// plainLines are those that are for the user, without warnings, the log, and
// where to look for help.
func plainLines(said string) []string {
	var list []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "imapfs: warning: ") && !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "See: ") {
			list = append(list, line)
		}
	}
	return list
}
