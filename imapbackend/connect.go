package imapbackend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-message/charset"
	"github.com/emersion/go-sasl"

	"mime"
)

// connect opens a connection and logs in: TCP, TLS or STARTTLS, greeting,
// CAPABILITY, AUTHENTICATE or LOGIN, CAPABILITY, ID. Its errors are plain lines
// for the user.
func (b *Backend) connect() (*session, error) {
	u := b.cfg.URL
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.Timeout)
	defer cancel()

	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Addr())
	if err != nil {
		return nil, explainDial(u, err)
	}
	s := &session{b: b, conn: &watchedConn{Conn: raw, timeout: b.cfg.Timeout}}
	s.conn.expect(1) // the greeting, and all until the login is done
	defer s.conn.expect(-1)
	// A server that sends a byte now and then is not silent, and the library
	// knows no context.
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	if err := s.start(ctx, u); err != nil {
		raw.Close()
		return nil, err
	}
	if err := s.login(); err != nil {
		s.client.Close()
		return nil, err
	}
	if s.caps.Has(imap.CapID) {
		// Courtesy, and some servers insist on it. The answer does not matter.
		cmd := s.client.ID(&imap.IDData{Name: "imapfs", Version: b.cfg.Version})
		go cmd.Wait()
	}
	return s, nil
}

// start brings the connection to the point where a password may be sent.
func (s *session) start(ctx context.Context, u URL) error {
	options := &imapclient.Options{
		TLSConfig:             &tls.Config{ServerName: u.Host, RootCAs: s.b.cfg.RootCAs},
		UnilateralDataHandler: s.unilateral(),
		WordDecoder:           &mime.WordDecoder{CharsetReader: charset.Reader},
	}
	if u.TLS {
		options.TLSConfig.NextProtos = []string{"imap"}
		conn := tls.Client(s.conn, options.TLSConfig)
		if err := conn.HandshakeContext(ctx); err != nil {
			return explainTLS(u, err)
		}
		s.client = imapclient.New(conn, options)
		if err := s.client.WaitGreeting(); err != nil {
			return explainGreeting(u, err)
		}
		return nil
	}

	// A server without STARTTLS may be used only if the user said so, and a
	// server that has it must not be talked out of it: so its capabilities,
	// which anybody on the line can forge, never decide for plain text alone.
	if !s.b.cfg.Insecure {
		client, err := imapclient.NewStartTLS(s.conn, options)
		if err != nil {
			return explainStartTLS(u, err)
		}
		s.client = client
		return nil
	}
	s.client = imapclient.New(s.conn, options)
	if err := s.client.WaitGreeting(); err != nil {
		return explainGreeting(u, err)
	}
	return nil
}

func (s *session) login() error {
	u, password := s.b.cfg.URL, s.b.cfg.Password
	if s.client.State() != imap.ConnStateAuthenticated { // else PREAUTH
		caps := s.client.Caps()
		var err error
		switch {
		case caps.Has(imap.AuthCap("PLAIN")):
			err = s.client.Authenticate(sasl.NewPlainClient("", u.User, password))
		case caps.Has(imap.CapLoginDisabled):
			return fmt.Errorf("%s does not allow a password login on this connection; use imaps://, or ask the provider how to log in", u.Host)
		default:
			err = s.client.Login(u.User, password).Wait()
		}
		if err != nil {
			return explainLogin(u, err)
		}
	}
	s.caps = s.client.Caps()
	if s.caps == nil {
		return fmt.Errorf("%s broke off after the login; try again later", u.Host)
	}
	return nil
}

func explainDial(u URL, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("there is no server named %s; check the spelling, and the network", u.Host)
	case errors.As(err, &dns):
		return fmt.Errorf("cannot look up the address of %s; check the network", u.Host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s refuses connections on port %s; check host and port (993 for imaps://, 143 for imap://)", u.Host, u.Port)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("%s does not answer on port %s; check host, port and network: %w", u.Host, u.Port, errTimeout)
	}
	return fmt.Errorf("cannot connect to %s: %v; check the network", u.Addr(), err)
}

func explainTLS(u URL, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of %s is not signed by an authority that this machine trusts; if it is your own server, give its CA with --tls-ca FILE", u.Host)
	case errors.As(err, &name):
		return fmt.Errorf("the certificate of %s is for another name (%v); use the name that it is made for", u.Host, name.Certificate.DNSNames)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of %s has expired or is not valid yet; check this machine's clock, or tell the server's owner", u.Host)
	case errors.As(err, &record):
		return fmt.Errorf("%s does not speak TLS on port %s; for STARTTLS use imap:// with its port, usually 143", u.Host, u.Port)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("%s does not answer on port %s: %w", u.Host, u.Port, errTimeout)
	}
	return fmt.Errorf("no TLS connection with %s: %v", u.Addr(), err)
}

func explainGreeting(u URL, err error) error {
	var status *imap.Error
	if errors.As(err, &status) {
		return fmt.Errorf("%s turns the connection down: %s", u.Host, plain(status.Text))
	}
	return fmt.Errorf("%s does not answer like an IMAP server; check host and port", u.Addr())
}

func explainStartTLS(u URL, err error) error {
	var status *imap.Error
	if errors.As(err, &status) && status.Type != imap.StatusResponseTypeBye {
		return fmt.Errorf("%s offers no encryption on port %s (STARTTLS); use imaps://, or --insecure if you accept that others can read the password and the mail", u.Host, u.Port)
	}
	if msg := err.Error(); strings.Contains(msg, "greeting") {
		return explainGreeting(u, err)
	}
	return explainTLS(u, err)
}

func explainLogin(u URL, err error) error {
	var status *imap.Error
	if !errors.As(err, &status) {
		return fmt.Errorf("%s broke off during the login; try again later", u.Host)
	}
	text := plain(status.Text)
	switch status.Code {
	case imap.ResponseCodeUnavailable:
		return fmt.Errorf("%s cannot check the password at the moment; try again later (it says: %s)", u.Host, text)
	case imap.ResponseCodeLimit:
		return fmt.Errorf("%s allows no more connections; close another mail program or use fewer --connections (it says: %s)", u.Host, text)
	}
	return &LoginError{Host: u.Host, User: u.User, Text: text}
}

// LoginError says that the server knows the user but not the password, or not
// the user.
type LoginError struct{ Host, User, Text string }

func (e *LoginError) Error() string {
	return fmt.Sprintf("%s does not accept the password for %s; check both (many providers want an app password) (it says: %s)", e.Host, e.User, e.Text)
}

// plain makes a server's words fit to be shown on a terminal, on one line.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const most = 200
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return text
}
