package commands

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"imapfs/imapbackend"
	"imapfs/mail"
)

// settings is what the command line says of a mount.
type settings struct {
	user            string
	insecure        bool
	tlsCA           string
	passwordCommand string
	passwordFile    string
	tokenCommand    string
	traceIMAP       string
	logFile         string
	retry           bool
	mountOptions    []string
	daemon          bool
	forceUnmount    bool
	notify          bool
	cacheSize       byteSize
	diskCacheSize   byteSize
	mirror          []string
	connections     int
	poll            time.Duration
	timeout         time.Duration
	trash           string
	umask           fileMode
	show            []string
	names           string
	markRead        bool
	verbose         bool
	imports         []string

	readOnly bool // from mountOptions
	showRaw  bool // from show
	showHTML bool
	naming   mail.Naming // from names
}

func newSettings() *settings {
	return &settings{connections: 4, cacheSize: 256 << 20, diskCacheSize: 2 << 30, umask: 0o077}
}

// mountFlags defines the flags that every mount has.
func (s *settings) mountFlags(f *pflag.FlagSet) {
	f.StringArrayVarP(&s.mountOptions, "options", "o", nil, "mount options `OPT[,OPT...]` (ro, allow_other, ...); a flag of imapfs can be one too (umask=022)")
	f.BoolVar(&s.daemon, "daemon", false, "return once mounted, and serve in the background")
	f.BoolVar(&s.forceUnmount, "force-unmount", false, "clear the mount point first of a mount whose program has died")
	f.Var(&s.cacheSize, "cache-size", "keep up to this much mail in memory")
	f.DurationVar(&s.poll, "poll", time.Minute, "each `TIME`, ask the server for news that it does not tell by itself")
	f.DurationVar(&s.timeout, "timeout", 30*time.Second, "give up a request that the server does not answer within `TIME`")
	f.StringVar(&s.trash, "trash", "", "move removed messages to the trash, or to `FOLDER`, instead of deleting them")
	f.Lookup("trash").NoOptDefVal = imapbackend.SpecialTrash
	f.Var(&s.umask, "umask", "permission bits to take from files and directories")
	f.StringSliceVar(&s.show, "show", nil, "list more files of a message: `raw,html` for message.eml and body.html")
	f.StringVar(&s.names, "names", "uid", "call messages by `TEMPLATE`, like '{date} {from}, {subject}', or short: subject; their numbers lead to them too")
	f.BoolVar(&s.markRead, "mark-read", false, "mark a message as read when a person's program has read its text, and no other one")
	f.BoolVar(&s.notify, "notify", false, "show on the desktop what the mount refuses, and what can be done instead")
	f.StringVar(&s.traceIMAP, "trace-imap", "", "add to `FILE` what is said with the server, without passwords and mail")
	f.StringVar(&s.logFile, "log-file", "", "add the log to `FILE`, instead of standard error; of a daemon, instead of the system's log")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "log what happens")
}

// check says what is wrong with the values of the flags, and takes in show.
func (s *settings) check(flags *pflag.FlagSet) error {
	if err := noEmptyFlags(flags); err != nil {
		return err
	}
	switch {
	case s.poll <= 0:
		return usagef("--poll needs a time above zero, like 1m or 10s")
	case s.timeout <= 0:
		return usagef("--timeout needs a time above zero, like 30s or 2m")
	case s.markRead && s.readOnly:
		return usagef("--mark-read changes flags; leave out -o ro")
	case s.connections <= 0:
		return usagef("--connections needs a number above zero")
	}
	var err error
	if s.naming, err = mail.ParseNaming(s.names); err != nil {
		return usagef("--names: %w", err)
	}
	for _, what := range s.show {
		switch what {
		case "raw":
			s.showRaw = true
		case "html":
			s.showHTML = true
		default:
			return usagef("--show knows raw and html, not %q", what)
		}
	}
	return nil
}

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
