package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapfs/mail"
)

// firstLsJob counts from the start of the process: a new user's first look.
func (b *bench) firstLsJob(ctx context.Context) error {
	n := b.near
	m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
		out, _, err := command(ctx, m.dir, "ls", "Big")
		result := n.measured(time.Since(m.began))
		if err != nil {
			return measure{}, err
		}
		return result, b.listsBig(out)
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("start and first ls of %d messages", b.big)
	b.row(name, n, m, roundTrips(m, 5))
	b.row(name, n, m, inSeconds(m, 0.5))
	return nil
}

// listsBig checks what ls prints of Big.
func (b *bench) listsBig(out []byte) error {
	var want []string
	for uid := range b.big {
		want = append(want, strconv.Itoa(uid+1))
	}
	slices.Sort(want)
	return sameLines(sortedLines(out), want)
}

// namedJob lists a folder by date, sender and subject: at first, and from what is kept.
func (b *bench) namedJob(ctx context.Context) error {
	n := b.near
	flags := []string{"--names", "subject"}
	cache, err := os.MkdirTemp(b.dir, "cache")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	list := func(m *mount) error {
		out, _, err := command(ctx, m.dir, "ls", "Big")
		if err != nil {
			return err
		}
		var numbers []byte
		for line := range bytes.Lines(out) {
			uid, ok := mail.ParseName(strings.TrimSuffix(string(line), "\n"))
			if !ok || len(line) < len("2006-01-02 x, x [1]") {
				return fmt.Errorf("ls printed %q", line)
			}
			numbers = append(numbers, mail.Number(uid)+"\n"...)
		}
		return b.listsBig(numbers)
	}
	for _, c := range []struct {
		name  string
		limit int
	}{{"start and first ls of %d messages by name", 40}, {"remount and ls of %d messages by name", 4}} {
		m, err := b.onRemount(ctx, n, "", cache, flags, list)
		if err != nil {
			return err
		}
		b.row(fmt.Sprintf(c.name, b.big), n, m, roundTrips(m, c.limit))
	}
	return nil
}

// foldersJob looks at many folders into which nobody has looked.
func (b *bench) foldersJob(ctx context.Context) error {
	const many = 500
	client, err := newClient(b.server.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	for i := range many {
		folder := fmt.Sprintf("Many/%d", i)
		if err := client.Create(folder, nil).Wait(); err != nil {
			return err
		}
		defer func() { client.Delete(folder).Wait() }()
		if _, err := appendTo(client, folder, []byte("Subject: one\r\n\r\nOne of many.\r\n")); err != nil {
			return err
		}
	}
	n := b.near
	m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
		if err := prepare(ctx, n, m, "ls"); err != nil {
			return measure{}, err
		}
		out, took, err := command(ctx, m.dir, "ls", "-l", "Many")
		if n := bytes.Count(out, []byte("\n")); err == nil && n != many+1 {
			return measure{}, fmt.Errorf("ls -l printed %d lines, not %d", n, many+1)
		}
		return n.measured(took), err
	})
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("first ls -l of %d folders", many), n, m, roundTrips(m, 3))
	return nil
}

// findAttachmentsJob looks for attachments by name: the parts of all messages are asked for.
func (b *bench) findAttachmentsJob(ctx context.Context) error {
	for _, c := range []struct{ folder, what string }{
		{"INBOX", fmt.Sprintf("first find -name '*.pdf' in %d messages", len(b.inbox))},
		{"Big", fmt.Sprintf("first find -name '*.pdf' in %d messages", b.big)},
	} {
		n := b.near
		m, err := b.onMount(ctx, n, nil, func(m *mount) (measure, error) {
			_, took, err := command(ctx, m.dir, "find", c.folder, "-name", "*.pdf")
			return n.measured(took), err
		})
		if err != nil {
			return err
		}
		b.row(c.what, n, m, against{})
	}
	return nil
}

func (b *bench) firstLsLongJob(ctx context.Context) error {
	list := func(dir, folder string) (time.Duration, error) {
		out, took, err := command(ctx, dir, "ls", "-l", folder)
		if n := bytes.Count(out, []byte("\n")); err == nil && n != b.big+1 {
			return 0, fmt.Errorf("ls -l printed %d lines, not %d", n, b.big+1)
		}
		return took, err
	}
	memory, err := repeat(b.repeats, func() (measure, error) {
		return b.onMemory(ctx, strconv.Itoa(b.big), func(dir string) (time.Duration, error) { return list(dir, ".") })
	})
	if err != nil {
		return err
	}
	n := b.loopback
	m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
		took, err := list(m.dir, "Big")
		return n.measured(took), err
	})
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("first ls -l of %d messages", b.big), n, m, times("tree in memory", m, memory, 1.3))
	return nil
}
