package fs

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

func TestExplainMount(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{errors.New("fusermount exited with code 256\n"), "cannot mount on /mnt: fusermount3 has refused; its own line, above, says why"},
		// What the library says where there is no fusermount3 at all; /dev/fuse is there.
		{&os.PathError{Op: "stat", Path: "/bin/fusermount", Err: syscall.ENOENT}, "cannot mount: fusermount3 is missing; install it (Debian and Ubuntu: apt install fuse3; Fedora: dnf install fuse3; Arch: pacman -S fuse3)"},
	} {
		if got := explainMount("/mnt", test.err).Error(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
