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
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-message/charset"

	"mime"

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

	begun := time.Now()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Addr())
	if err != nil {
		return nil, explainDial(u, err)
	}
	b.reached.Store(true)
	if err := noticeLoss(raw, b.cfg.Timeout); err != nil {
		b.log.Debug("dead connections are noticed late", "error", err)
	}
	s := &session{b: b, roundTrip: time.Since(begun), conn: &watchedConn{Conn: raw, timeout: b.cfg.Timeout}}
	s.conn.expect(1) // the greeting, and all until the login is done
	defer s.conn.expect(-1)
	// A server that sends a byte now and then is not silent, and the library
	// knows no context.
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	err = s.start(ctx, u)
	if err == nil {
		err = s.login(credential)
	}
	if err != nil {
		err = s.blame(err) // before this end breaks the connection
		s.close()
		return nil, err
	}
	s.wire.trace.loggedIn()
	if err := s.compress(); err != nil {
		s.close()
		s.b.log.Warn("connecting once more", "error", err)
		return b.open(credential)
	}
	if s.can(imap.CapID) {
		// Courtesy, and some servers insist on it. The answer does not matter.
		cmd := s.client.ID(&imap.IDData{Name: "imapfs", Version: b.cfg.Version})
		go cmd.Wait()
	}
	return s, nil
}

// start brings the connection to the point where a password may be sent.
func (s *session) start(ctx context.Context, u URL) error {
	wire := &wireConn{Conn: s.conn, line: s.conn, trace: s.b.trace.conn()}
	s.wire = wire
	config := &tls.Config{ServerName: u.Host, RootCAs: s.b.cfg.RootCAs}
	// A server without STARTTLS may be used only if the user said so, and a
	// server that has it must not be talked out of it: so its capabilities,
	// which anybody on the line can forge, never decide for plain text alone.
	if !u.TLS && !s.b.cfg.Insecure {
		if err := s.startTLS(wire, u); err != nil {
			return err
		}
		wire.greeting = []byte("* OK STARTTLS done\r\n")
	}
	if s.encrypted() {
		if u.TLS {
			config.NextProtos = []string{"imap"}
		}
		conn := tls.Client(s.conn, config)
		if err := conn.HandshakeContext(ctx); err != nil {
			if _, injected := errors.AsType[tls.RecordHeaderError](err); injected && !u.TLS {
				// CVE-2011-0411 and its many successors.
				return fmt.Errorf("%s, or somebody on the way to it, sent data right behind the answer to STARTTLS; the connection is not safe", u.Host)
			}
			return explainTLS(u, err)
		}
		wire.Conn = conn
	}
	s.limits = limit(wire)
	s.limits.bye, s.limits.alert = s.farewell, s.b.alert
	s.client = imapclient.New(s.limits, &imapclient.Options{
		UnilateralDataHandler: s.unilateral(),
		WordDecoder:           &mime.WordDecoder{CharsetReader: charset.Reader},
	})
	if err := s.client.WaitGreeting(); err != nil {
		return s.explainGreeting(u, err)
	}
	return nil
}

// encrypted tells whether nobody on the line can read along.
func (s *session) encrypted() bool { return s.b.cfg.URL.TLS || !s.b.cfg.Insecure }

// startTLS speaks with the server up to the point where TLS begins
// (RFC 9051 §6.2.1). The library could do that, but would then keep the
// decrypted connection to itself, and wireConn has to be on top of it. Reading
// byte by byte takes in nothing that somebody has put behind the answer.
func (s *session) startTLS(wire *wireConn, u URL) error {
	if _, err := io.WriteString(wire, "S STARTTLS\r\n"); err != nil {
		return s.explainGreeting(u, err)
	}
	for greeted := false; ; greeted = true {
		line, err := readLine(wire)
		word, rest, _ := strings.Cut(line, " ")
		kind, text, _ := strings.Cut(rest, " ")
		kind = strings.ToUpper(kind)
		switch {
		case err != nil:
			return s.explainGreeting(u, err)
		case word == "*" && kind == "BYE":
			return s.explainGreeting(u, parseBye(text))
		case !greeted && word == "*" && kind == "PREAUTH":
			// RFC 9051 §7.1.4: STARTTLS is not possible any more.
			return fmt.Errorf("%s has logged the connection in before it could be encrypted; use imaps://", u.Host)
		case !greeted && (word != "*" || kind != "OK"):
			return s.explainGreeting(u, errMalformed)
		case word == "S" && kind == "OK":
			return nil
		case word == "S":
			return fmt.Errorf("%s offers no encryption on port %s (STARTTLS); use imaps://, or --insecure if you accept that others can read the password and the mail", u.Host, u.Port)
		case word != "*":
			return s.explainGreeting(u, errMalformed)
		}
	}
}

// readLine reads one line, and not a byte more.
func readLine(r io.Reader) (string, error) {
	const most = 8192
	var line []byte
	for b := make([]byte, 1); len(line) < most; {
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b[0])
	}
	return "", errMalformed
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

func (s *session) explainGreeting(u URL, err error) error {
	status, ok := errors.AsType[*imap.Error](err)
	if !ok && s.limits != nil {
		status = s.limits.farewell() // the library may see the end first
	}
	if status != nil {
		return s.explainRefusal("", status)
	}
	// Closed from here: see open.
	if s.conn.timedOut() || errors.Is(s.conn.readError(), net.ErrClosed) {
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
