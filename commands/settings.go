package commands

import (
	"time"

	"github.com/spf13/pflag"

	"imapfs/imapbackend"
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
	cacheSize       byteSize
	diskCacheSize   byteSize
	mirror          []string
	connections     int
	poll            time.Duration
	timeout         time.Duration
	trash           string
	umask           fileMode
	show            []string
	verbose         bool
	imports         []string

	readOnly bool // from mountOptions
	showRaw  bool // from show
	showHTML bool
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
	case s.connections <= 0:
		return usagef("--connections needs a number above zero")
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
