// Package cyrus runs a private Cyrus IMAP for tests. testdata/fetch-cyrus gets
// the program, because Debian does not install it beside Dovecot.
package cyrus

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"imapfs/internal/mailserver"
)

// User and Password are accepted by every server.
const (
	User     = mailserver.User
	Password = mailserver.Password
)

// Server is a running Cyrus. Most of its log is in the system's.
type Server = mailserver.Server

var imapdConf = template.Must(template.New("").Parse(`configdirectory: {{.Dir}}/conf
partition-default: {{.Dir}}/spool
defaultpartition: default
cyrus_user: {{.User}}
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {{.Dir}}/sasldb2
sasl_mech_list: PLAIN
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
idlesocket: {{.Dir}}/conf/socket/idle
lmtpsocket: {{.Dir}}/conf/socket/lmtp
notifysocket: {{.Dir}}/conf/socket/notify
expunge_mode: immediate
delete_mode: immediate
{{.Extra}}
`))

var cyrusConf = template.Must(template.New("").Parse(`START {
  recover cmd="{{.Bin}}/ctl_cyrusdb -C {{.Dir}}/imapd.conf -r"
  idled cmd="{{.Bin}}/idled -C {{.Dir}}/imapd.conf"
}
SERVICES {
  imap cmd="{{.Bin}}/imapd -C {{.Dir}}/imapd.conf" listen="{{.Addr}}" prefork=0 proto="tcp4"
}
EVENTS {
}
`))

// Start runs a server until the test ends, and skips the test where Cyrus is
// not there. root is where fetch-cyrus has put it, extra are lines for the end
// of imapd.conf.
func Start(t testing.TB, root string, extra ...string) *Server {
	t.Helper()
	return mailserver.StartUnpacked(t, "cyrus", root, "usr/lib/cyrus/bin/master", func(s *Server, root string) error {
		return configure(s, root, strings.Join(extra, "\n"))
	})
}

func configure(s *Server, root, extra string) error {
	bin := filepath.Join(root, "usr/lib/cyrus/bin")
	data := map[string]string{"Dir": s.Dir, "User": s.Owner.Username, "Addr": s.Addr, "Bin": bin, "Extra": extra}
	files := map[string]string{}
	for file, t := range map[string]*template.Template{"imapd.conf": imapdConf, "cyrus.conf": cyrusConf} {
		var text bytes.Buffer
		if err := t.Execute(&text, data); err != nil {
			return err
		}
		files[file] = text.String()
	}
	dirs := []string{"spool", "conf/db", "conf/log", "conf/proc", "conf/socket", "conf/user", "conf/quota", "conf/msg"}
	if err := s.Write(dirs, files); err != nil {
		return err
	}
	s.Env = append(os.Environ(),
		"LD_LIBRARY_PATH="+mailserver.Paths(root, "usr/lib/*-linux-gnu", "lib/*-linux-gnu"),
		"SASL_PATH="+mailserver.Paths(root, "usr/lib/*-linux-gnu/sasl2"))
	s.Args = []string{filepath.Join(bin, "master"), "-C", filepath.Join(s.Dir, "imapd.conf"),
		"-M", filepath.Join(s.Dir, "cyrus.conf"), "-p", filepath.Join(s.Dir, "pid"), "-D"}
	if err := s.Tool(Password+"\n", filepath.Join(root, "usr/sbin/saslpasswd2"), "-p", "-c", "-f", filepath.Join(s.Dir, "sasldb2"), User); err != nil {
		return err
	}
	return s.Own(s.Dir)
}
