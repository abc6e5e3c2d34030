package dovecot

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// NoPenalty is for Options.Extra: answer at once also after failed logins.
const NoPenalty = `
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`

// Tokens returns lines for Options.Extra with which User logs in with an access
// token by the mechanisms (xoauth2, oauthbearer), and by nothing else. It plays
// the provider, whom Dovecot asks whether a token is good.
func Tokens(t testing.TB, mechanisms, good string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	provider := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		active := r.Header.Get("Authorization") == "Bearer "+good
		json.NewEncoder(w).Encode(map[string]any{"active": active, "username": User})
	})}
	go provider.Serve(listener)
	t.Cleanup(func() { provider.Close() })

	// Not t.TempDir: Dovecot's own user has to read it.
	dir, err := os.MkdirTemp("", "oauth")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "oauth2.conf.ext")
	text := fmt.Sprintf(`introspection_mode = auth
introspection_url = http://%s/
username_attribute = username
active_attribute = active
active_value = true
`, listener.Addr())
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
auth_mechanisms = %s
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = %s
}
`, mechanisms, file)
}
