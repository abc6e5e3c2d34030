package imapbackend

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// URL is an IMAP URL (RFC 5092): imaps://user@host:993/folder means TLS from
// the first byte, imap://user@host:143/folder means STARTTLS.
type URL struct {
	TLS    bool // imaps
	User   string
	Auth   string // the only SASL mechanism to use, in capitals; "" for the best one
	Host   string
	Port   string
	Folder string // "" for all
}

// ParseURL reads an IMAP URL. The user may be missing, to be given otherwise.
func ParseURL(s string) (URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The error of url.Parse repeats the URL, which may hold a password.
		return URL{}, errors.New("SOURCE is not an IMAP URL; write it like imaps://user@imap.example.org/")
	}
	r := URL{Host: u.Hostname(), Port: u.Port(), Folder: strings.TrimRight(strings.TrimPrefix(u.Path, "/"), "/")}
	switch u.Scheme {
	case "imaps":
		r.TLS = true
		if r.Port == "" {
			r.Port = "993"
		}
	case "imap":
		if r.Port == "" {
			r.Port = "143"
		}
	default:
		return URL{}, errors.New("SOURCE must begin with imaps:// (TLS) or imap:// (STARTTLS), like imaps://user@imap.example.org/")
	}
	if _, has := u.User.Password(); has {
		return URL{}, errors.New("a password in the URL can be read by every user of this machine; use --password-command, --password-file, IMAPFS_PASSWORD or the prompt")
	}
	if r.Host == "" {
		return URL{}, errors.New("SOURCE names no host; write it like imaps://user@imap.example.org/")
	}
	if !isHost(r.Host, strings.HasPrefix(u.Host, "[")) {
		return URL{}, errors.New("SOURCE has a host that cannot be one; an IPv6 address stands in brackets, like imaps://user@[2001:db8::1]/")
	}
	if port, err := strconv.ParseUint(r.Port, 10, 16); err != nil || port == 0 {
		return URL{}, fmt.Errorf("SOURCE names port %s, and ports are numbers from 1 to 65535", r.Port)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return URL{}, errors.New("SOURCE can name a server and a folder, nothing after them; write ? and # as %3F and %23")
	}
	// RFC 5092 section 3.2: ;AUTH= after the user name.
	user, auth, _ := strings.Cut(u.User.Username(), ";")
	auth = strings.ToUpper(auth)
	if auth != "" && auth != "AUTH=*" {
		r.Auth = strings.TrimPrefix(auth, "AUTH=")
		if r.Auth == auth || !slices.Contains(mechanisms, r.Auth) {
			return URL{}, fmt.Errorf("SOURCE has ;%s behind the user name; imapfs knows ;AUTH= with %s there; leave it out, and imapfs chooses", plain(auth), strings.Join(mechanisms, ", "))
		}
	}
	r.User = user
	return r, nil
}

// isHost says whether host can be a name or an address, since net/url takes
// almost anything: letters of any script, digits, and the few marks of host
// names; an IPv6 address (RFC 3986 section 3.2.2) only in brackets, with a zone
// of ASCII (RFC 6874).
func isHost(host string, brackets bool) bool {
	name, zone := host, ""
	if brackets {
		name, zone, _ = strings.Cut(host, "%")
		if a, err := netip.ParseAddr(name); err != nil || !a.Is6() {
			return false
		}
	}
	for _, c := range zone + name {
		if c == utf8.RuneError || brackets && c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-._", c) && !(brackets && c == ':') {
			return false
		}
	}
	return true
}

// Addr is host:port.
func (u URL) Addr() string { return net.JoinHostPort(u.Host, u.Port) }

// String is the URL without any credential but the user's name.
func (u URL) String() string {
	r := url.URL{Scheme: "imap", Host: u.Host, Path: "/" + u.Folder}
	if strings.Contains(u.Host, ":") {
		r.Host = "[" + u.Host + "]"
	}
	standard := "143"
	if u.TLS {
		r.Scheme, standard = "imaps", "993"
	}
	if u.Port != standard {
		r.Host = u.Addr()
	}
	user := u.User
	if u.Auth != "" {
		user += ";AUTH=" + u.Auth
	}
	if user != "" {
		r.User = url.User(user)
	}
	return r.String()
}
