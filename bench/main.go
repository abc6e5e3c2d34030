// Bench measures imapfs against other ways to read the same mail, and prints
// one table. It builds and starts all it needs, but for Dovecot and mbsync.
//
//	go run ./bench          all of it, about 10 minutes; writes bench/RESULTS.md
//	go run ./bench -short   a small form of it, below a minute
//	go run ./bench -only RE only the jobs whose names match
//	go run ./bench -v       show the IMAP commands too
//	go run ./bench profile  a CPU profile of imapfs during the first grep -r
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context, []string) error{
		"soak": soak, "kills": kills, "profile": profile, serveTree: memoryTree,
	}
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		exit(interrupted(ctx, commands[os.Args[1]](ctx, os.Args[2:])))
	}
	short := flag.Bool("short", false, "run a small form, to see that everything works")
	only := flag.String("only", "", "run only the jobs whose names match this regular expression")
	verbose := flag.Bool("v", false, "show the IMAP commands of each row")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: no arguments wanted, got %q\n", flag.Args())
		os.Exit(2)
	}
	filter, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: -only: %v\n", err)
		os.Exit(2)
	}
	exit(run(ctx, *short, *verbose, filter))
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

	inbox   [][]byte // the messages of INBOX; UIDs count from 1
	content []byte   // of the attachment in Large
	plain   string   // INBOX as plain files, once plainTree has made it
	grepped []string // what grep prints there

	measured map[string]measure // what others are compared with
	pulls    map[string]pull
	report   report
}

func run(ctx context.Context, short, verbose bool, filter *regexp.Regexp) (err error) {
	began := time.Now()
	b := &bench{sizes: fullSizes, measured: map[string]measure{}, pulls: map[string]pull{}, report: report{verbose: verbose}}
	if short {
		b.sizes = shortSizes
	}
	if err := checkTools(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, serverOptions); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(b.server.Addr)
	packing := net.JoinHostPort(packingAddress, port)
	if err := b.fill(ctx); err != nil {
		return interrupted(ctx, err)
	}
	for _, n := range []struct {
		to     **network
		name   string
		server string
		rtt    time.Duration
		rate   int // kB/s
	}{
		{&b.loopback, "loopback", b.server.Addr, 0, 0},
		{&b.near, "40 ms, 100 Mbit/s", b.server.Addr, 40 * time.Millisecond, 12_500},
		{&b.far, "150 ms, 20 Mbit/s", b.server.Addr, 150 * time.Millisecond, 2_500},
		{&b.packedNear, "40 ms, 100 Mbit/s, COMPRESS", packing, 40 * time.Millisecond, 12_500},
		{&b.packedFar, "150 ms, 20 Mbit/s, COMPRESS", packing, 150 * time.Millisecond, 2_500},
	} {
		if *n.to, err = newNetwork(n.name, n.server, n.rtt, n.rate); err != nil {
			return err
		}
		defer (*n.to).close()
	}

	// A job that fails does not keep the others from being measured.
	var failed []error
	for _, j := range b.jobs() {
		if !filter.MatchString(j.name) {
			continue
		}
		progress("%s", j.name)
		if err := j.run(ctx); err != nil {
			if ctx.Err() != nil {
				return interrupted(ctx, err)
			}
			failed = append(failed, fmt.Errorf("%s: %w", j.name, err))
			progress("%s: %v", j.name, err)
		}
	}
	text := b.report.text(b, machine(ctx), time.Since(began))
	fmt.Print(text)
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if short || filter.String() != "" {
		return nil
	}
	return os.WriteFile(filepath.Join(b.module, "bench", "RESULTS.md"), []byte(text), 0o644)
}

// packingAddress is where the same server offers COMPRESS=DEFLATE too.
const packingAddress = "127.0.0.2"

const serverOptions = `
mail_max_userip_connections = 100
listen = 127.0.0.1, ` + packingAddress + `
local ` + packingAddress + ` {` + dovecot.Compress + `}
`

// moreConnections are those of many mounts one after the other: Dovecot sees
// some time later only that a killed one has gone.
const moreConnections = "mail_max_userip_connections = 1000"

// start builds imapfs in a temporary directory, and starts Dovecot. The caller
// has to close b, also after an error.
func (b *bench) start(ctx context.Context, serverOptions string, flags ...string) error {
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
	build := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", b.imapfs}, flags, []string{"."})...)
	build.Dir = b.module
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %v\n%s", err, out)
	}
	b.server, err = dovecot.Run(dovecot.Options{Extra: serverOptions})
	return err
}

// close ends what start has begun.
func (b *bench) close() (err error) {
	if b.server != nil && b.server.Server != nil {
		err = b.server.Close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// interrupted is the error of what ended because of Ctrl-C.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func checkTools() error {
	if _, err := dovecot.Binary(); err != nil {
		return err
	}
	if _, err := exec.LookPath("mbsync"); err != nil {
		return errors.New("mbsync is not installed (Debian: isync)")
	}
	return nil
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
	const all = "RFC822.SIZE INTERNALDATE FLAGS BODYSTRUCTURE"
	folders := []struct {
		name     string
		messages iter.Seq[[]byte]
		n        int
		items    []string // what the index is to have
	}{
		{"INBOX", slices.Values(b.inbox), len(b.inbox), []string{all, "BODY.PEEK[]"}},
		{"Big", smallMessages(b.big), b.big, []string{"RFC822.SIZE INTERNALDATE FLAGS"}},
		{"Large", slices.Values([][]byte{large}), 1, []string{all}},
		{"Rm", smallMessages(rmMessages), rmMessages, []string{all}},
		{"Never", smallMessages(neverMessages), neverMessages, []string{all}},
		{"Away", smallMessages(awayMessages), awayMessages, []string{all}},
		{"News", smallMessages(newsMessages), newsMessages, []string{all}},
	}
	for _, f := range folders {
		if err := b.server.DeliverTo(f.name, f.messages); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	w, err := dialWire(b.server.Addr)
	if err != nil {
		return err
	}
	defer w.close()
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	for _, f := range folders {
		for _, items := range f.items {
			n, err := w.fetch(f.name, items)
			if err != nil {
				return err
			}
			if n != f.n {
				return fmt.Errorf("the server has %d messages in %s, not %d", n, f.name, f.n)
			}
		}
	}
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
