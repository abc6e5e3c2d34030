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
	mirror time.Duration    // start and whole mirror
	came   map[item]arrival // since the cache was empty
	killReport
}

// killReport is what the kills have led to.
type killReport struct {
	kills                int
	early                int          // before the mount served anything
	complete             int          // lives in which the mirror was complete
	emptied              int          // how often the cache was emptied
	reads, wrong, failed atomic.Int64 // failed: mounts, and reads before the kill

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
	if err := b.start(ctx, "mail_max_userip_connections = 1000"); err != nil {
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
	network, err := b.newNetwork("kills", b.server.Addr, rtt, rate)
	if err != nil {
		return err
	}
	r, err := b.kill(ctx, network, *n, *seed)
	if err != nil {
		return err
	}
	fmt.Print(r.text())
	if r.wrong.Load()+r.failed.Load() > 0 || r.mostAgain > mostAgain {
		return fmt.Errorf("FAILED: %d wrong files, %d failed mounts and reads, %s fetched twice after one kill",
			r.wrong.Load(), r.failed.Load(), size(r.mostAgain))
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
`, r.kills, r.early, r.complete, r.emptied, r.reads.Load(), r.wrong.Load(), r.failed.Load(), r.fetched, r.again, size(r.againBytes), r.twiceAtOnce,
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
	wrong, failed := r.wrong.Load(), r.failed.Load()
	b.localRow(name, n, measure{}, exactly("files with wrong bytes", wrong, 0, fmt.Sprint(wrong)))
	b.localRow(name, n, measure{}, exactly("failed mounts and reads", failed, 0, fmt.Sprint(failed)))
	b.localRow(name, n, measure{}, against{of: "fetched twice after one kill, at most", got: float64(r.mostAgain), text: size(r.mostAgain)})
	return nil
}

// kill runs the mount so many times.
func (b *bench) kill(ctx context.Context, n *network, times int, seed uint64) (*killReport, error) {
	k := &killing{b: b, n: n, random: rand.New(rand.NewPCG(seed, 0)), came: map[item]arrival{}}
	var err error
	if k.dir, err = os.MkdirTemp(b.dir, "killed"); err != nil {
		return nil, err
	}
	k.cache = k.dir + ".cache"
	defer os.RemoveAll(k.cache)
	defer os.Remove(k.dir)
	defer unmount(k.dir)
	if err := k.learn(ctx); err != nil {
		return nil, err
	}
	complete := 0
	for ; k.kills < times; k.kills++ {
		if complete == 2 { // the second time, it began with all in the cache
			complete = 0
			k.emptied++
			clear(k.came)
			if err := os.RemoveAll(k.cache); err != nil {
				return nil, err
			}
		}
		whole, err := k.live(ctx)
		if err != nil {
			return nil, err
		}
		if whole {
			complete++
			k.complete++
		}
		if (k.kills+1)%10 == 0 {
			progress("%d kills, %d files read, %d wrong, %d failed, %s fetched twice", k.kills+1, k.reads.Load(), k.wrong.Load(), k.failed.Load(), size(k.againBytes))
		}
	}
	return &k.killReport, k.all(ctx)
}

// learn reads all files through a mount that keeps nothing, and finds out how
// long a mirror takes.
func (k *killing) learn(ctx context.Context) error {
	m, err := k.b.mount(ctx, k.n, "INBOX", k.cache, "--disk-cache-size", "0")
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

// life is one mount, from its start to its kill.
type life struct {
	*killing
	m        *mount
	killed   atomic.Bool // or about to be
	served   bool
	complete bool // the mirror
	readers  sync.WaitGroup
}

// live mounts, reads, and kills at a random moment: of four times once while
// the mount begins. It tells whether the mirror was complete by then.
func (k *killing) live(ctx context.Context) (complete bool, err error) {
	until := k.mirror + k.mirror/5
	if k.kills%4 == 0 {
		until = k.mirror / 8
	}
	until = time.Duration(k.random.Int64N(int64(until)))
	flags := append([]string{"--cache-size", "4M"}, mirrorFlags...)
	if k.kills%2 == 0 {
		unmount(k.dir)
	} else {
		flags = append(flags, "--force-unmount")
	}
	k.n.relay.reset()
	m, err := beginMount(k.b.mountCommand(k.n.relay.addr, "INBOX", k.cache, k.dir, flags...), k.dir, mounted)
	if err != nil {
		return false, err
	}
	l := &life{killing: k, m: m}
	at := l.readUntil(ctx, time.After(until))
	l.end()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if !l.served {
		k.early++
	}
	k.complaints(m.log)
	if err := k.n.relay.unused(ctx); err != nil {
		return false, err
	}
	k.arrived(at)
	return l.complete, nil
}

// readUntil has the mount read as soon as it serves, and kills it at that time.
// It returns when that was; zero if the mount has ended by itself.
func (l *life) readUntil(ctx context.Context, end <-chan time.Time) (at time.Time) {
	defer l.killed.Store(true)
	ready := l.m.ready
	for {
		select {
		case <-ready:
			ready, l.served = nil, true
			l.read(ctx)
			continue
		case <-l.m.exited:
			l.failed.Add(1)
			progress("imapfs has ended by itself: %v: %s", l.m.err, l.m.log)
			return at
		case <-end:
			at = time.Now()
		case <-ctx.Done():
		}
		l.killed.Store(true) // before any reader sees it
		l.m.cmd.Process.Kill()
		return at
	}
}

// read starts who reads at random, who reads in order, and who looks at the
// mirror.
func (l *life) read(ctx context.Context) {
	random := rand.New(rand.NewPCG(l.random.Uint64(), 1))
	first := rand.New(rand.NewPCG(l.random.Uint64(), 1)).IntN(len(l.paths))
	l.readers.Go(func() {
		for l.file(l.paths[random.IntN(len(l.paths))], &l.killed) {
		}
	})
	l.readers.Go(func() {
		for i := first; l.file(l.paths[i], &l.killed); i = (i + 1) % len(l.paths) {
		}
	})
	l.readers.Go(func() {
		for !l.complete && !l.killed.Load() && pause(ctx, 20*time.Millisecond) {
			l.complete, _ = l.m.mirrorNow()
		}
	})
}

// end waits until the process and all readers have ended.
func (l *life) end() {
	select {
	case <-l.m.exited:
	case <-time.After(20 * time.Second):
		l.failed.Add(1)
		progress("kill -9 does not end imapfs")
		syscall.Unmount(l.dir, syscall.MNT_FORCE) // which ends all requests
		<-l.m.exited
	}
	l.readers.Wait()
}

// complaints looks for what imapfs should have no reason to say.
func (k *killing) complaints(log string) {
	for line := range strings.Lines(log) {
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
func (k *killing) arrived(killed time.Time) {
	var again int64
	for _, b := range k.n.relay.snapshot().bodies {
		if b.at.After(killed) {
			continue // nobody was there any more
		}
		k.fetched++
		it := item{b.uid, b.item}
		if before, ok := k.came[it]; ok && before.life == k.kills {
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
		k.came[it] = arrival{k.kills, killed.Sub(b.at), b.bytes}
	}
	k.againBytes += again
	k.mostAgain = max(k.mostAgain, again)
	if again > 0 {
		k.againKills++
	}
}

// all waits for a whole mirror after the last kill, and reads everything.
func (k *killing) all(ctx context.Context) error {
	unmount(k.dir)
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
