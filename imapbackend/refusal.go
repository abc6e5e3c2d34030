package imapbackend

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// LoginError says that the server refuses the login: it knows the user but not
// the password or the token, or not the user, or does not want him now. Its
// text is a plain line for the user.
type LoginError struct{ text string }

func (e *LoginError) Error() string { return e.text }

// isRefusal tells whether err is the server's word on who we are.
func isRefusal(err error) bool {
	_, refused := errors.AsType[*LoginError](err)
	return refused
}

// verdictOnLogin is what a NO, BAD or BYE to a login, or in the greeting, means.
type verdictOnLogin int

const (
	isWrong    verdictOnLogin = iota // the password or the token
	isFull                           // too many connections, or too many logins in a short time
	isNotNow                         // the server has a fault that passes
	isExpired                        // the password was right once
	isNoAccess                       // the password is right, and does not help
	isInClear                        // the server wants encryption
)

// codes are those of RFC 5530 §3, and of RFC 9051 §7.1.
var codes = map[imap.ResponseCode]verdictOnLogin{
	imap.ResponseCodeAuthenticationFailed: isWrong,
	imap.ResponseCodeAuthorizationFailed:  isNoAccess,
	imap.ResponseCodeContactAdmin:         isNoAccess,
	imap.ResponseCodeExpired:              isExpired,
	imap.ResponseCodePrivacyRequired:      isInClear,
	imap.ResponseCodeLimit:                isFull,
	imap.ResponseCodeUnavailable:          isNotNow,
	imap.ResponseCodeServerBug:            isNotNow,
	imap.ResponseCodeInUse:                isNotNow,
}

// wordings are for servers without these codes: what Gmail ("Too many
// simultaneous connections"), Dovecot ("Maximum number of connections from
// user+IP exceeded"), Courier, Yahoo ("Rate limit hit") and Exchange ("User is
// authenticated but not connected") say.
var wordings = []struct {
	text    *regexp.Regexp
	verdict verdictOnLogin
}{
	{regexp.MustCompile(`(?i)too many|simultaneous|concurrent|rate.?limit|throttl|(connections?|sessions?|logins?) (limit|exceeded)|(limit|maximum|max\w*) (number )?(of|on|for) .*(connection|session|login)`), isFull},
	{regexp.MustCompile(`(?i)unavailable|temporar|try (again|later)|internal (server )?error|server (is )?(busy|error|shutting)|shutting down|timed? ?out|not connected|backend`), isNotNow},
}

// judge finds out what a status response at login means.
func judge(status *imap.Error) verdictOnLogin {
	if v, known := codes[imap.ResponseCode(strings.ToUpper(string(status.Code)))]; known {
		return v
	}
	for _, w := range wordings {
		if w.text.MatchString(status.Text) {
			return w.verdict
		}
	}
	return isWrong
}

// explainRefusal puts a status response at login into words. what is
// "password" or "access token", "" in the greeting.
func (s *session) explainRefusal(what string, status *imap.Error) error {
	u := s.b.cfg.URL
	text := plain(s.b.secrets.hide(status.Text))
	says := fmt.Sprintf(" (it says: %s)", text)
	verdict := judge(status)
	switch {
	case verdict == isFull:
		return unreachable{fmt.Errorf("%s allows no more connections or logins for now; close another mail program, use fewer --connections, or wait%s", u.Host, says)}
	case verdict == isNotNow:
		return unreachable{fmt.Errorf("%s cannot let anybody in at the moment; try again later%s", u.Host, says)}
	case status.Type == imap.StatusResponseTypeBye || what == "":
		return unreachable{fmt.Errorf("%s turns the connection down: %s", u.Host, text)}
	case verdict == isInClear:
		return &LoginError{fmt.Sprintf("%s accepts a login only over an encrypted connection; use imaps://, and no --insecure%s", u.Host, says)}
	case verdict == isExpired:
		return &LoginError{fmt.Sprintf("the %s for %s on %s has expired; get a new one%s", what, u.User, u.Host, says)}
	case verdict == isNoAccess:
		return &LoginError{fmt.Sprintf("%s accepts the %s but does not let %s in; ask whoever runs the server%s", u.Host, what, u.User, says)}
	case s.b.cfg.Token != nil:
		return &LoginError{fmt.Sprintf("%s does not accept the access token for %s; authorize the token command anew, or check the user name%s", u.Host, u.User, says)}
	}
	return &LoginError{fmt.Sprintf("%s does not accept the password for %s; check both; many providers want an app password, or OAuth2 (--token-command)%s", u.Host, u.User, says)}
}
