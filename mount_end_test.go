package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapfs/fs"
	"imapfs/internal/dovecot"
)

// TestFailures goes through what can go wrong before the mount is there. Each
// ends with its own message and exit code, and leaves no mount.
func TestFailures(t *testing.T) {
	a := embedded(t)
	cert, key := certificate(t, "127.0.0.1")
	secure := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	empty := t.TempDir()

	for _, test := range []struct {
		name string
		args []string
		dir  string
		code int
		want string
	}{
		{"wrong password", []string{"--insecure", "--password-command", "echo wrong", a.url()}, empty, 1, "does not accept the password for " + a.user},
		{"unknown host", []string{"imaps://anna@no-such-host.invalid/"}, empty, 1, "no-such-host.invalid"},
		{"closed port", []string{"imaps://anna@" + closed.Addr().String() + "/"}, empty, 1, "refuses connections"},
		{"self-signed certificate", []string{"imaps://anna@" + secure.TLS + "/"}, empty, 1, "--tls-ca"},
		{"self-signed certificate, STARTTLS", []string{"imap://anna@" + secure.Addr + "/"}, empty, 1, "--tls-ca"},
		{"plain server", []string{a.url()}, empty, 1, "--insecure"},
		{"plain port, TLS asked", []string{"imaps://anna@" + a.addr + "/"}, empty, 1, "imap://"},
		{"no such folder", []string{"--insecure", a.url() + "Nowhere"}, empty, 1, `no folder "Nowhere"`},
		{"missing mount point", []string{"--insecure", a.url()}, missing, 1, "mkdir -p"},
		{"mount point not empty", []string{"--insecure", a.url()}, full, 1, "not empty"},
		{"mount point is a file", []string{"--insecure", a.url()}, filepath.Join(full, "file"), 1, "not a directory"},
		{"CA file missing", []string{"--tls-ca", missing, a.url()}, empty, 1, "CA"},
		{"password in the URL", []string{"imaps://anna:geheim@example.org/"}, empty, 2, "process list|every user"},
		{"not a URL", []string{"example.org"}, empty, 2, "imaps://"},
		{"unknown flag", []string{"--nonsense", a.url()}, empty, 2, "--nonsense"},
		{"unknown option", []string{"-o", "nonsense", a.url()}, empty, 2, "nonsense"},
		{"no time to poll", []string{"--poll", "0s", a.url()}, empty, 2, "--poll"},
		{"no time to wait", []string{"--timeout", "0s", a.url()}, empty, 2, "--timeout"},
		{"no connections", []string{"--connections", "0", a.url()}, empty, 2, "--connections"},
		{"no option", []string{"-o", "help", a.url()}, empty, 2, "help"},
		{"not our option", []string{"-o", "allow_root", a.url()}, empty, 2, "allow_root"},
		{"no port", []string{"imaps://anna@example.org:70000/"}, empty, 2, "65535"},
		{"no arguments", nil, "", 2, "SOURCE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if test.dir != "" {
				args = append(slices.Clip(args), test.dir)
			}
			p := imapfs(t, []string{"IMAPFS_PASSWORD=" + a.password}, args...)
			code := p.exit(t)
			said := p.stderr.String()
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			found := false
			for want := range strings.SplitSeq(test.want, "|") {
				found = found || strings.Contains(said, want)
			}
			if !found {
				t.Errorf("it said %q, want something with %q", said, test.want)
			}
			said = regexp.MustCompile(`(?m)^imapfs: warning: .*\n`).ReplaceAllString(said, "")
			if test.code == 1 && strings.Count(strings.TrimSpace(said), "\n") > 0 {
				t.Errorf("it said more than one line: %q", said)
			}
			if strings.Contains(said, "geheim") || strings.Contains(said, a.password) {
				t.Errorf("it told the password: %q", said)
			}
			mounts, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Fatal(err)
			}
			if test.dir != "" && bytes.Contains(mounts, []byte(" "+test.dir+" ")) {
				t.Error("a mount is left behind")
			}
		})
	}
}

// TestMountPointTaken mounts where a mount is, or is left over from a crash.
func TestMountPointTaken(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	env := []string{"IMAPFS_PASSWORD=" + a.password}
	first := imapfs(t, env, "--insecure", a.url(), dir)
	first.waitMounted(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.Command("fusermount3", "-u", "-z", dir).Run() })
	refused := func(want string) {
		t.Helper()
		p := imapfs(t, env, "--insecure", a.url(), dir)
		if code := p.exit(t); code != 1 || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("exit code %d, it said %q, want something with %q", code, p.stderr, want)
		}
	}
	refused("mounted on " + dir + " already")
	if err := fs.CheckMountPoint(link); err == nil || !strings.Contains(err.Error(), "mounted on "+link+" already") {
		t.Errorf("by a symbolic link: %v", err)
	}
	first.cmd.Process.Kill()
	first.exit(t)
	refused("left over")

	again := imapfs(t, env, "--insecure", "--force-unmount", a.url(), dir)
	again.waitMounted(t)
	if got := names(t, dir); !slices.Contains(got, "INBOX") {
		t.Errorf("after --force-unmount: %v", got)
	}
	refused("mounted on " + dir + " already")
	alive := imapfs(t, env, "--insecure", "--force-unmount", a.url(), dir)
	if code := alive.exit(t); code != 1 {
		t.Errorf("--force-unmount over a mount that is alive: exit code %d, %s", code, alive.stderr)
	}
	again.cmd.Process.Signal(syscall.SIGTERM)
	if code := again.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, again.stderr)
	}
}

// certificate writes a self-signed certificate and its key.
func certificate(t *testing.T, host string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestEncrypted mounts through TLS and through STARTTLS with a private CA.
func TestEncrypted(t *testing.T) {
	cert, key := certificate(t, "127.0.0.1")
	s := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key})
	s.Deliver(t, []byte("Subject: hello\n\nOver TLS.\n"))
	for name, url := range map[string]string{
		"TLS":      "imaps://" + dovecot.User + "@" + s.TLS + "/",
		"STARTTLS": "imap://" + dovecot.User + "@" + s.Addr + "/INBOX",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := imapfs(t, []string{"IMAPFS_PASSWORD=" + dovecot.Password}, "--tls-ca", cert, url, dir)
			p.waitMounted(t)
			inbox := dir
			if name == "TLS" {
				inbox = filepath.Join(dir, "INBOX")
			}
			if got := string(read(t, inbox, "1", "body.txt")); got != "Over TLS.\n" {
				t.Errorf("body %q", got)
			}
			p.cmd.Process.Signal(os.Interrupt)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	ends := map[string]func(t *testing.T, dir string, p *process){
		"SIGTERM": func(_ *testing.T, _ string, p *process) { p.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(_ *testing.T, _ string, p *process) { p.cmd.Process.Signal(syscall.SIGHUP) },
		"SIGINT":  func(_ *testing.T, _ string, p *process) { p.cmd.Process.Signal(os.Interrupt) },
		"umount":  func(t *testing.T, dir string, _ *process) { unmount(t, dir) },
		"SIGTERM while in use": func(t *testing.T, dir string, p *process) {
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			p.cmd.Process.Signal(syscall.SIGTERM)
		},
	}
	// Under nohup the signal is ignored, and so by a child, but not if this
	// process handles it.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			proxy := newProxy(t, embedded(t))
			dir, p := mountProcess(t, proxy.account)
			names(t, filepath.Join(dir, "INBOX"))
			end(t, dir, p)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit code %d: %s", code, p.stderr)
			}
			if len(proxy.sent("LOGOUT")) == 0 {
				t.Error("no LOGOUT was sent")
			}
			if got := names(t, dir); len(got) > 0 {
				t.Errorf("the mount is still there: %v", got)
			}
		})
	}
}

// TestNobodyReadsTheLog has the program that reads standard error end before
// imapfs does, which has something to say.
func TestNobodyReadsTheLog(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	cmd := commandOf(t, t.TempDir(), "-v", "--insecure", a.url(), dir)
	cmd.Env = append(cmd.Env, "IMAPFS_PASSWORD="+a.password)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		exec.Command("fusermount3", "-u", "-z", dir).Run()
	})
	for in := bufio.NewScanner(log); in.Scan(); {
		if strings.HasPrefix(in.Text(), "imapfs: mounted ") {
			break
		}
	}
	log.Close()
	inbox := filepath.Join(dir, "INBOX")
	if err := syscall.Rmdir(filepath.Join(inbox, firstUID(t, inbox))); err != nil { // is logged
		t.Error(err)
	}
	if got := names(t, inbox); len(got) == 0 {
		t.Error("the mount is empty")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || isMounted(t, dir) {
		t.Errorf("it ends with %v; mounted: %t", err, isMounted(t, dir))
	}
}

func unmount(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() == 0 {
		run(t, "umount", dir)
	} else {
		run(t, "fusermount3", "-u", dir)
	}
}

func TestDaemon(t *testing.T) {
	a := embedded(t)
	dir := t.TempDir()
	p := imapfs(t, nil, "--daemon", "--password-command", "echo "+a.password, "--insecure", a.url(), dir)
	if code := p.exit(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if !slices.Contains(names(t, dir), "INBOX") {
		t.Error("nothing is mounted when --daemon returns")
	}
	unmount(t, dir)

	p = imapfs(t, nil, "--daemon", "--password-command", "echo wrong", "--insecure", a.url(), dir)
	if code := p.exit(t); code != 1 {
		t.Errorf("exit code %d with a wrong password", code)
	}
}

func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made by demo")
	p := imapfs(t, nil, "demo", dir)
	p.waitMounted(t)
	if n := len(names(t, filepath.Join(dir, "INBOX"))); n < 5 {
		t.Errorf("the demo's INBOX has %d entries", n)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
