package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// killing kills a mount that mirrors INBOX and is read, and mounts again with
// what is in the cache on disk.
type killing struct {
	b      *bench
	n      *network
	dir    string // mount point
	cache  string
	paths  []string
	want   map[string][sha256.Size]byte // by path
	random *rand.Rand
	mirror time.Duration // start and whole mirror

	reads, wrong, failed atomic.Int64 // failed: mounts, and reads before the kill

	came map[item]arrival // since the cache was empty
	killReport
}

// killReport is what the kills have led to.
type killReport struct {
	kills    int
	early    int // before the mount served anything
	complete int // lives in which the mirror was complete
	emptied  int // how often the cache was emptied
	reads    int64
	wrong    int64
	failed   int64

	fetched     int           // messages or pieces of them
	again       int           // of these fetched before, in a life before
	againBytes  int64         //
	againKills  int           // kills after which that was so
	mostAgain   int64         // bytes, after one kill
	oldest      time.Duration // from when it came to the kill, at most
	twiceAtOnce int           // fetched before in the same life
}

// item is what is fetched at once: a message, or a piece of it.
type item struct {
	uid  int
	part string
}

type arrival struct {
	life   int
	before time.Duration // it came so long before the kill
	bytes  int64
}

// mostAgain is how many bytes may be lost by one kill: 8 MB wait to be written,
// 2 MB the mirror has under way, 4 MB who reads ahead, and what a piece is more
// than its share. What is read while so much waits is not kept at all.
const mostAgain = 16 << 20

// kills is the command.
func kills(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench kills", flag.ExitOnError)
	n := flags.Int("n", 200, "how often to kill")
	seed := flags.Uint64("seed", 1, "for all that is random")
	messages := flags.Int("messages", 2000, "messages of the corpus in INBOX; 0 for all")
	line := flags.Bool("line", false, "a line of 40 ms and 100 Mbit/s, not loopback")
	flags.Parse(args)

	b := &bench{}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, moreConnections); err != nil {
		return err
	}
	if b.inbox, err = readCorpus(b.module, *messages); err != nil {
		return err
	}
	// Some of which only parts are kept in one piece, or nothing.
	for i, blocks := range []int{40, 200, 1500} {
		b.inbox = slices.Insert(b.inbox, (i+1)*len(b.inbox)/4, soakMessage(i, blocks))
	}
	if err := b.server.DeliverTo("INBOX", slices.Values(b.inbox)); err != nil {
		return err
	}
	rtt, rate := time.Duration(0), 0
	if *line {
		rtt, rate = 40*time.Millisecond, 12_500
	}
	network, err := newNetwork("kills", b.server.Addr, rtt, rate)
	if err != nil {
		return err
	}
	defer network.close()
	r, err := b.kill(ctx, network, *n, *seed)
	if err != nil {
		return err
	}
	fmt.Print(r.text())
	if r.wrong > 0 || r.failed > 0 || r.mostAgain > mostAgain {
		return fmt.Errorf("FAILED: %d wrong files, %d failed mounts and reads, %s fetched twice after one kill",
			r.wrong, r.failed, size(r.mostAgain))
	}
	fmt.Println("passed")
	return nil
}

func (r *killReport) text() string {
	return fmt.Sprintf(`%d times kill -9, %d of them before the mount served anything
%d times the mirror was complete by then, %d times it began with an empty cache
%d files read, %d with wrong bytes
%d failed mounts and reads
%d messages or pieces fetched; %d of them (%s) once more after a kill, %d in one life
  after %d kills; at most %s after one; what came at most %d ms before the kill
`, r.kills, r.early, r.complete, r.emptied, r.reads, r.wrong, r.failed, r.fetched, r.again, size(r.againBytes), r.twiceAtOnce,
		r.againKills, size(r.mostAgain), r.oldest.Milliseconds())
}

// killsJob is a short form of the command.
func (b *bench) killsJob(ctx context.Context) error {
	n := b.loopback
	r, err := b.kill(ctx, n, b.kills, 1)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d times kill -9 of a mount that mirrors and is read", r.kills)
	m := measure{}
	for _, c := range []struct {
		what string
		got  int64
		text string
		none bool
	}{
		{"files with wrong bytes", r.wrong, fmt.Sprint(r.wrong), true},
		{"failed mounts and reads", r.failed, fmt.Sprint(r.failed), true},
		{"fetched twice after one kill, at most", r.mostAgain, size(r.mostAgain), false},
	} {
		b.report.add(row{job: name, network: n, measure: m, local: true, against: against{of: c.what, got: float64(c.got), text: c.text, exactly: c.none}})
	}
	return nil
}

// kill runs the mount n times.
func (b *bench) kill(ctx context.Context, n *network, times int, seed uint64) (*killReport, error) {
	k := &killing{b: b, n: n, random: rand.New(rand.NewPCG(seed, 0)), came: map[item]arrival{}}
	var err error
	if k.dir, err = os.MkdirTemp(b.dir, "killed"); err != nil {
		return nil, err
	}
	k.cache = k.dir + ".cache"
	defer os.RemoveAll(k.cache)
	defer os.Remove(k.dir)
	defer k.unmount()
	if err := k.learn(ctx); err != nil {
		return nil, err
	}
	complete := 0
	for i := range times {
		if complete == 2 { // the second time, it began with all in the cache
			complete = 0
			k.emptied++
			clear(k.came)
			if err := os.RemoveAll(k.cache); err != nil {
				return nil, err
			}
		}
		whole, err := k.life(ctx, i)
		if err != nil {
			return nil, err
		}
		if whole {
			complete++
			k.killReport.complete++
		}
		k.kills++
		if k.kills%10 == 0 {
			progress("%d kills, %d files read, %d wrong, %d failed, %s fetched twice", k.kills, k.reads.Load(), k.wrong.Load(), k.failed.Load(), size(k.againBytes))
		}
	}
	if err := k.all(ctx); err != nil {
		return nil, err
	}
	r := k.killReport
	r.reads, r.wrong, r.failed = k.reads.Load(), k.wrong.Load(), k.failed.Load()
	return &r, nil
}

// learn reads all files through a mount that keeps nothing, and finds out how
// long a mirror takes.
func (k *killing) learn(ctx context.Context) error {
	m, err := k.b.remount(ctx, k.n, "INBOX", k.cache, "--disk-cache-size", "0")
	if err != nil {
		return err
	}
	k.want = map[string][sha256.Size]byte{}
	err = filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path = strings.TrimPrefix(path, m.dir+"/")
		k.want[path] = sha256.Sum256(text)
		k.paths = append(k.paths, path)
		return ctx.Err()
	})
	if err := errors.Join(err, m.close()); err != nil {
		return err
	}
	took, err := k.b.onRemount(ctx, k.n, "INBOX", k.cache, mirrorFlags, func(m *mount) error { return m.mirrored(ctx) })
	k.mirror = took.time
	progress("%d messages, %d files; a mirror takes %s", len(k.b.inbox), len(k.paths), seconds(took.time))
	return errors.Join(err, os.RemoveAll(k.cache))
}

// unmount takes away what a killed process has left.
func (k *killing) unmount() {
	exec.Command("fusermount3", "-u", "-z", k.dir).Run()
}

// life mounts, reads, and kills at a random moment: of four times once while
// the mount begins. It tells whether the mirror was complete by then.
func (k *killing) life(ctx context.Context, i int) (complete bool, err error) {
	until := k.mirror + k.mirror/5
	if i%4 == 0 {
		until = k.mirror / 8
	}
	until = time.Duration(k.random.Int64N(int64(until)))
	flags := append([]string{"--cache-size", "4M"}, mirrorFlags...)
	if i%2 == 0 {
		k.unmount()
	} else {
		flags = append(flags, "--force-unmount")
	}
	k.n.relay.reset()
	m, err := beginMount(k.b.mountCommand(k.n, "INBOX", k.cache, k.dir, flags...), k.dir, mounted)
	if err != nil {
		return false, err
	}
	var killed atomic.Bool
	var at time.Time // of the kill
	timer := time.NewTimer(until)
	defer timer.Stop()
	var readers sync.WaitGroup
	read := func(f func(*rand.Rand)) {
		r := rand.New(rand.NewPCG(k.random.Uint64(), 1))
		readers.Go(func() { f(r) })
	}
	ready, over := m.log.ready, false
	for !over {
		select {
		case <-ready:
			ready = nil
			read(func(r *rand.Rand) {
				for k.file(k.paths[r.IntN(len(k.paths))], &killed) {
				}
			})
			read(func(r *rand.Rand) {
				for j := r.IntN(len(k.paths)); k.file(k.paths[j], &killed); j = (j + 1) % len(k.paths) {
				}
			})
			readers.Go(func() {
				for !complete && !killed.Load() && pause(ctx, 20*time.Millisecond) {
					complete, _ = m.mirrorNow()
				}
			})
		case <-m.exited:
			k.failed.Add(1)
			progress("imapfs has ended by itself: %v: %s", m.err, m.log)
			killed.Store(true)
			over = true
		case <-timer.C:
			at, over = time.Now(), true
			killed.Store(true)
			m.cmd.Process.Kill()
		case <-ctx.Done():
			killed.Store(true)
			m.cmd.Process.Kill()
			readers.Wait()
			return false, ctx.Err()
		}
	}
	k.ended(m)
	readers.Wait()
	if ready != nil {
		k.early++
	}
	if err := k.n.relay.unused(ctx); err != nil {
		return false, err
	}
	k.arrived(i, at)
	return complete, nil
}

// ended waits for the end of a process that was killed, and looks at what it has
// said.
func (k *killing) ended(m *mount) {
	select {
	case <-m.exited:
	case <-time.After(20 * time.Second):
		k.failed.Add(1)
		progress("kill -9 does not end imapfs")
		syscall.Unmount(k.dir, syscall.MNT_FORCE) // which ends all requests
		<-m.exited
	}
	for line := range strings.Lines(m.log.String()) {
		if !strings.HasPrefix(line, mounted) && !strings.HasPrefix(line, "imapfs: mirror") && !strings.Contains(line, "is not encrypted") {
			k.failed.Add(1)
			progress("imapfs says: %s", strings.TrimSpace(line))
		}
	}
}

// file reads one file, and tells whether to go on.
func (k *killing) file(path string, killed *atomic.Bool) bool {
	text, err := os.ReadFile(filepath.Join(k.dir, path))
	if err != nil {
		if !killed.Load() {
			k.failed.Add(1)
			progress("%s: %v", path, err)
		}
		return false
	}
	k.reads.Add(1)
	if sha256.Sum256(text) != k.want[path] {
		k.wrong.Add(1)
		progress("WRONG BYTES in %s, of which there are %d", path, len(text))
	}
	return !killed.Load()
}

// arrived looks for what was fetched in an earlier life too.
func (k *killing) arrived(life int, killed time.Time) {
	var again int64
	for _, b := range k.n.relay.snapshot().bodies {
		if b.at.After(killed) {
			continue // nobody was there any more
		}
		k.fetched++
		it := item{b.uid, b.item}
		if before, ok := k.came[it]; ok && before.life == life {
			if b.bytes > before.bytes {
				continue // a reader took the start, before it was known how large it is
			}
			k.twiceAtOnce++
			progress("message %d, %s: fetched twice in one life, %d bytes", b.uid, b.item, b.bytes)
		} else if ok {
			k.again++
			again += b.bytes
			k.oldest = max(k.oldest, before.before)
		}
		k.came[it] = arrival{life, killed.Sub(b.at), b.bytes}
	}
	k.againBytes += again
	k.mostAgain = max(k.mostAgain, again)
	if again > 0 {
		k.againKills++
	}
}

// all waits for a whole mirror after the last kill, and reads everything.
func (k *killing) all(ctx context.Context) error {
	k.unmount()
	_, err := k.b.onRemount(ctx, k.n, "INBOX", k.cache, mirrorFlags, func(m *mount) error {
		if err := m.mirrored(ctx); err != nil {
			return err
		}
		k.n.relay.reset()
		dir := k.dir
		k.dir = m.dir
		defer func() { k.dir = dir }()
		for _, path := range k.paths {
			if !k.file(path, new(atomic.Bool)) {
				break
			}
		}
		if got := k.n.relay.snapshot().bodyBytes; got > 0 {
			k.failed.Add(1)
			progress("the mirror was said to be complete, and %s were fetched to read it", size(got))
		}
		return ctx.Err()
	})
	return err
}
