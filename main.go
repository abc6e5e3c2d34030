// Imapfs mounts an IMAP mailbox as a file system. Its commands are in package
// commands, each in a file of its own:
//
//	imapfs SOURCE MOUNTPOINT    mount.go, and serve.go for what all mounts do
//	imapfs demo MOUNTPOINT      mount_demo.go
//	imapfs status MOUNTPOINT    status.go
//	imapfs wait DIR             wait.go
//	imapfs flag +FLAG MESSAGE   flag.go
//	imapfs cache list, clear    cache_on_disk.go
package main

import (
	"os"

	"imapfs/commands"
)

func main() { os.Exit(commands.Run()) }
