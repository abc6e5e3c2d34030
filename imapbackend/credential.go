package imapbackend

import (
	"context"
	"fmt"
	"sync"

	"github.com/xdg-go/scram"
)

// credentials are what the backend logs in with: a password, or an access token
// for each login. One that the server has refused is never sent to it again:
// servers lock accounts in which too many logins fail.
type credentials struct {
	cfg     *Config
	secrets *secrets

	mu       sync.Mutex // guards what follows; held while a command runs: some rewrite a file
	password string
	scram    *scram.Client    // keeps what is expensive to compute; nil with a token
	again    bool             // a refused password may be asked for anew
	refused  map[string]error // by the server since the last login, with the LoginError
	why      error            // the last of these; nil for none
	doubtful bool             // the password was refused beside connections for which it works
}

func newCredentials(cfg *Config, secrets *secrets) *credentials {
	c := &credentials{cfg: cfg, secrets: secrets, refused: make(map[string]error)}
	if cfg.Token == nil {
		c.use(cfg.Password)
	}
	return c
}

// use takes another password. It is called with c.mu held.
func (c *credentials) use(password string) {
	c.secrets.add(password)
	c.password, c.scram = password, newScram(c.cfg.URL.User, password)
}

// next returns the credential for a login. If the server has refused it before,
// and there is no other one, it returns that error.
func (c *credentials) next(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	credential := c.password
	switch {
	case c.cfg.Token != nil:
		token, err := c.cfg.Token(ctx)
		if err != nil {
			return "", err
		}
		c.secrets.add(token)
		credential = token
	case (c.why != nil || c.doubtful) && c.again && c.cfg.NewPassword != nil:
		password, err := c.cfg.NewPassword(ctx)
		if err != nil && c.why != nil {
			return "", fmt.Errorf("%w; and no other one: %w", c.why, err)
		}
		if err == nil {
			credential = password
		}
		c.doubtful = false
	}
	if why := c.refused[credential]; why != nil {
		return "", why
	}
	if c.cfg.Token == nil && credential != c.password {
		c.use(credential)
	}
	return credential, nil
}

// settle takes in what became of a login.
func (c *credentials) settle(credential string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.why, c.doubtful = nil, false
		clear(c.refused)
	} else if isRefusal(err) {
		c.refused[credential], c.why = err, err
	}
}

// forgive forgets that a credential was refused, beside connections for which it
// works. If it does so no more, because it has changed meanwhile, another one is
// looked for before it is sent once more.
func (c *credentials) forgive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.why, c.doubtful = nil, true
	clear(c.refused)
}

// askAgain has a refused password asked for anew from now on.
func (c *credentials) askAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = true
}

func (c *credentials) conversation() *scram.ClientConversation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scram.NewConversation()
}
