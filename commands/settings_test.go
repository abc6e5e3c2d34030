package commands

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
)

// TestMountOptions gives the options of a line in fstab.
func TestMountOptions(t *testing.T) {
	s := &settings{connections: 1}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.mountFlags(flags)
	s.mountOptions = []string{"ro,nodev,user=anna,noauto,relatime,nodiratime,x-systemd.automount", "_netdev,umask=022,daemon"}
	if err := s.applyMountOptions(flags); err != nil || !slices.Equal(s.mountOptions, []string{"ro", "nodev"}) || s.umask != 0o022 || !s.daemon {
		t.Errorf("%v: %+v", err, s)
	}
}
