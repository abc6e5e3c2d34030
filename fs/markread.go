package fs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"imapfs/content"
	"imapfs/mail"
)

// With Options.MarkRead a message is marked as read when a person's program has read its
// text. Nobody can see whether a person looks at what a program reads. What can be seen is
// who it is (proc(5)): a program in the foreground of a terminal, or one that can show
// windows and does not run at low priority, as indexers do. And what it does: who reads a
// second message within moments searches, copies or saves. So a message is marked when
// nothing of its session has begun to read another one for markAfter; what a file manager
// reads to know the kind of a file, or for a preview, is by its name no reading.

// markAfter is how long a session reads no other message when it has read one.
const markAfter = 2 * time.Second

// readers is what sessions (setsid(2)) of persons' programs read.
type readers struct {
	wait sync.WaitGroup // for what is being marked

	mu       sync.Mutex // guards what follows
	closed   bool
	sessions map[string]*reading
}

// reading is what a session reads, until it has read nothing for markAfter.
type reading struct {
	id      mail.ID
	many    bool // it has read others before
	opening int  // files that are being loaded for it
	timer   *time.Timer
}

// reads is called when a program begins to open a file of a message, and returns what has to
// be called when it has it, or has not.
func (fsys *FS) reads(ctx context.Context, id mail.ID, kind content.Kind) (opened func(ok bool)) {
	caller, ok := fuse.FromContext(ctx)
	isText := kind == content.Body || kind == content.HTML || kind == content.Raw
	if !fsys.opt.MarkRead || !isText || !ok || caller.Pid == 0 || !fsys.mail.Rights(id.Folder).Flag {
		return func(bool) {}
	}
	session := personsSession(uint64(caller.Pid))
	if session == "" {
		return func(bool) {}
	}
	rs := &fsys.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.sessions[session]
	if r == nil {
		r = &reading{id: id}
		if rs.sessions == nil {
			rs.sessions = make(map[string]*reading)
		}
		rs.sessions[session] = r
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.many = r.many || r.id != id
	r.id = id
	r.opening++
	return func(ok bool) {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		r.opening--
		r.many = r.many || !ok // it has read nothing of it
		r.again(fsys, session)
	}
}

// again has the message marked later, if nothing else is read. It is called with readers.mu
// held.
func (r *reading) again(fsys *FS, session string) {
	if r.timer != nil {
		r.timer.Stop()
	}
	r.timer = time.AfterFunc(markAfter, func() { fsys.readers.ended(fsys, session, r) })
}

// closes is called when a program closes a file that it has read.
func (fsys *FS) closes(id mail.ID) {
	rs := &fsys.readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for session, r := range rs.sessions {
		if r.id == id && r.opening == 0 {
			r.again(fsys, session)
		}
	}
}

// ended marks what a session has read, if that was one message.
func (rs *readers) ended(fsys *FS, session string, r *reading) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed || r.opening > 0 || rs.sessions[session] != r {
		return
	}
	delete(rs.sessions, session)
	if r.many {
		return
	}
	rs.wait.Add(1)
	go func() {
		defer rs.wait.Done()
		ctx, cancel := context.WithTimeout(context.Background(), fsys.opt.Timeout)
		defer cancel()
		seen := mail.FlagChange{Add: mail.Flags{"Seen"}}
		if err := fsys.mail.SetFlags(ctx, r.id.Folder, r.id.UIDValidity, []uint32{r.id.UID}, seen); err != nil {
			fsys.log.Warn("cannot mark a message as read", "message", fsys.shown(r.id.Folder)+"/"+mail.Number(r.id.UID), "error", err)
		}
	}()
}

// close has nothing marked any more, and waits for what is.
func (rs *readers) close() {
	rs.mu.Lock()
	rs.closed = true
	for _, r := range rs.sessions {
		if r.timer != nil {
			r.timer.Stop()
		}
	}
	rs.mu.Unlock()
	rs.wait.Wait()
}

// Of the fields of /proc/PID/stat (proc(5)), the index of further ones behind the name.
const (
	statGroup      = 5 - 3
	statSession    = 6 - 3
	statForeground = 8 - 3
	statNice       = 19 - 3
	statPolicy     = 41 - 3
)

// lookers is programs with windows that read files of which they show a kind or a picture,
// as patterns of their names (proc(5), comm).
var lookers = []string{
	"nautilus", "nemo", "caja", "[Tt]hunar", "pcmanfm*", "dolphin", "konqueror", "krusader", // file managers
	"kioworker", "kioslave*", "gvfsd*", "xdg-desktop-por", "xdg-document-po", // and who reads for them
	"tumblerd", "*thumbnail*", "bwrap", "baloo*", "tracker*", "localsearch*",
}

// personsSession returns the session of a process through which a person may read, "" for
// others.
func personsSession(pid uint64) string {
	stat := procStat(pid)
	if stat == nil || stat[statNice] > "0" { // negative ones begin with a sign
		return ""
	}
	if policy := stat[statPolicy]; policy == "3" || policy == "5" { // SCHED_BATCH, SCHED_IDLE
		return ""
	}
	session := stat[statSession]
	if stat[statForeground] == stat[statGroup] { // -1 without a terminal
		return session
	}
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	hasWindows := slices.ContainsFunc(strings.Split(string(env), "\x00"), func(v string) bool {
		name, value, _ := strings.Cut(v, "=")
		return (name == "DISPLAY" || name == "WAYLAND_DISPLAY") && value != ""
	})
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if !hasWindows || err != nil {
		return ""
	}
	if slices.ContainsFunc(lookers, func(pattern string) bool {
		matches, _ := filepath.Match(pattern, strings.TrimSpace(string(comm)))
		return matches
	}) {
		return ""
	}
	return session
}
