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
	// First, because a server may add the words of the others to these.
	{regexp.MustCompile(`(?i)\b(invalid|incorrect|wrong|bad)\b.*(password|credential|user|login)|(password|credentials?|login) (is |are )?(invalid|incorrect|wrong)|account .*(locked|disabled|blocked)`), isWrong},
	{regexp.MustCompile(`(?i)too many|simultaneous|concurrent|rate.?limit|throttl|(connections?|sessions?|logins?) (limit|exceeded)|(limit|maximum|max\w*) (number )?(of|on|for) .*(connection|session|login)`), isFull},
	{regexp.MustCompile(`(?i)unavailable|temporar|try (again|later)|internal (server )?error|server (is )?(busy|error|shutting)|shutting down|timed? ?out|not connected|backend`), isNotNow},
}

// judge finds out what a status response at login means.
// sure tells that it says so, and does not only say no.
func judge(status *imap.Error) (v verdictOnLogin, sure bool) {
	if v, ok := codes[imap.ResponseCode(strings.ToUpper(string(status.Code)))]; ok {
		return v, true
	}
	for _, w := range wordings {
		if w.text.MatchString(status.Text) {
			return w.verdict, true
		}
	}
	return isWrong, false
}

// mostAlerts is how many different ones are told.
const mostAlerts = 20

// alert tells the user what the server wants him to see (RFC 9051 §7.1), once.
func (b *Backend) alert(text string) {
	b.mu.Lock()
	isNew := !b.alerts[text] && len(b.alerts) < mostAlerts
	if isNew {
		b.alerts[text] = true
	}
	b.mu.Unlock()
	if isNew {
		b.log.Warn("the server says", "alert", plain(b.secrets.hide(text)))
	}
}

// explainRefusal puts a status response at login into words. what is
// "password" or "access token", "" in the greeting.
func (s *session) explainRefusal(what string, status *imap.Error) error {
	u := s.b.cfg.URL
	text := plain(s.b.secrets.hide(status.Text))
	says := fmt.Sprintf(" (it says: %s)", text)
	verdict, sure := judge(status)
	refuse := func(format string, args ...any) error { return &LoginError{fmt.Sprintf(format, args...) + says} }
	if what == "" { // no credential was sent, so none is refused
		what = "login"
		refuse = func(format string, args ...any) error { return fmt.Errorf(format+"%s", append(args, says)...) }
	}
	switch {
	case verdict == isFull:
		return unreachable{fmt.Errorf("%s allows no more connections or logins for now; close another mail program, use fewer --connections, or wait%s", u.Host, says)}
	case verdict == isNotNow:
		return unreachable{fmt.Errorf("%s cannot let anybody in at the moment; try again later%s", u.Host, says)}
	case verdict == isInClear:
		return refuse("%s accepts a login only over an encrypted connection; use imaps://, and no --insecure", u.Host)
	case verdict == isExpired:
		return refuse("the %s for %s on %s has expired; get a new one", what, u.User, u.Host)
	case verdict == isNoAccess:
		return refuse("%s does not let %s in, whatever the %s; ask whoever runs the server", u.Host, u.User, what)
	case status.Type == imap.StatusResponseTypeBye && !sure:
		return unreachable{fmt.Errorf("%s turns the connection down: %s", u.Host, text)}
	case s.b.cfg.Token != nil:
		return refuse("%s does not accept the access token for %s; authorize the token command anew, or check the user name", u.Host, u.User)
	}
	return refuse("%s does not accept the password for %s; check both; many providers want an app password, or OAuth2 (--token-command)", u.Host, u.User)
}
