package imapbackend

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// TestTLSInWords has servers with which no TLS comes about, or no more than that.
func TestTLSInWords(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate, *tls.Config)
		want   string
	}{
		{"fine", func(*x509.Certificate, *tls.Config) {}, ""},
		{"a common name only", func(c *x509.Certificate, _ *tls.Config) { c.IPAddresses = nil }, `only the old Common Name "mail.example.org"`},
		{"another name", func(c *x509.Certificate, _ *tls.Config) {
			c.IPAddresses, c.DNSNames = nil, []string{"a.example.org", "b.example.org"}
		}, "for another name (a.example.org, b.example.org)"},
		{"expired", func(c *x509.Certificate, _ *tls.Config) { c.NotAfter = time.Now().Add(-time.Hour) }, "has expired"},
		{"wants a certificate", func(_ *x509.Certificate, s *tls.Config) { s.ClientAuth = tls.RequireAnyClientCert }, "wants a client certificate"},
		{"wants a certificate, TLS 1.2", func(_ *x509.Certificate, s *tls.Config) {
			s.ClientAuth, s.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
		}, "client certificate"},
		{"TLS 1.0 only", func(_ *x509.Certificate, s *tls.Config) {
			s.MinVersion, s.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
		}, "TLS 1.1 or older"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			certificate := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
				NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			}
			server := &tls.Config{}
			c.change(certificate, server)
			der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			server.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
			s := &script{wrap: func(raw net.Conn) net.Conn { return tls.Server(raw, server) }}
			cfg := s.start(t)
			cfg.URL.TLS, cfg.Insecure, cfg.RootCAs = true, false, x509.NewCertPool()
			parsed, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			cfg.RootCAs.AddCert(parsed)
			b, err := Connect(t.Context(), cfg)
			if b != nil {
				defer b.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want one with %q", fmt.Sprint(err), c.want)
			}
		})
	}
}

// TestEndInsteadOfTLS has a server that ends the connection where TLS is to begin, and
// says nothing. That may pass, so it counts as away.
func TestEndInsteadOfTLS(t *testing.T) {
	for _, isReset := range []bool{false, true} {
		s := &script{wrap: func(raw net.Conn) net.Conn {
			raw.Read(make([]byte, 1))
			if isReset {
				raw.(*net.TCPConn).SetLinger(0)
			}
			raw.Close()
			return raw
		}}
		cfg := s.start(t)
		cfg.URL.TLS, cfg.Insecure = true, false
		b, err := Connect(t.Context(), cfg)
		if b != nil {
			b.Close()
		}
		if !isUnreached(err) || !strings.Contains(err.Error(), "as soon as TLS begins") {
			t.Errorf("reset %v: error %v, want one in words", isReset, err)
		}
	}
}
