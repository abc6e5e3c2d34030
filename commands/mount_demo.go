package commands

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"imapfs/demo"
	"imapfs/imapbackend"
)

func demoCommand() *cobra.Command {
	s := newSettings()
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
	s.mountFlags(demonstration.Flags())
	return demonstration
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
