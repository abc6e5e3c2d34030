package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
)

// profile is the command: it writes a CPU profile of imapfs during the first
// grep -r of a mount.
func profile(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench profile", flag.ExitOnError)
	file := flags.String("o", filepath.Join(os.TempDir(), "imapfs-cpu.pprof"), "where to write the profile")
	messages := flags.Int("messages", 0, "messages of the corpus in INBOX; 0 for all")
	flags.Parse(args)
	b := &bench{}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, serverOptions, "-tags", "soak"); err != nil {
		return err
	}
	if b.inbox, err = readCorpus(b.module, *messages); err != nil {
		return err
	}
	if err := b.server.DeliverTo("INBOX", slices.Values(b.inbox)); err != nil {
		return err
	}
	n, err := newNetwork("profile", b.server.Addr, 0, 0)
	if err != nil {
		return err
	}
	defer n.close()
	_, err = b.onMount(ctx, n, nil, func(m *mount) (measure, error) {
		stop, err := m.profile(*file)
		if err != nil {
			return measure{}, err
		}
		took, found, err := grep.run(ctx, filepath.Join(m.dir, "INBOX"), nil)
		progress("%s of %d messages: %s, %d lines", grep, len(b.inbox), seconds(took), len(found))
		return measure{}, errors.Join(err, stop())
	})
	if err != nil {
		return err
	}
	top, _, err := command(ctx, ".", "go", "tool", "pprof", "-top", "-cum", "-nodecount=40", *file)
	fmt.Printf("%s\nmore: go tool pprof %s\n", top, *file)
	return err
}

// profile begins a CPU profile of a mount's process (commands/soak_metrics.go), and returns
// what ends it and writes the file.
func (m *mount) profile(file string) (stop func() error, err error) {
	conn, err := net.Dial("unix", socket(m.dir))
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, "GET /debug/pprof/profile?seconds=3600 HTTP/1.0\r\n\r\n"); err != nil {
		return nil, err
	}
	return func() error {
		defer conn.Close()
		// Who asks has no more to say: the handler ends the profile, and answers.
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		out, err := os.Create(file)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, answer.Body)
		return errors.Join(err, out.Close())
	}, nil
}
