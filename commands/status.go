package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"imapfs/fs"
)

func statusCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "status [flags] MOUNTPOINT",
		Short: "Tell what a mount is doing",
		Long: `status tells what a mount is doing: whether the server is there, what each
connection to it does, what the caches hold, how far --mirror is, and the last
errors. Any directory in the mount serves as MOUNTPOINT. It never waits for the
server.`,
		Args: positional(1, "MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := askStatus(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			var r report
			if err := json.Unmarshal(text, &r); err != nil {
				return fmt.Errorf("cannot read the status of %s: %v", args[0], err)
			}
			return r.print(cmd.OutOrStdout(), time.Now())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print all of it as JSON")
	return cmd
}

// patience is how long a mount may take to tell of itself, which it does from
// memory.
const patience = 5 * time.Second

// askStatus reads the status of the mount that dir is in.
func askStatus(ctx context.Context, dir string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var text []byte
	err := leaveBehind(ctx, func() (err error) {
		text, err = readStatus(dir)
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("the mount at %s does not answer", dir)
	}
	if err != nil { // text belongs to f if it still runs
		return nil, err
	}
	return text, nil
}

// leaveBehind runs f, whose system calls on a mount nothing interrupts, and
// leaves it to itself when ctx ends.
func leaveBehind(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readStatus looks for the root of the mount in dir and above. A stat of dir
// itself could wait for the server; this does not.
func readStatus(dir string) ([]byte, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var failed error
	dead := ""
	for {
		text, err := os.ReadFile(filepath.Join(at, fs.StatusPath))
		switch {
		case err == nil && json.Valid(text):
			return text, nil
		case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ECONNABORTED):
			dead = at // and perhaps what is above it
		case dead != "":
			return nil, fmt.Errorf("the program of the mount at %s has died; clear it with: %s", dead, fs.UnmountCommand(dead, true))
		case err != nil && failed == nil && !errors.Is(err, iofs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			failed = err
		}
		above := filepath.Dir(at)
		if above == at {
			break
		}
		at = above
	}
	if failed != nil {
		return nil, fmt.Errorf("cannot read the status of %s: %v", dir, failed)
	}
	return nil, fmt.Errorf("%s is not in a mount of imapfs", dir)
}
