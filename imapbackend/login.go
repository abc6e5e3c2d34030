package imapbackend

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"imapfs/mail"
)

// Mechanisms that go-sasl does not have, or not as they are needed here.
const (
	scramSHA256 = "SCRAM-SHA-256" // RFC 7677
	xoauth2     = "XOAUTH2"       // Google's, and the only one of Microsoft
)

// mechanisms are those that SOURCE can ask for.
var mechanisms = []string{scramSHA256, sasl.Plain, sasl.Login, sasl.OAuthBearer, xoauth2}

// login logs in, unless the server has done so by itself (PREAUTH).
func (s *session) login(credential string, isIn bool) error {
	if !isIn {
		caps, err := s.conn.Caps()
		if err != nil {
			return s.brokeOff("before", err)
		}
		login := s.passwordLogin
		if s.b.cfg.Token != nil {
			login = s.tokenLogin
		}
		if err := login(caps, credential); err != nil {
			return err
		}
	}
	caps, err := s.conn.Caps()
	if err != nil {
		return s.brokeOff("after", err)
	}
	s.caps = caps
	return nil
}

// brokeOff says when a connection has ended, and how.
func (s *session) brokeOff(when string, err error) error {
	if status, ok := errors.AsType[*imap.Error](err); ok {
		return unreachable{fmt.Errorf("%s breaks off %s the login; try again later (it says: %s)", s.b.cfg.URL.Host, when, plain(s.b.secrets.hide(status.Text)))}
	}
	return unreachable{fmt.Errorf("%s broke off %s the login; try again later", s.b.cfg.URL.Host, when)}
}

// offers tells whether a mechanism can be used: the server has it, and SOURCE
// does not ask for another one.
func (s *session) offers(caps imap.CapSet, mechanism string) bool {
	auth := s.b.cfg.URL.Auth
	return caps.Has(imap.AuthCap(mechanism)) && (auth == "" || auth == mechanism)
}

// passwordLogin uses the best of what the server offers. A server that offers
// SCRAM-SHA-256 but keeps this password in a form that does not fit refuses
// before it has asked for the proof, and so has not looked at the password.
// Only then, and only over TLS, PLAIN is tried behind it: a wrong password
// counts once, and nobody learns it who could not have left SCRAM out of the
// offer.
func (s *session) passwordLogin(caps imap.CapSet, password string) error {
	u := s.b.cfg.URL
	var err error
	switch {
	case s.offers(caps, scramSHA256) && !s.b.quirks.noScram.Load():
		const hint = ": try ;AUTH=PLAIN behind the user name in SOURCE"
		asked, broke, err := s.scramLogin()
		_, refused := errors.AsType[*LoginError](err)
		switch {
		case broke && s.offers(caps, sasl.Plain):
			return unreachable{fmt.Errorf("%w; if it does so each time, it may offer SCRAM-SHA-256 and not be able to do it%s", err, hint)}
		case !refused || !s.offers(caps, sasl.Plain):
			return err
		case asked || !s.encrypted():
			return &LoginError{err.Error() + "; if it is right, the server may keep it in a form that SCRAM-SHA-256 cannot use" + hint}
		}
		s.b.log.Info("the server cannot use SCRAM-SHA-256 for this user, trying PLAIN")
		err = s.explainLogin("password", s.authenticate(sasl.NewPlainClient("", u.User, password)))
		s.b.quirks.noScram.Store(err == nil)
		return err
	case s.offers(caps, sasl.Plain):
		err = s.authenticate(sasl.NewPlainClient("", u.User, password))
		if status, ok := errors.AsType[*imap.Error](err); ok && status.Type == imap.StatusResponseTypeBad && u.Auth == "" && !caps.Has(imap.CapLoginDisabled) {
			// It does not know what it offers, and has not looked at the password.
			err = s.conn.Login(u.User, password)
		}
	case u.Auth == "" && !caps.Has(imap.CapLoginDisabled): // RFC 9051 §6.2.3
		err = s.conn.Login(u.User, password)
	case s.offers(caps, sasl.Login):
		err = s.authenticate(&loginClient{answers: []string{u.User, password}})
	case u.Auth != "":
		return s.notOffered("--token-command is missing")
	case caps.Has(imap.AuthCap(sasl.OAuthBearer)), caps.Has(imap.AuthCap(xoauth2)):
		return fmt.Errorf("%s accepts no password, only OAuth2; use --token-command", u.Host)
	default:
		return fmt.Errorf("%s does not allow a password login on this connection; use imaps://, or ask the provider how to log in", u.Host)
	}
	return s.explainLogin("password", err)
}

// tokenLogin prefers the mechanism that is a standard. Google offers both,
// Microsoft only XOAUTH2.
func (s *session) tokenLogin(caps imap.CapSet, token string) error {
	u := s.b.cfg.URL
	client := &bearerClient{}
	switch {
	case s.offers(caps, sasl.OAuthBearer):
		port, _ := strconv.Atoi(u.Port) // 0 is left out
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(u.User)
		client.Client = sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: name, Token: token, Host: u.Host, Port: port})
		client.giveUp = []byte{1} // RFC 7628 §3.2.3
	case s.offers(caps, xoauth2):
		client.Client = xoauth2Client("user=" + u.User + "\x01auth=Bearer " + token + "\x01\x01")
	case u.Auth != "":
		return s.notOffered("it needs a password instead of --token-command")
	default:
		return fmt.Errorf("%s offers no login with an access token (XOAUTH2 or OAUTHBEARER); use a password instead of --token-command", u.Host)
	}
	err := s.authenticate(client)
	if client.status != "" {
		s.b.log.Debug("the server refuses the access token", "status", plain(s.b.secrets.hide(client.status)))
	}
	return s.explainLogin("access token", err)
}

// notOffered is the error for a mechanism that SOURCE asks for.
func (s *session) notOffered(or string) error {
	u := s.b.cfg.URL
	return fmt.Errorf("cannot log in to %s with ;AUTH=%s as SOURCE asks: the server does not offer it on this connection, or %s; leave it out, and imapfs chooses", u.Host, u.Auth, or)
}

// scramLogin fails also if the server accepts the password but has not shown
// that it knows it. asked tells whether the server has asked for the proof, broke
// that it has ended the login before that with a fault of its own.
func (s *session) scramLogin() (asked, broke bool, err error) {
	client := &scramClient{ClientConversation: s.b.credentials.conversation()}
	err = s.conn.Authenticate(client) // what is sent first is no secret
	if client.broken || err == nil && !client.Valid() {
		host := s.b.cfg.URL.Host
		return true, false, fmt.Errorf("%s does not prove that it knows the password (%s); it may be another server than it says: check host and network", host, scramSHA256)
	}
	if status, ok := errors.AsType[*imap.Error](err); ok {
		verdict, _ := judge(status)
		broke = verdict == isNotNow
	} else {
		broke = err != nil && !s.conn.Line.TimedOut()
	}
	return client.asked, broke && !client.asked, s.explainLogin("password", err)
}

// authenticate sends AUTHENTICATE, and keeps what is sent first out of error
// messages and traces in case that the server repeats it.
func (s *session) authenticate(client sasl.Client) error {
	return s.conn.Authenticate(secretClient{client, s.b.secrets})
}

type secretClient struct {
	sasl.Client
	secrets *secrets
}

func (c secretClient) Start() (string, []byte, error) {
	mechanism, first, err := c.Client.Start()
	if len(first) > 0 {
		c.secrets.add(base64.StdEncoding.EncodeToString(first))
	}
	return mechanism, first, err
}

// loginClient is SASL LOGIN, for servers that disable the command LOGIN and
// offer nothing better. The one of go-sasl needs SASL-IR.
type loginClient struct{ answers []string }

func (c *loginClient) Start() (string, []byte, error) { return sasl.Login, nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	if len(c.answers) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := c.answers[0]
	c.answers = c.answers[1:]
	return []byte(answer), nil
}

type xoauth2Client string

func (c xoauth2Client) Start() (string, []byte, error) { return xoauth2, []byte(c), nil }

func (c xoauth2Client) Next([]byte) ([]byte, error) { return nil, sasl.ErrUnexpectedServerChallenge }

// bearerClient answers the challenge by which OAUTHBEARER and XOAUTH2 say that
// they refuse the token. Only then the server sends its NO.
type bearerClient struct {
	sasl.Client
	giveUp []byte
	status string // why the token is refused
}

func (c *bearerClient) Next(challenge []byte) ([]byte, error) {
	if c.status != "" {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	var reason struct{ Status string }
	if json.Unmarshal(challenge, &reason); reason.Status == "" {
		reason.Status = "unknown"
	}
	c.status = reason.Status
	return c.giveUp, nil
}

func newScram(user, password string) *scram.Client {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		// Not in SASLprep's alphabet, and so known to the server as it is.
		client, _ = scram.SHA256.NewClientUnprepped(user, password, "")
	}
	return client
}

// scramClient is SCRAM-SHA-256 without channel binding (RFC 5802, RFC 7677).
type scramClient struct {
	*scram.ClientConversation
	asked  bool // the server has asked for the proof
	broken bool // the server does not follow the mechanism, or not know the password
}

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.Step("")
	return scramSHA256, []byte(first), err
}

// iterations is the count in the server's first message. A server can ask for
// so many that computing them takes hours.
var iterations = regexp.MustCompile(`,i=(\d{1,7})(,|$)`)

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if bytes.HasPrefix(challenge, []byte("e=")) {
		return nil, nil // a wrong password, mostly: a NO follows
	}
	c.asked = true
	if bytes.HasPrefix(challenge, []byte("r=")) && !iterations.Match(challenge) {
		c.broken = true
		return nil, errors.New("iteration count missing or too large")
	}
	answer, err := c.Step(string(challenge))
	c.broken = err != nil
	return []byte(answer), err
}

func (s *session) explainLogin(what string, err error) error {
	if err == nil {
		return nil
	}
	status, ok := errors.AsType[*imap.Error](err)
	if !ok {
		return s.brokeOff("during", err)
	}
	return s.explainRefusal(what, status)
}

// secrets are what no text for a user may hold.
type secrets struct {
	mu   sync.Mutex
	list []string // in lower case, the newest last
}

// secretsKept is enough for all logins that are under way at once. Tokens
// expire, and there may be a new one for each login.
const secretsKept = 64

func (s *secrets) add(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret = strings.ToLower(secret)
	if secret == "" || slices.Contains(s.list, secret) {
		return
	}
	s.list = append(s.list, secret)
	if len(s.list) > secretsKept {
		s.list = s.list[1:]
	}
}

// hide returns text, or what to show in its place if it repeats a secret. All
// of it goes: what is left around a short one would give it away.
func (s *secrets) hide(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lower := strings.ToLower(text)
	cleaned := mail.Plain(lower)
	for _, secret := range s.list {
		if strings.Contains(lower, secret) || strings.Contains(cleaned, secret) {
			return "[not shown: it repeats the password or token]"
		}
	}
	return text
}
