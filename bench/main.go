// Bench measures imapfs against other ways to read the same mail, and prints
// what they took. It builds and starts all it needs, but for Dovecot, mbsync, notmuch and mu.
//
//	go run ./bench          all of it, about 10 minutes; writes bench/RESULTS.md
//	go run ./bench -short   a small form of it, below a minute
//	go run ./bench -only RE only the jobs whose names match
//	go run ./bench -v       show the IMAP commands too
//	go run ./bench soak     10 minutes of reading, delivering and deleting while
//	                        the line and the server fail; -minutes N for longer
//	go run ./bench kills    kill -9 a mount that mirrors and is read, 200 times;
//	                        -n N for another number
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"imapfs/internal/dovecot"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == serveTree {
		exit(memoryTree(os.Args[2], os.Args[3]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "soak" {
		exit(soak(ctx, os.Args[2:]))
	}
	run := measureAll
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "kills" {
		run, args = kills, args[1:]
	}
	err := run(ctx, args)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// sizes of what is measured.
type sizes struct {
	corpus  int // messages of INBOX; 0 for all
	big     int // messages of the folder Big
	large   int // bytes of the attachment in the folder Large
	random  int // bodies that are read at random
	repeats int // of a job that is short enough
	walks   int // of a warm tree
	kills   int // of a mount with a mirror
}

var (
	fullSizes  = sizes{corpus: 0, big: 100_000, large: 50_000_000, random: 200, repeats: 3, walks: 5, kills: 10}
	shortSizes = sizes{corpus: 300, big: 2_000, large: 12_000_000, random: 100, repeats: 1, walks: 1, kills: 5}
)

// bench is one run.
type bench struct {
	sizes
	module string // directory of the module
	dir    string // temporary
	imapfs string // the program
	server *dovecot.Server

	loopback, near, far   *network
	packedNear, packedFar *network // the server offers COMPRESS=DEFLATE
	networks              []*network

	inbox   [][]byte // the messages of INBOX; UIDs count from 1
	content []byte   // of the attachment in Large
	plain   string   // INBOX as plain files, once plainTree has made it
	grepped []string // what grep prints there

	measured map[string]any // what others are compared with, see once
	report   report
}

// measureAll is the command without a name: it runs the jobs.
func measureAll(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	short := flags.Bool("short", false, "run a small form, to see that everything works")
	only := regexp.MustCompile("")
	flags.TextVar(only, "only", only, "run only the jobs whose names match this regular expression")
	verbose := flags.Bool("v", false, "show the IMAP commands of each row")
	flags.Parse(args)
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: no arguments wanted, got %q\n", flags.Args())
		os.Exit(2)
	}
	began := time.Now()
	b := &bench{sizes: fullSizes, measured: map[string]any{}, report: report{verbose: *verbose}}
	if *short {
		b.sizes = shortSizes
	}
	for program, debian := range map[string]string{"mbsync": "isync", "notmuch": "notmuch", "mu": "maildir-utils"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed (Debian: %s)", program, debian)
		}
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, serverOptions); err != nil {
		return err
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	failed := b.runJobs(ctx, only)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := b.report.text(b, machine(ctx), time.Since(began))
	fmt.Print(text)
	if failed != nil || *short || only.String() != "" {
		return failed
	}
	return os.WriteFile(filepath.Join(b.module, "bench", "RESULTS.md"), []byte(text), 0o644)
}

func (b *bench) runJob(ctx context.Context, j job) error {
	if j.compares {
		if err := b.plainTree(ctx); err != nil {
			return err
		}
	}
	return j.run(ctx)
}

// packingAddress is where the same server offers COMPRESS=DEFLATE too.
const packingAddress = "127.0.0.2"

const serverOptions = `
mail_max_userip_connections = 100
listen = 127.0.0.1, ` + packingAddress + `
local ` + packingAddress + ` {` + dovecot.Compress + `}
`

// start builds imapfs in a temporary directory, and starts Dovecot. What it has
// begun close ends, also after an error.
func (b *bench) start(ctx context.Context, options string, buildFlags ...string) error {
	if _, err := dovecot.Binary(); err != nil {
		return err
	}
	progress("building imapfs, filling Dovecot")
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %v", err)
	}
	b.module = filepath.Dir(strings.TrimSpace(string(gomod)))
	if b.dir, err = os.MkdirTemp("", "imapfs-bench"); err != nil {
		return err
	}
	b.imapfs = filepath.Join(b.dir, "imapfs")
	build := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", b.imapfs}, buildFlags, []string{"."})...)
	build.Dir = b.module
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v\n%s", err, out)
	}
	b.server, err = dovecot.Run(dovecot.Options{Extra: options})
	return err
}

func (b *bench) close() (err error) {
	for _, n := range b.networks {
		n.close()
	}
	if b.server != nil {
		err = b.server.Close()
	}
	os.RemoveAll(b.dir)
	return err
}

// connect makes the networks of the jobs.
func (b *bench) connect() error {
	_, port, _ := net.SplitHostPort(b.server.Addr)
	packing := net.JoinHostPort(packingAddress, port)
	const ms = time.Millisecond
	var errs [5]error
	b.loopback, errs[0] = b.newNetwork("loopback", b.server.Addr, 0, 0)
	b.near, errs[1] = b.newNetwork("40 ms, 100 Mbit/s", b.server.Addr, 40*ms, 12_500)
	b.far, errs[2] = b.newNetwork("150 ms, 20 Mbit/s", b.server.Addr, 150*ms, 2_500)
	b.packedNear, errs[3] = b.newNetwork("40 ms, 100 Mbit/s, COMPRESS", packing, 40*ms, 12_500)
	b.packedFar, errs[4] = b.newNetwork("150 ms, 20 Mbit/s, COMPRESS", packing, 150*ms, 2_500)
	return errors.Join(errs[:]...)
}

// runJobs runs the jobs that match. One that fails does not keep the others from
// being measured.
func (b *bench) runJobs(ctx context.Context, only *regexp.Regexp) error {
	var failed []error
	for _, j := range b.jobs() {
		if ctx.Err() != nil || !only.MatchString(j.name) {
			continue
		}
		progress("%s", j.name)
		if err := b.runJob(ctx, j); err != nil && ctx.Err() == nil {
			failed = append(failed, fmt.Errorf("%s: %w", j.name, err))
			progress("%s: %v", j.name, err)
		}
	}
	return errors.Join(failed...)
}

// Messages of the small folders.
const (
	neverMessages = 5
	rmMessages    = 5
	awayMessages  = 300 // more come and go
	newsMessages  = 20
)

// fill puts the mail into Dovecot and reads it once, so that Dovecot has its
// index ready for everybody.
func (b *bench) fill(ctx context.Context) error {
	var err error
	if b.inbox, err = readCorpus(b.module, b.corpus); err != nil {
		return err
	}
	var large []byte
	large, b.content = largeMessage(b.large)
	const listed, all = "RFC822.SIZE INTERNALDATE FLAGS", "RFC822.SIZE INTERNALDATE FLAGS BODYSTRUCTURE"
	for _, f := range []struct {
		name     string
		n        int
		messages iter.Seq[[]byte]
		read     []string // FETCH items
	}{
		{"INBOX", len(b.inbox), slices.Values(b.inbox), []string{all, "BODY.PEEK[]"}},
		{"Big", b.big, smallMessages(b.big), []string{listed}},
		{"Large", 1, slices.Values([][]byte{large}), []string{all}},
		{"Rm", rmMessages, smallMessages(rmMessages), []string{all}},
		{"Never", neverMessages, smallMessages(neverMessages), []string{all}},
		{"Away", awayMessages, smallMessages(awayMessages), []string{all}},
		{"News", newsMessages, smallMessages(newsMessages), []string{all}},
	} {
		if err := b.server.DeliverTo(f.name, f.messages); err != nil {
			return err
		}
		if err := b.readOnce(ctx, f.name, f.n, f.read); err != nil {
			return err
		}
	}
	return nil
}

// readOnce reads items of all messages of a folder, of which there are to be n.
func (b *bench) readOnce(ctx context.Context, folder string, n int, items []string) error {
	w, err := dialWire(b.server.Addr)
	if err != nil {
		return err
	}
	defer w.close()
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	for _, i := range items {
		got, err := w.fetch(folder, i)
		if err != nil {
			return err
		}
		if got != n {
			return fmt.Errorf("the server has %d messages in %s, not %d", got, folder, n)
		}
	}
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
