package mounttests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imapfs/internal/dovecot"
	"imapfs/internal/harness"
)

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
			if code := p.Exit(t); code != 0 {
				t.Errorf("exit code %d: %s", code, p.Stderr)
			}
		})
	}
}
