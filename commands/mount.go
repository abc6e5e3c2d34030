package commands

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapfs/fs"
	"imapfs/imapbackend"
	"imapfs/secret"
)

// mountCommand is imapfs itself, without the other commands.
func mountCommand() *cobra.Command {
	s := newSettings()
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
	s.accountFlags(root.Flags())
	s.mountFlags(root.Flags())
	return root
}

// accountFlags defines the flags of a mount of somebody's account.
func (s *settings) accountFlags(f *pflag.FlagSet) {
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
}

// mountServer mounts the account that u names.
func (s *settings) mountServer(ctx context.Context, u imapbackend.URL, dir string) error {
	if s.user != "" {
		u.User = s.user
	}
	if err := s.checkSource(u); err != nil {
		return err
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

// checkSource says what is missing in SOURCE or does not go with other flags.
func (s *settings) checkSource(u imapbackend.URL) error {
	switch {
	case u.User == "":
		return usagef("no user name; put it into SOURCE (imaps://user@host/) or use --user")
	case len(s.mirror) > 0 && s.diskCacheSize == 0:
		return usagef("--mirror keeps the copy in the cache on disk; leave out --disk-cache-size 0")
	case s.tokenCommand != "" && (s.passwordCommand != "" || s.passwordFile != ""):
		return usagef("--token-command takes the place of a password; leave out --password-command and --password-file")
	}
	return nil
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
