// Imapfs mounts an IMAP mailbox as a file system.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapfs/cache"
	"imapfs/demo"
	"imapfs/fs"
	"imapfs/imapbackend"
	"imapfs/mail"
	"imapfs/secret"
)

// Exit codes.
const (
	exitFailed = 1 // one line on standard error says what and what to do
	exitUsage  = 2 // the command line is wrong
)

func main() {
	ownHome()
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP) // the terminal is closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	cmd, err := command().ExecuteContextC(ctx)
	stop()
	var usage usageError
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "imapfs: interrupted")
		os.Exit(exitFailed)
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "imapfs: %v\nSee: %s --help\n", err, cmd.CommandPath())
		os.Exit(exitUsage)
	default:
		fmt.Fprintf(os.Stderr, "imapfs: %v\n", err)
		os.Exit(exitFailed)
	}
}

// ownHome sees to it that HOME is that of the user. A line in fstab needs that,
// for the cache and for --password-command: mount(8) passes no HOME on from a
// normal user, and mount.fuse3 then makes it /root.
func ownHome() {
	if home := os.Getenv("HOME"); home != "" && (home != "/root" || os.Geteuid() == 0) {
		return
	}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		os.Setenv("HOME", u.HomeDir)
	}
}

// settings is what the command line says.
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
}

func command() *cobra.Command {
	s := &settings{connections: 4, cacheSize: 256 << 20, diskCacheSize: 2 << 30, umask: 0o077}
	root := &cobra.Command{
		Use:   "imapfs [flags] SOURCE MOUNTPOINT",
		Short: "Mount an IMAP mailbox as a file system",
		Long: `imapfs mounts an IMAP mailbox as a file system: each folder is a directory, each
message a directory in it with headers.txt, body.txt and attachments/.

SOURCE is imaps://user@host/ (TLS) or imap://user@host/ (STARTTLS); a folder
after the slash mounts only that one. user;AUTH=PLAIN allows only that login
mechanism. Write an @ in the user name as %40, or use --user. The password comes
from --password-command, --password-file, the environment variable
IMAPFS_PASSWORD, or a prompt; never from the URL. Where only OAuth2 is accepted,
--token-command gets an access token from another program.

What is read is kept on disk for the next mount, in the clear but for you alone
(see imapfs cache --help); --mirror fetches everything there.

Unmount with: fusermount3 -u MOUNTPOINT (or Ctrl-C).`,
		Example: `  imapfs imaps://anna@imap.example.org/ ~/mail
  imapfs --password-command 'pass mail' imaps://anna%40example.org@imap.example.org/ ~/mail
  imapfs --token-command 'oama access anna@example.org' imaps://anna%40example.org@outlook.office365.com/ ~/mail
  imapfs demo ~/mail`,
		Args: positional(2, "SOURCE and MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.applyMountOptions(cmd.Flags()); err != nil {
				return err
			}
			u, err := imapbackend.ParseURL(args[0])
			if err != nil {
				return explainSource(cmd, args, err)
			}
			return s.mountServer(cmd.Context(), u, args[1])
		},
		Version: version(),

		SuggestionsMinimumDistance: 2,

		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(explainFlag)
	root.SetHelpCommand(helpCommand(root))
	f := root.Flags()
	f.StringVar(&s.user, "user", "", "user `NAME`, instead of the one in SOURCE")
	f.StringVar(&s.passwordCommand, "password-command", "", "shell command `CMD` prints the password on its first line")
	f.StringVar(&s.passwordFile, "password-file", "", "`FILE` with the password on its first line")
	f.StringVar(&s.tokenCommand, "token-command", "", "log in with OAuth2: shell command `CMD` prints an access token on its first line, run for each login")
	f.StringVar(&s.tlsCA, "tls-ca", "", "`FILE` with the certificates (PEM) of a private CA to trust")
	f.BoolVar(&s.insecure, "insecure", false, "allow a login without encryption")
	f.IntVar(&s.connections, "connections", s.connections, "use at most `N` connections to the server")
	f.Var(&s.diskCacheSize, "disk-cache-size", "keep up to this much mail on disk, for the next mount; 0 for none")
	f.StringSliceVar(&s.mirror, "mirror", nil, "keep a complete copy on disk, of all folders or of each `FOLDER` named: --mirror=INBOX,'Archive/*'")
	f.Lookup("mirror").NoOptDefVal = "*"
	f.BoolVar(&s.retry, "retry", false, "wait for a server that cannot be reached yet, as at boot")
	s.shared(f)

	demonstration := &cobra.Command{
		Use:   "demo [flags] MOUNTPOINT",
		Short: "Start a server with sample mail inside imapfs, and mount it",
		Long: `demo starts an IMAP server inside imapfs, with sample mail or with what --import
names, and mounts it. The server keeps everything in memory: deleting a message
in the mount does not touch the imported files.`,
		Args: positional(1, "MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.applyMountOptions(cmd.Flags()); err != nil {
				return err
			}
			return s.mountDemo(cmd.Context(), args[0])
		},
	}
	demonstration.Flags().StringArrayVar(&s.imports, "import", nil, "show the mail of `PATH` instead of the sample: an .eml file, an mbox file, a Maildir, or a directory of these (can be repeated)")
	s.shared(demonstration.Flags())
	root.AddCommand(demonstration, statusCommand(), waitCommand(), cacheCommand())
	return root
}

// shared defines the flags that every mount has.
func (s *settings) shared(f *pflag.FlagSet) {
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

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(unknown)"
}

// mountServer mounts the account that u names.
func (s *settings) mountServer(ctx context.Context, u imapbackend.URL, dir string) error {
	if s.user != "" {
		u.User = s.user
	}
	if u.User == "" {
		return usageError{errors.New("no user name; put it into SOURCE (imaps://user@host/) or use --user")}
	}
	if len(s.mirror) > 0 && s.diskCacheSize == 0 {
		return usageError{errors.New("--mirror keeps the copy in the cache on disk; leave out --disk-cache-size 0")}
	}
	if s.tokenCommand != "" && (s.passwordCommand != "" || s.passwordFile != "") {
		return usageError{errors.New("--token-command takes the place of a password; leave out --password-command and --password-file")}
	}
	roots, err := s.rootCAs()
	if err != nil {
		return err
	}
	// Before the password: nobody likes to type it for nothing.
	if err := s.checkMountPoint(dir); err != nil {
		return err
	}
	d := daemonize(s.daemon)
	cfg := imapbackend.Config{URL: u, Retry: s.retry, Insecure: s.insecure, RootCAs: roots, Connections: s.connections}
	var from *secret.Source
	if s.tokenCommand != "" {
		cfg.Token = func(ctx context.Context) (string, error) { return secret.Token(ctx, s.tokenCommand) }
	} else {
		from = &secret.Source{
			Command: s.passwordCommand,
			File:    s.passwordFile,
			Env:     "IMAPFS_PASSWORD",
			Prompt:  fmt.Sprintf("Password of %s on %s: ", u.User, u.Host),
		}
		cfg.NewPassword = from.Again()
	}
	cfg.Password, err = d.password(ctx, from)
	if err != nil {
		return err
	}
	if d.isParent {
		return d.run(ctx, cfg.Password)
	}
	if s.insecure && !u.TLS {
		fmt.Fprintf(os.Stderr, "imapfs: warning: the connection to %s is not encrypted; others on the network can read the password and the mail\n", u.Host)
	}
	return s.serve(ctx, cfg, u.String(), dir, d)
}

// checkMountPoint says in plain words why dir cannot be mounted on.
func (s *settings) checkMountPoint(dir string) error {
	if s.forceUnmount {
		if err := fs.ClearLeftOver(dir); err != nil {
			return err
		}
	}
	return fs.CheckMountPoint(dir)
}

// mountDemo mounts the embedded server.
func (s *settings) mountDemo(ctx context.Context, dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("cannot create the mount point: %v", err)
		}
	}
	if err := s.checkMountPoint(dir); err != nil {
		return err
	}
	d := daemonize(s.daemon)
	if d.isParent {
		return d.run(ctx, "")
	}
	server, err := demo.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	if err := s.fill(server); err != nil {
		return err
	}
	u, err := imapbackend.ParseURL("imap://" + server.User + "@" + server.Addr + "/")
	if err != nil {
		return err
	}
	cfg := imapbackend.Config{URL: u, Password: server.Password, Insecure: true, Connections: s.connections}
	s.diskCacheSize = 0 // nothing of it is there the next time
	return s.serve(ctx, cfg, "demo", dir, d)
}

func (s *settings) fill(server *demo.Server) error {
	if len(s.imports) == 0 {
		return server.AddSample()
	}
	for _, path := range s.imports {
		n, err := server.Import(path)
		if err != nil && n == 0 {
			return err
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "imapfs: warning: %v\n", err)
		}
		fmt.Fprintf(os.Stderr, "imapfs: imported %d messages from %s\n", n, path)
	}
	return nil
}

func (s *settings) rootCAs() (*x509.CertPool, error) {
	if s.tlsCA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(s.tlsCA)
	if err != nil {
		return nil, fmt.Errorf("cannot read the CA: %v", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", s.tlsCA)
	}
	return pool, nil
}

// serve connects, mounts, and serves until the mount goes away or ctx ends.
func (s *settings) serve(ctx context.Context, cfg imapbackend.Config, source, dir string, d *daemon) error {
	leaveProcessors()
	// Whoever reads what is logged may go before the mount does. Without this,
	// the next line would kill imapfs, and leave a dead mount.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	log, lastErrors, err := s.logger(d)
	if err != nil {
		return err
	}
	cfg.Timeout, cfg.Poll, cfg.ReadOnly, cfg.Version, cfg.Log = s.timeout, s.poll, s.readOnly, version(), log
	cfg.Trash = s.trash
	disk, forget, err := s.openDisk(cfg.URL, log)
	if err != nil {
		return err
	}
	defer disk.Close()
	cfg.Store = disk
	if s.traceIMAP != "" {
		file, err := privateFile(s.traceIMAP, "the trace")
		if err != nil {
			return err
		}
		defer file.Close()
		cfg.Trace = file
	}
	backend, err := imapbackend.Connect(ctx, cfg)
	if err != nil {
		forget() // host or user may be spelled wrong
		return err
	}
	defer backend.Close()
	if err := s.checkMirror(backend.Folders()); err != nil {
		forget()
		return err
	}

	raw, html, err := s.shown()
	if err != nil {
		return err
	}
	memory := cache.New(int64(s.cacheSize), disk)
	status := &status{source: source, begun: time.Now(), backend: backend, cache: memory, errors: lastErrors}
	fsys, err := fs.New(backend, memory, fs.Options{
		Status:   status.json,
		Folder:   cfg.URL.Folder,
		ReadOnly: s.readOnly,
		ShowRaw:  raw,
		ShowHTML: html,
		UID:      uint32(os.Getuid()),
		GID:      uint32(os.Getgid()),
		Umask:    uint32(s.umask),
		Timeout:  s.timeout,
		Log:      log,
	})
	if err != nil {
		return err
	}
	status.fsys = fsys
	backend.OnChange(fsys.Changed)
	fsys.Changed(mail.Change{}) // the folders may have changed just before
	mounted, err := fsys.Mount(source, dir, s.mountOptions)
	if err != nil {
		return err
	}
	defer mounted.Close()
	fmt.Fprintf(os.Stderr, "imapfs: mounted %s at %s\n", source, mounted.Dir())
	d.ready()
	if len(s.mirror) > 0 {
		defer s.startMirror(fsys)()
	}

	gone := make(chan struct{})
	go func() {
		mounted.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		if err := mounted.Unmount(); err != nil {
			log.Error("cannot unmount", "error", err) // of a daemon nobody else hears
			return fmt.Errorf("cannot unmount %s (%v); use: %s", mounted.Dir(), err, fs.UnmountCommand(mounted.Dir(), true))
		}
		return nil
	}
}

// leaveProcessors leaves half of the processors to those who read the mount.
// Each request wakes this program up; with as many threads as processors the
// runtime then looks for more work on the one that the reader needs in the next
// moment (measured on two processors: a warm grep takes 1.4 times as long).
func leaveProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
}

func (s *settings) shown() (raw, html bool, err error) {
	for _, what := range s.show {
		switch what {
		case "raw":
			raw = true
		case "html":
			html = true
		default:
			return false, false, usageError{fmt.Errorf("--show knows raw and html, not %q", what)}
		}
	}
	return raw, html, nil
}
