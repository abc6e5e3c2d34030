package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/demo"
	"imapfs/internal/courier"
	"imapfs/internal/cyrus"
	"imapfs/internal/dovecot"
)

// Account is a server that a test can mount, and talk to by itself.
type Account struct {
	Addr, User, Password string

	embedded     *demo.Server
	below        string // the folder in which the server has all the others, as Courier in INBOX
	ChangesNames bool   // of attachments, which shows until the message is read
}

// Mailbox returns the server's name of a folder.
func (a Account) Mailbox(folder string) string {
	if a.below == "" || folder == a.below {
		return folder
	}
	return a.below + "." + strings.ReplaceAll(strings.TrimPrefix(folder, a.below+"/"), "/", ".")
}

// Top returns where a mount shows the folders of an account.
func (a Account) Top(mnt string) string { return filepath.Join(mnt, a.below) }

// ForEachServer runs a test against all servers, with the sample mail.
func ForEachServer(t *testing.T, f func(t *testing.T, a Account)) {
	ForEachEmpty(t, func(t *testing.T, a Account) {
		a.addSample(t)
		f(t, a)
	})
}

// ForEachEmpty runs a test against the embedded server, Dovecot, Cyrus and
// Courier, without mail, side by side: most of a test is waiting. It has to be
// the last call of the test, which ends before they do.
func ForEachEmpty(t *testing.T, f func(t *testing.T, a Account)) {
	for name, start := range map[string]func(t *testing.T) Account{
		"embedded": EmptyDemo,
		"dovecot":  func(t *testing.T) Account { return EmptyDovecot(t, "") },
		"cyrus":    EmptyCyrus,
		"courier":  EmptyCourier,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, start(t))
		})
	}
}

// Embedded is a server inside the test, with the sample mail.
func Embedded(t *testing.T) Account {
	t.Helper()
	a := EmptyDemo(t)
	a.addSample(t)
	return a
}

func (a Account) addSample(t *testing.T) {
	t.Helper()
	if a.embedded == nil {
		copyMail(t, Embedded(t), a)
	} else if err := a.embedded.AddSample(); err != nil {
		t.Fatal(err)
	}
}

// EmptyDemo is a server inside the test.
func EmptyDemo(t *testing.T) Account {
	t.Helper()
	s, err := demo.Start()
	Must(t, err)
	t.Cleanup(func() { s.Close() })
	return Account{Addr: s.Addr, User: s.User, Password: s.Password, embedded: s}
}

// EmptyDovecot has extra lines in its configuration.
func EmptyDovecot(t *testing.T, extra string) Account {
	return DovecotAccount(dovecot.Start(t, dovecot.Options{Extra: extra}))
}

func EmptyCyrus(t *testing.T) Account { return CyrusAccount(cyrus.Start(t, Testdata("cyrus"))) }

func EmptyCourier(t *testing.T) Account { return CourierAccount(courier.Start(t, Testdata("courier"))) }

// Testdata is the path of what is in testdata, which is at the top: that is
// where a test runs, or the folder above.
func Testdata(name string) string {
	at := filepath.Join("testdata", name)
	if _, err := os.Stat("testdata"); err != nil {
		at = filepath.Join("..", at)
	}
	return at
}

func DovecotAccount(s *dovecot.Server) Account {
	return Account{Addr: s.Addr, User: dovecot.User, Password: dovecot.Password}
}

func CyrusAccount(s *cyrus.Server) Account {
	return Account{Addr: s.Addr, User: cyrus.User, Password: cyrus.Password}
}

func CourierAccount(s *courier.Server) Account {
	return Account{Addr: s.Addr, User: courier.User, Password: courier.Password, below: "INBOX", ChangesNames: true}
}

// URL is SOURCE of the account.
func (a Account) URL() string { return "imap://" + a.User + "@" + a.Addr + "/" }

// Client is a second client of the same account.
func (a Account) Client(t *testing.T) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(a.Addr, nil)
	Must(t, err)
	t.Cleanup(func() { c.Close() })
	Must(t, c.Login(a.User, a.Password).Wait())
	return c
}

// Inbox starts a Dovecot with letters in the inbox, and one large message.
func Inbox(t *testing.T, n int) (*dovecot.Server, *Proxy) {
	t.Helper()
	s := dovecot.Start(t, dovecot.Options{})
	var all [][]byte
	for i := range n {
		all = append(all, OneLetter(i+1))
	}
	s.Deliver(t, append(all, LargeLetter())...)
	return s, NewProxy(t, DovecotAccount(s))
}
