//go:build profile

package main

import (
	"fmt"
	"os"
	"runtime/pprof"

	"imapfs/commands"
)

// With the build tag profile, imapfs writes a CPU profile of its whole life to
// the file that the environment variable IMAPFS_PROFILE names. It does so in an
// init, which ends the process, so that main knows nothing of it.
func init() {
	f, err := os.Create(os.Getenv("IMAPFS_PROFILE"))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "imapfs: IMAPFS_PROFILE: %v\n", err)
		os.Exit(commands.ExitFailed)
	}
	code := commands.Run()
	pprof.StopCPUProfile()
	os.Exit(code)
}
