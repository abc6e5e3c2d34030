package mounttests

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

// certificate writes a self-signed certificate for 127.0.0.1 and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	harness.Must(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		harness.Must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o644))
	}
	return certFile, keyFile
}

// TestEncrypted mounts through TLS and through STARTTLS with a private CA.
func TestEncrypted(t *testing.T) {
	cert, key := certificate(t)
	s := dovecot.Start(t, dovecot.Options{CertFile: cert, KeyFile: key})
	s.Deliver(t, []byte("Subject: hello\n\nOver TLS.\n"))
	for name, url := range map[string]string{
		"TLS":      "imaps://" + dovecot.User + "@" + s.TLS + "/",
		"STARTTLS": "imap://" + dovecot.User + "@" + s.Addr + "/INBOX",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := harness.Imapfs(t, []string{"IMAPFS_PASSWORD=" + dovecot.Password}, "--tls-ca", cert, url, dir)
			p.WaitMounted(t)
			inbox := dir
			if name == "TLS" {
				inbox = filepath.Join(dir, "INBOX")
			}
			if got := string(harness.Read(t, inbox, "1", "body.txt")); got != "Over TLS.\n" {
				t.Errorf("body %q", got)
			}
			p.Cmd.Process.Signal(os.Interrupt)
			p.EndsWith(t, 0, "")
		})
	}
}
