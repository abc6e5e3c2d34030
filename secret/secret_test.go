package secret

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
			got, err := test.source.Password(t.Context())
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

func TestToken(t *testing.T) {
	for _, test := range []struct {
		command, want, wantErr string
	}{
		{"echo ya29.a0_-~+/=; echo more", "ya29.a0_-~+/=", ""},
		{"printf 'token\\r\\n'", "token", ""},
		{"cat; echo no-input", "no-input", ""},
		{"echo secret; exit 3", "", "failed"},
		{"true", "", "printed nothing"},
		{"echo no account secret", "", "no access token"},
		{`echo '{"access_token":"secret"}'`, "", "no access token"},
		{"printf 'secret\\001\\n'", "", "no access token"},
	} {
		got, err := Token(t.Context(), test.command)
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.command, got, test.want)
		}
		if (err != nil) != (test.wantErr != "") || err != nil && !strings.Contains(err.Error(), test.wantErr) {
			t.Errorf("%s: error %v, want one with %q", test.command, err, test.wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error %q tells what the command printed", err)
		}
	}
}

// TestTokenEnds has a command that never ends by itself, nor does what it has
// started.
func TestTokenEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := Token(ctx, "sh -c 'echo started >"+fifo+"; exec sleep 1000' | cat")
		failed <- err
	}()
	if _, err := os.ReadFile(fifo); err != nil { // waits until it has started
		t.Fatal(err)
	}
	cancel()
	if err := <-failed; err == nil {
		t.Error("no error")
	}
}
