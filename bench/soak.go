package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	soakTimeout  = 5 * time.Second // --timeout
	soakHang     = soakTimeout + 10*time.Second
	soakMessages = 200 // more than these are deleted
	soakCache    = "32M"
)

// soaking is one run of `bench soak`.
type soaking struct {
	*bench
	proxy *toxiproxy.Proxy
	mnt   *mount
	seed  uint64

	reads, errors, wrong, hangs, faults atomic.Int64

	mu        sync.Mutex
	calls     map[int]time.Time // system calls under way, by worker
	delivered map[imap.UID]bool // what the server has confirmed
	deleted   map[imap.UID]bool // false: the deletion failed, so nobody knows

	filing filing

	socket  string // of the mount, which tells of itself there (commands/soak_metrics.go)
	samples []sample
}

// soak runs readers, a writer, a deleter and faults for some minutes.
func soak(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench soak", flag.ExitOnError)
	minutes := flags.Float64("minutes", 10, "how long")
	seed := flags.Uint64("seed", 1, "for all that is random")
	flags.Parse(args)

	s := &soaking{bench: &bench{}, seed: *seed, calls: map[int]time.Time{}, delivered: map[imap.UID]bool{}, deleted: map[imap.UID]bool{}}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.start(ctx, "mail_max_userip_connections = 1000", "-tags", "soak"); err != nil {
		return err
	}
	if err := s.deliver(); err != nil {
		return err
	}
	s.proxy = newProxy("soak", s.server.Addr)
	if err := s.proxy.Start(); err != nil {
		return err
	}
	defer s.proxy.Stop()
	if err := s.startImapfs(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.mnt.close()) }()
	limited, cancel := context.WithTimeout(ctx, time.Duration(*minutes*float64(time.Minute)))
	defer cancel()
	s.work(limited)
	return s.verdict()
}

// deliver fills INBOX, and Large with two large attachments.
func (s *soaking) deliver() error {
	var mail [][]byte
	for i := range soakMessages {
		mail = append(mail, soakMessage(i, 3))
		s.delivered[imap.UID(i+1)] = true
	}
	large := [][]byte{soakMessage(1_000_000, 2500), soakMessage(1_000_001, 1500)}
	return errors.Join(s.deliverFiled(), s.server.DeliverTo("INBOX", slices.Values(mail)), s.server.DeliverTo("Large", slices.Values(large)))
}

func (s *soaking) startImapfs(ctx context.Context) error {
	dir, err := os.MkdirTemp(s.dir, "mount")
	if err != nil {
		return err
	}
	s.socket = filepath.Join(s.dir, "socket")
	cmd := s.mountCommand(s.proxy.Listen, "", dir+".cache", dir, "--timeout", soakTimeout.String(), "--poll", "1s", "--cache-size", soakCache)
	cmd.Env = append(cmd.Env, "IMAPFS_SOAK="+s.socket)
	s.mnt, err = startMount(ctx, cmd, dir, mounted)
	return err
}

// work has all workers work until the context ends.
func (s *soaking) work(ctx context.Context) {
	var workers sync.WaitGroup
	for i, f := range []func(ctx context.Context, worker int, r *rand.Rand){
		s.walk, s.random, s.large, s.stat,
		s.walk, s.random, s.large, s.stat,
		s.write, s.delete, s.move, s.add, s.disturb,
	} {
		workers.Go(func() { f(ctx, i, rand.New(rand.NewPCG(s.seed, uint64(i)))) })
	}
	s.watch(ctx)
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(2 * soakHang):
		s.hangs.Add(1)
		progress("a worker hangs")
		s.mnt.cmd.Process.Kill() // which ends its system calls
		<-ended
	}
}

// call runs a system call on the mount and looks how long it takes.
func (s *soaking) call(worker int, f func() error) error {
	began := time.Now()
	s.mu.Lock()
	s.calls[worker] = began
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	delete(s.calls, worker)
	s.mu.Unlock()
	if took := time.Since(began); took > soakHang {
		s.hangs.Add(1)
		progress("a system call took %v", took.Round(time.Second))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // another worker deletes
		s.errors.Add(1)
	}
	return err
}

// list returns the paths in a directory: a folder's messages, or attachments.
func (s *soaking) list(worker int, dir ...string) (list []string) {
	path := filepath.Join(dir...)
	s.call(worker, func() error {
		entries, err := os.ReadDir(path)
		for _, e := range entries {
			list = append(list, filepath.Join(path, e.Name()))
		}
		return err
	})
	return list
}

// file reads one file and checks what it says of itself.
func (s *soaking) file(worker int, path string) {
	var got []byte
	if s.call(worker, func() (err error) { got, err = os.ReadFile(path); return err }) != nil {
		return
	}
	s.reads.Add(1)
	var err error
	switch filepath.Base(path) {
	case "headers.txt":
		err = checkHeaders(got)
	case "body.txt":
		err = checkBody(got)
	default:
		err = checkBlocks(filepath.Base(path), got, 0, true)
	}
	s.check(path, err)
}

func (s *soaking) check(path string, err error) {
	if err != nil {
		s.wrong.Add(1)
		progress("WRONG BYTES in %s: %v", strings.TrimPrefix(path, s.mnt.dir), err)
	}
}

// message reads all files of a message.
func (s *soaking) message(worker int, dir string) {
	s.file(worker, filepath.Join(dir, "headers.txt"))
	s.file(worker, filepath.Join(dir, "body.txt"))
	for _, name := range s.list(worker, dir, "attachments") {
		s.file(worker, name)
	}
}

// walk reads everything of INBOX in order, again and again.
func (s *soaking) walk(ctx context.Context, worker int, _ *rand.Rand) {
	for pause(ctx, 50*time.Millisecond) {
		for _, dir := range s.list(worker, s.mnt.dir, "INBOX") {
			if ctx.Err() != nil {
				return
			}
			s.message(worker, dir)
		}
	}
}

// random reads some message.
func (s *soaking) random(ctx context.Context, worker int, r *rand.Rand) {
	for pause(ctx, 10*time.Millisecond) {
		if list := s.list(worker, s.mnt.dir, "INBOX"); len(list) > 0 {
			s.message(worker, list[r.IntN(len(list))])
		}
	}
}

// large reads a large attachment from its begin, and then blocks anywhere.
func (s *soaking) large(ctx context.Context, worker int, r *rand.Rand) {
	for pause(ctx, 100*time.Millisecond) {
		for _, dir := range s.list(worker, s.mnt.dir, "Large") {
			for _, path := range s.list(worker, dir, "attachments") {
				s.file(worker, path)
				s.blocks(ctx, worker, path, r)
			}
		}
	}
}

func (s *soaking) blocks(ctx context.Context, worker int, path string, r *rand.Rand) {
	var f *os.File
	if s.call(worker, func() (err error) { f, err = os.Open(path); return err }) != nil {
		return
	}
	defer f.Close()
	buffer := make([]byte, 4*soakBlock)
	for range 20 {
		if ctx.Err() != nil {
			return
		}
		at := r.IntN(1400)
		err := s.call(worker, func() error { _, err := f.ReadAt(buffer, int64(at)*soakBlock); return err })
		if err == nil {
			s.reads.Add(1)
			s.check(path, checkBlocks(filepath.Base(path), buffer, at, false))
		}
	}
}

// stat asks for the attributes of everything.
func (s *soaking) stat(ctx context.Context, worker int, _ *rand.Rand) {
	for pause(ctx, 50*time.Millisecond) {
		for _, dir := range s.list(worker, s.mnt.dir, "INBOX") {
			for _, name := range []string{"", "headers.txt", "body.txt", "attachments"} {
				if ctx.Err() != nil {
					return
				}
				s.call(worker, func() error { _, err := os.Stat(filepath.Join(dir, name)); return err })
			}
		}
	}
}

// write delivers a message now and then, past the proxy. The server may be
// killed meanwhile: what it has not confirmed may be there or not.
func (s *soaking) write(ctx context.Context, _ int, r *rand.Rand) {
	var c *imapclient.Client
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for i := soakMessages; pause(ctx, 200*time.Millisecond); i++ {
		var err error
		if c == nil {
			if c, err = newClient(s.server.Addr); err != nil {
				continue
			}
		}
		uid, err := appendTo(c, "INBOX", soakMessage(i, 1+r.IntN(8)))
		if err != nil {
			c.Close()
			c = nil
			continue
		}
		s.mu.Lock()
		s.delivered[uid] = true
		s.mu.Unlock()
	}
}

// delete deletes messages through the mount when there are many.
func (s *soaking) delete(ctx context.Context, worker int, r *rand.Rand) {
	for pause(ctx, 100*time.Millisecond) {
		list := s.list(worker, s.mnt.dir, "INBOX")
		if len(list) <= soakMessages {
			continue
		}
		dir := list[r.IntN(len(list))]
		uid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		err = s.call(worker, func() error { return os.RemoveAll(dir) })
		s.mu.Lock()
		s.deleted[imap.UID(uid)] = err == nil
		s.mu.Unlock()
	}
}

// disturb has something fail every few seconds.
func (s *soaking) disturb(ctx context.Context, _ int, r *rand.Rand) {
	toxics := []string{
		`"type": "reset_peer", "attributes": {"timeout": 0}`,
		`"type": "timeout", "attributes": {"timeout": 0}`,
		`"type": "bandwidth", "attributes": {"rate": 20}`,
		`"type": "latency", "attributes": {"latency": 100, "jitter": 100}`,
		`"type": "limit_data", "attributes": {"bytes": 20000}`,
	}
	for pause(ctx, time.Duration(2000+r.IntN(6000))*time.Millisecond) {
		s.faults.Add(1)
		lasts := time.Duration(500+r.IntN(5500)) * time.Millisecond
		n := r.IntN(len(toxics) + 1)
		if n == len(toxics) {
			s.server.Kill()
			pause(ctx, lasts/3)
			if err := s.server.Restart(); err != nil {
				progress("the server does not restart: %v", err)
				return
			}
			continue
		}
		addToxic(s.proxy, toxics[n])
		pause(ctx, lasts)
		s.proxy.Toxics.ResetToxics(context.Background())
	}
}

// pause waits, and tells whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// verdict compares the server's messages and the memory with what they should
// be.
func (s *soaking) verdict() error {
	c, err := newClient(s.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	uids, err := allUIDs(c, "INBOX")
	if err != nil {
		return err
	}
	there := map[imap.UID]bool{}
	for _, uid := range uids {
		there[uid] = true
	}
	lost, left := 0, 0
	for uid := range s.delivered {
		done, tried := s.deleted[uid]
		switch {
		case !tried && !there[uid]:
			lost++
		case done && there[uid]:
			left++
		}
	}
	fmt.Printf("%d messages lost, %d left that were reported as deleted\n", lost, left)
	astray, twice, err := s.filedVerdict(c)
	if err != nil {
		return err
	}
	lost += astray
	grown := soakGrowth(s.samples)
	if wrong, hangs := s.wrong.Load(), s.hangs.Load(); wrong+hangs > 0 || lost+left+twice > 0 || grown != nil {
		return errors.Join(grown, fmt.Errorf("FAILED: %d wrong reads, %d hangs, %d messages lost, %d twice, %d not deleted", wrong, hangs, lost, twice, left))
	}
	fmt.Println("passed")
	return nil
}
