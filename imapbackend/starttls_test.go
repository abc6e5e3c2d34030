package imapbackend

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestSTARTTLS has answers in plain text that somebody on the line could have
// put there, before and behind the OK to STARTTLS. None may have an effect
// (RFC 9051 §6.2.1).
func TestSTARTTLS(t *testing.T) {
	const greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] hello\r\n"
	for _, c := range []struct {
		what, greeting, answer string
		fine                   bool
		want                   string // in the error
	}{
		{"as it should be", greeting, "TAG OK go ahead\r\n", true, ""},
		{"capabilities before the OK", greeting, "* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nTAG OK go ahead\r\n", true, ""},
		{"capabilities in the OK", greeting, "TAG OK [CAPABILITY IMAP4rev1 LOGINDISABLED] go ahead\r\n", true, ""},
		{"a folder before the OK", greeting, "* LIST () \"/\" Injected\r\nTAG OK go ahead\r\n", true, ""},
		{"capabilities behind the OK", greeting, "TAG OK go ahead\r\n* CAPABILITY IMAP4rev1 LOGINDISABLED\r\n", false, "not safe"},
		{"an answer behind the OK", greeting, "TAG OK go ahead\r\nT1 OK\r\n", false, "not safe"},
		{"half an answer behind the OK", greeting, "TAG OK go ahead\r\n*", false, "not safe"},
		{"refused", greeting, "TAG NO not now\r\n", false, "no encryption"},
		{"logged in before", "* PREAUTH hello\r\n", "TAG OK go ahead\r\n", false, "before it could be encrypted"},
		{"turned down", "* BYE too many\r\n", "", false, "too many"},
		{"endless line", "* OK " + strings.Repeat("x", 1<<20), "", false, "not answer like an IMAP server"},
		{"endless answers", greeting, strings.Repeat("* OK x\r\n", 1<<20), false, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := &startTLSServer{greeting: c.greeting, answer: c.answer}
			b, err := Connect(t.Context(), s.start(t))
			if b != nil {
				defer b.Close()
			}
			if (err == nil) != c.fine || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q: %v", err, c.want, !c.fine)
			}
			if !c.fine && s.secret {
				t.Error("the password was sent")
			}
			if c.fine && len(b.Folders()) != 1 {
				t.Errorf("folders %v, want INBOX only", b.Folders())
			}
		})
	}
}

// startTLSServer is a server with STARTTLS that says what it should not in
// plain text, and is a script from then on.
type startTLSServer struct {
	greeting, answer string
	secret           bool // a login has come
}

func (s *startTLSServer) start(t *testing.T) Config {
	web := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	web.Close()
	secure := &script{caps: "IMAP4rev1 ESEARCH"}
	secure.answer = func(tag, command string) string {
		s.secret = s.secret || strings.HasPrefix(command, "LOGIN")
		return ""
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, s.greeting)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return
		}
		tag, _, _ := strings.Cut(line, " ")
		fmt.Fprint(c, strings.ReplaceAll(s.answer, "TAG", tag))
		secure.talk(tls.Server(c, &tls.Config{Certificates: web.TLS.Certificates}))
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	cfg := config(ln.Addr().String(), "anna", "secret")
	cfg.Insecure = false
	cfg.Connections = 1
	cfg.RootCAs = web.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return cfg
}

// TestPlain has a server's words that are commands to a terminal.
func TestPlain(t *testing.T) {
	got := plain("a\x1b]0;title\x07b\u202ec\u200b\u2028d\x9b\n" + strings.Repeat("x", 1000))
	if !strings.HasPrefix(got, "a]0;titlebcd?x") || len(got) > 210 {
		t.Errorf("%q", got)
	}
	if slices.ContainsFunc([]rune(got), func(r rune) bool { return r < ' ' }) {
		t.Errorf("%q holds control characters", got)
	}
}
