// Package commands has the commands of imapfs: mounting, and what there is to
// ask of a mount and of the cache on disk.
package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"runtime/debug"
	"syscall"
)

// Exit codes.
const (
	ExitFailed = 1 // one line on standard error says what and what to do
	ExitUsage  = 2 // the command line is wrong
)

// Run does what the command line says, until that is done or a signal ends it.
// It returns the exit code of the process.
func Run() int {
	ownHome()
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP) // the terminal is closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	root := mountCommand()
	root.AddCommand(demoCommand(), statusCommand(), waitCommand(), flagCommand(), searchCommand(), cacheCommand())
	cmd, err := root.ExecuteContextC(ctx)
	stop()
	var usage usageError
	var child childFailed
	switch {
	case err == nil:
		return 0
	case errors.As(err, &child):
		return child.ExitCode()
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "imapfs: interrupted")
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "imapfs: %v\nSee: %s --help\n", err, cmd.CommandPath())
		return ExitUsage
	default:
		fmt.Fprintf(os.Stderr, "imapfs: %v\n", err)
	}
	return ExitFailed
}

// childFailed says that the other process of --daemon has failed, which has said
// why.
type childFailed struct{ *exec.ExitError }

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

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(unknown)"
}
