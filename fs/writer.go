package fs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// writer is a process that has opened a file to write it: of the zero value nothing is
// known.
//
// The kernel sends FLUSH whenever a process closes a descriptor, also one of many for
// the same open file. In
//
//	{ cat head; cat body; } >Archive/new.eml
//
// the shell opens the file, and the first cat, which inherits it, closes it when half
// is written; in
//
//	exec 3>Archive/new.eml; cat head >&3; echo >&3; cat body >&3
//
// the shell itself closes it each time. So what counts is that the process that has
// opened it closes the last descriptor that it has, or any process once that one has gone.
type writer struct {
	pid   uint64 // of the thread group
	start string // when it began (proc(5), starttime): a number can be given again
}

// ending is what it means that a process closes a file.
type ending int

const (
	finished ending = iota // it is complete, as far as anybody can tell
	passed                 // its writer has it open still
	killed                 // its writer is ending by a signal
)

// Of the fields of /proc/PID/stat (proc(5)), the index of those behind the name.
const (
	statState = 0
	statFlags = 9 - 3
	statStart = 22 - 3
	statExit  = 52 - 3
)

// exiting is the flag of a process that is ending (PF_EXITING).
const exiting = 0x4

func procStat(pid uint64) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) <= statExit {
		return nil
	}
	return fields
}

// caller returns the thread and the thread group from which a request comes; zeros if
// that is not known, as where there is no proc(5).
func caller(ctx context.Context) (thread, group uint64) {
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Pid == 0 {
		return 0, 0
	}
	group, _ = strconv.ParseUint(procStatus(uint64(c.Pid), "Tgid"), 10, 64)
	return uint64(c.Pid), group
}

// procStatus returns a field of a thread in /proc/PID/status (proc(5)).
func procStatus(thread uint64, name string) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	_, rest, _ := strings.Cut(string(b), "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// writerOf returns the process from which a request comes.
func writerOf(ctx context.Context) writer {
	_, group := caller(ctx)
	if stat := procStat(group); group != 0 && stat != nil {
		return writer{group, stat[statStart]}
	}
	return writer{}
}

// ends tells what it means for the file with this inode number that the sender of a
// request closes it.
//
// A process that is killed closes its files too. That it is ending, and by which signal,
// is in its exit code by then, which the kernel shows to processes of the same user and
// to root; of others a half file cannot be told from a whole one.
func (w writer) ends(ctx context.Context, ino uint64) ending {
	thread, group := caller(ctx)
	switch {
	case w == writer{} || group == 0:
		return finished
	case group == w.pid:
		if killedBy(procStat(thread)) {
			return killed
		}
		if w.hasOpen(ino) {
			return passed
		}
		return finished
	case w.lives():
		return passed
	}
	return finished
}

// hasOpen tells whether the process has a descriptor open to write to the file with this
// inode number. One that is ending has none any more.
func (w writer) hasOpen(ino uint64) bool {
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", w.pid))
	return slices.ContainsFunc(infos, func(info string) bool {
		b, err := os.ReadFile(info)
		if err != nil {
			return false
		}
		var flags, number uint64
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); name {
			case "flags":
				flags, _ = strconv.ParseUint(value, 8, 64)
			case "ino":
				number, _ = strconv.ParseUint(value, 10, 64)
			}
		}
		return number == ino && flags&syscall.O_ACCMODE != syscall.O_RDONLY
	})
}

func (w writer) lives() bool {
	stat := procStat(w.pid)
	return stat != nil && stat[statStart] == w.start && !strings.ContainsAny(stat[statState], "ZX")
}

// killedBy tells whether a process of this stat is ending by a signal.
func killedBy(stat []string) bool {
	if stat == nil {
		return false
	}
	flags, _ := strconv.ParseUint(stat[statFlags], 10, 64)
	status, _ := strconv.ParseUint(stat[statExit], 10, 32) // as wait(2) has it
	return flags&exiting != 0 && status&0x7f != 0
}
