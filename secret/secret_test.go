package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("from file\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRET_TEST_SET", "from environment")
	for _, test := range []struct {
		name    string
		source  Source
		want    string
		wantErr string
	}{
		{"command", Source{Command: "echo from command; echo more", File: file, Env: "SECRET_TEST_SET"}, "from command", ""},
		{"command with spaces kept", Source{Command: "printf ' a b '"}, " a b ", ""},
		{"command fails", Source{Command: "echo secret; exit 3"}, "", "failed"},
		{"command prints nothing", Source{Command: "true"}, "", "printed nothing"},
		{"file before environment", Source{File: file, Env: "SECRET_TEST_SET"}, "from file", ""},
		{"no such file", Source{File: filepath.Join(dir, "none"), Env: "SECRET_TEST_SET"}, "", "cannot read the password file"},
		{"environment", Source{Env: "SECRET_TEST_SET"}, "from environment", ""},
		{"nothing, and no terminal", Source{Env: "SECRET_TEST_UNSET"}, "", "no password"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.source.Password()
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if (err != nil) != (test.wantErr != "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want one with %q", err, test.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error %q tells what the command printed", err)
			}
		})
	}
}
