package imapbackend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// connect opens a connection and logs in. If the server refuses the credential
// another one is tried, if there is one: a token may have expired just now. A
// password is not looked for beside others that live: it works for these. Its
// errors are plain lines for the user.
func (b *Backend) connect(beside bool) (*session, error) {
	for last := false; ; last = true {
		credential, err := b.credentials.next(b.ctx)
		if err != nil {
			return nil, err
		}
		s, err := b.open(credential)
		b.credentials.settle(credential, err)
		if isRefusal(err) && beside && (last || b.cfg.Token == nil) {
			// The server may limit connections. A credential that works for
			// others is not a wrong one.
			b.credentials.forgive()
			return nil, err
		}
		if !isRefusal(err) || last {
			return s, err
		}
		b.log.Debug("the login is refused, looking for another password or token")
	}
}

// open connects and logs in with the password or the token: TCP, TLS or
// STARTTLS, greeting, CAPABILITY, AUTHENTICATE or LOGIN, CAPABILITY, COMPRESS, ID.
func (b *Backend) open(credential string) (*session, error) {
	u := b.cfg.URL
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.Timeout)
	defer cancel()

	conn, err := wire.Dial(ctx, u.Addr(), b.cfg.Timeout, b.trace, b.alert)
	if err != nil {
		return nil, explainDial(u, err)
	}
	b.reached.Store(true)
	s := &session{b: b, conn: conn, opened: time.Now(), isPlain: b.quirks.isPlain()}
	s.ear = &ear{s: s}
	conn.Line.Expect(1) // the greeting, and all until the login is done
	defer conn.Line.Expect(-1)
	// A server that sends a byte now and then is not silent.
	defer context.AfterFunc(ctx, conn.End)()

	isIn, err := s.start(ctx)
	if err == nil {
		err = s.login(credential, isIn)
	}
	if err != nil {
		if conn.Line.Failure() != nil && !isRefusal(err) && !errors.Is(err, errAway) {
			err = unreachable{err} // before this end breaks the connection
		}
		s.close()
		return nil, err
	}
	if err := s.compress(); err != nil {
		s.close()
		b.log.Warn("connecting once more", "error", err)
		return b.open(credential)
	}
	if s.client, err = conn.Client(s.ear); err != nil {
		s.close()
		return nil, unreachable{fmt.Errorf("%s broke off after the login; try again later", u.Host)}
	}
	if s.can(imap.CapID) {
		// Courtesy, and some servers insist on it. The answer does not matter.
		cmd := s.client.ID(&imap.IDData{Name: "imapfs", Version: b.cfg.Version})
		go cmd.Wait()
	}
	return s, nil
}

// start brings the connection to the point where a password may be sent. isIn
// tells that the server wants none (PREAUTH).
func (s *session) start(ctx context.Context) (isIn bool, err error) {
	u := s.b.cfg.URL
	config := &tls.Config{ServerName: u.Host, RootCAs: s.b.cfg.RootCAs}
	if u.TLS {
		config.NextProtos = []string{"imap"}
		if err := s.conn.StartTLS(ctx, config); err != nil {
			return false, explainTLS(u, err)
		}
	}
	if isIn, err = s.conn.Greeting(); err != nil {
		return false, s.explainGreeting(err)
	}
	// A server without STARTTLS may be used only if the user said so, and a
	// server that has it must not be talked out of it: so its capabilities,
	// which anybody on the line can forge, never decide for plain text alone.
	if s.encrypted() && !u.TLS {
		return false, s.startTLS(ctx, config, isIn)
	}
	return isIn, nil
}

// encrypted tells whether nobody on the line can read along.
func (s *session) encrypted() bool { return s.b.cfg.URL.TLS || !s.b.cfg.Insecure }

// startTLS is STARTTLS (RFC 9051 §6.2.1). What was said before it counts no more.
func (s *session) startTLS(ctx context.Context, config *tls.Config, isIn bool) error {
	u := s.b.cfg.URL
	if isIn {
		// RFC 9051 §7.1.4: STARTTLS is not possible any more.
		return fmt.Errorf("%s has logged the connection in before it could be encrypted; use imaps://", u.Host)
	}
	err := s.conn.Command("STARTTLS")
	if status, ok := errors.AsType[*imap.Error](err); ok && status.Type != imap.StatusResponseTypeBye {
		return fmt.Errorf("%s offers no encryption on port %s (STARTTLS); use imaps://, or --insecure if you accept that others can read the password and the mail", u.Host, u.Port)
	}
	if err != nil {
		return s.explainGreeting(err)
	}
	err = s.conn.StartTLS(ctx, config)
	if _, injected := errors.AsType[tls.RecordHeaderError](err); injected || errors.Is(err, wire.ErrInjected) {
		return fmt.Errorf("%s, or somebody on the way to it, sent data right behind the answer to STARTTLS; the connection is not safe", u.Host)
	}
	if err != nil {
		return explainTLS(u, err)
	}
	return nil
}

// compress asks for COMPRESS=DEFLATE if the server offers it. A server that
// refuses is talked to without. One that breaks off, or sends what cannot be
// unpacked, is not asked again.
func (s *session) compress() error {
	if s.b.quirks.noCompress.Load() || !s.can(wire.CapCompress) {
		return nil
	}
	err := s.conn.Compress()
	if refused, ok := errors.AsType[*imap.Error](err); ok && refused.Type != imap.StatusResponseTypeBye {
		s.b.log.Debug("the server does not compress", "error", plain(refused.Text))
		return nil
	}
	if err != nil {
		s.b.quirks.noCompress.Store(true)
		return fmt.Errorf("%s broke off when it was asked to compress", s.b.cfg.URL.Host)
	}
	return nil
}

// explainDial says why there is no connection. Its errors are errAway.
func explainDial(u URL, err error) error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		err = fmt.Errorf("there is no server named %s; check the spelling, and the network", u.Host)
	case errors.As(err, &dns):
		err = fmt.Errorf("cannot look up the address of %s; check the network", u.Host)
	case errors.Is(err, syscall.ECONNREFUSED):
		err = fmt.Errorf("%s refuses connections on port %s; check host and port (993 for imaps://, 143 for imap://)", u.Host, u.Port)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		err = fmt.Errorf("%s does not answer on port %s; check host, port and network: %w", u.Host, u.Port, errTimeout)
	default:
		err = fmt.Errorf("cannot connect to %s: %v; check the network", u.Addr(), err)
	}
	return unreachable{err}
}

// unreachable is an errAway in words for the user.
type unreachable struct{ error }

func (u unreachable) Unwrap() []error { return []error{u.error, errAway} }

func explainTLS(u URL, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of %s is not signed by an authority that this machine trusts; if it is your own server, give its CA with --tls-ca FILE", u.Host)
	case errors.As(err, &name) && len(name.Certificate.DNSNames)+len(name.Certificate.IPAddresses) == 0:
		return fmt.Errorf("the certificate of %s names no host in the way that counts (only the old Common Name %q); its owner has to make one with a subjectAltName", u.Host, plain(name.Certificate.Subject.CommonName))
	case errors.As(err, &name):
		return fmt.Errorf("the certificate of %s is for another name (%s); use the name that it is made for", u.Host, plain(certificateNames(name.Certificate)))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of %s has expired or is not valid yet; check this machine's clock, or tell the server's owner", u.Host)
	case errors.As(err, &record):
		return fmt.Errorf("%s does not speak TLS on port %s; for STARTTLS use imap:// with its port, usually 143", u.Host, u.Port)
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("%s does not answer on port %s: %w", u.Host, u.Port, errTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%s ends the connection on port %s as soon as TLS begins; it may be out of order, have no TLS there, or only TLS 1.1 or older, which is not safe any more", u.Host, u.Port)
	}
	// For these there are no types.
	text := err.Error()
	switch {
	case strings.Contains(text, "protocol version"):
		return fmt.Errorf("%s speaks only TLS 1.1 or older, which is not safe any more (%s); its owner has to update it", u.Host, plain(text))
	case isClientCertificate(err):
		return fmt.Errorf("%s wants a client certificate, which imapfs cannot give; use another port or server of the provider", u.Host)
	case strings.Contains(text, "handshake failure"):
		return fmt.Errorf("%s and imapfs have no TLS cipher in common, or it wants a client certificate (%s); its owner has to update it", u.Host, plain(text))
	}
	return fmt.Errorf("no TLS connection with %s: %s", u.Addr(), plain(text))
}

func certificateNames(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return strings.Join(names, ", ")
}

// isClientCertificate tells whether the server has ended the connection for want of
// a certificate of ours. With TLS 1.3 it says so behind the handshake (RFC 8446
// §6.2).
func isClientCertificate(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "certificate required") || strings.Contains(err.Error(), "remote error: tls: bad certificate"))
}

func (s *session) explainGreeting(err error) error {
	u := s.b.cfg.URL
	if status, ok := errors.AsType[*imap.Error](err); ok {
		return s.explainRefusal("", status)
	}
	if isClientCertificate(err) {
		return explainTLS(u, err)
	}
	// Closed from here: see open.
	if s.conn.Line.TimedOut() || errors.Is(s.conn.Line.Failure(), net.ErrClosed) {
		return unreachable{fmt.Errorf("%s does not answer on port %s: nothing has come in time; check host and port (993 for imaps://, 143 for imap://)", u.Host, u.Port)}
	}
	return unreachable{fmt.Errorf("%s does not answer like an IMAP server; check host and port", u.Addr())}
}

// plain makes a server's words fit to be shown on a terminal, on one line.
func plain(text string) string {
	text = mail.Plain(text)
	const most = 200
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return text
}
