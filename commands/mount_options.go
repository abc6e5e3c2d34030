package commands

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// applyMountOptions sorts what came with -o: options for the kernel stay,
// flags of imapfs are set, and what only concerns fstab is dropped.
func (s *settings) applyMountOptions(flags *pflag.FlagSet) error {
	var kernel []string
	for option := range strings.SplitSeq(strings.Join(s.mountOptions, ","), ",") {
		name, value, hasValue := strings.Cut(option, "=")
		flagName := strings.ReplaceAll(name, "_", "-")
		flag := flags.Lookup(flagName)
		switch {
		case fstabOptions[name], strings.HasPrefix(name, "x-"), strings.HasPrefix(name, "comment"):
		case name == "ro":
			s.readOnly = true
			kernel = append(kernel, option)
		case flag != nil && name != "options" && name != "help":
			if !hasValue {
				value = flag.NoOptDefVal
			}
			if !hasValue && value == "" {
				return usagef("-o %s needs a value, like -o %s=%s", name, name, flag.DefValue)
			}
			if err := flags.Set(flag.Name, value); err != nil {
				if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
					err = invalidValue(flag, value, invalid.Unwrap())
				}
				return usagef("-o %s: %w", option, err)
			}
		case (name == "dev" || name == "suid") && os.Geteuid() != 0:
			// mount.fuse3 adds them for setuid=USER; fusermount3 would ignore
			// them with a complaint.
		case kernelOptions[name]:
			kernel = append(kernel, option)
		default:
			return usagef("unknown mount option %q%s", option, didYouMean(flags, flagName, ""))
		}
	}
	s.mountOptions = kernel
	return s.check(flags)
}

// fstabOptions are for mount(8), or about times of access, which mail has not.
var fstabOptions = map[string]bool{
	"": true, "defaults": true, "rw": true, "auto": true, "noauto": true, "user": true, "users": true, "nouser": true,
	"owner": true, "group": true, "nofail": true, "_netdev": true,
	"relatime": true, "norelatime": true, "strictatime": true, "nostrictatime": true,
	"diratime": true, "nodiratime": true, "lazytime": true, "nolazytime": true,
}

// kernelOptions are those that fusermount3 and the kernel understand.
var kernelOptions = map[string]bool{
	"allow_other": true, "default_permissions": true, "max_read": true, "fsname": true, "subtype": true,
	"dev": true, "nodev": true, "suid": true, "nosuid": true, "exec": true, "noexec": true,
	"async": true, "sync": true, "dirsync": true, "atime": true, "noatime": true,
}
