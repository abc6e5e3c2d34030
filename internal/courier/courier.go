// Package courier runs a private Courier IMAP for tests. testdata/fetch-courier
// gets the program, because Debian does not install it beside Dovecot.
package courier

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imapfs/internal/mailserver"
)

// User and Password are accepted by every server.
const (
	User     = mailserver.User
	Password = mailserver.Password
)

// Server is a running Courier.
type Server = mailserver.Server

// script starts what Debian's services start, with the settings of Debian's
// package: what checks passwords, what watches directories (which imapd needs to
// lock a folder), and what accepts connections. It runs where the server's files
// are, because there authdaemond and imaplogin look for each other: see
// fetch-courier.
const script = `
rm -f authdaemon/socket
"$ROOT/usr/lib/courier/courier-authlib/authdaemond" &
"$ROOT/usr/libexec/gam_server" --notimeout "$GAM_CLIENT_ID" &
until [ -S authdaemon/socket ]; do sleep 0.02; done
set -a
. "$ROOT/etc/courier/imapd"
. ./settings
exec "$ROOT/usr/sbin/couriertcpd" -address=127.0.0.1 -maxprocs="$MAXDAEMONS" -maxperip="$MAXPERIP" \
  -nodnslookup -noidentlookup "$PORT" \
  "$ROOT/usr/lib/courier/courier/imaplogin" "$ROOT/usr/bin/imapd" Maildir
`

// settings follow those of the package. The package's IDLE looks for news once a
// minute only; without COURIERTLS there is no STARTTLS.
const settings = `
MAXDAEMONS=200
MAXPERIP=200
IMAP_IDLE_TIMEOUT=1
COURIERTLS=
`

// Start runs a server until the test ends, and skips the test where Courier is
// not there. root is where fetch-courier has put it, extra are lines for the end
// of the settings.
func Start(t testing.TB, root string, extra ...string) *Server {
	t.Helper()
	return mailserver.StartUnpacked(t, "courier", root, "usr/bin/imapd", func(s *Server, root string) error {
		return configure(s, root, strings.Join(extra, "\n"))
	})
}

func configure(s *Server, root, extra string) error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(Password))
	err = s.Write([]string{"authdaemon", "Maildir/cur", "Maildir/new", "Maildir/tmp"}, map[string]string{
		"settings":     settings + "PORT=" + port + "\n" + extra + "\n",
		"authdaemonrc": "authmodulelist=authuserdb\nauthmodulelistorig=authuserdb\ndaemons=1\n",
		// A line with a dot ends it.
		"userdb": fmt.Sprintf("%s\tuid=%s|gid=%s|home=%s|mail=%[4]s/Maildir|systempw={SHA256}%s\n.\n",
			User, s.Owner.Uid, s.Owner.Gid, s.Dir, base64.StdEncoding.EncodeToString(sum[:])),
	})
	if err != nil {
		return err
	}
	s.Inbox, s.AsOwner, s.Args = filepath.Join(s.Dir, "Maildir"), true, []string{"sh", "-c", script}
	s.Env = append(os.Environ(), "ROOT="+root, "GAM_CLIENT_ID="+filepath.Base(s.Dir),
		"LD_LIBRARY_PATH="+mailserver.Paths(root, "usr/lib", "usr/lib/courier-authlib", "usr/lib/*-linux-gnu", "lib/*-linux-gnu"))
	// Both the accounts and their passwords are in it.
	for _, db := range []string{"userdb.dat", "userdbshadow.dat"} {
		if err := s.Tool("", filepath.Join(root, "usr/lib/courier/courier-authlib/makedatprog"), "userdb", "tmp", db); err != nil {
			return err
		}
	}
	return s.Own(s.Dir)
}
