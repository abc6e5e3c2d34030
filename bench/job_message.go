package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// prepare runs a command on the mount, waits until all that it has started is
// over, and begins to count anew.
func prepare(ctx context.Context, n *network, m *mount, args ...string) error {
	if _, _, err := command(ctx, m.dir, args[0], args[1:]...); err != nil {
		return err
	}
	if err := n.relay.quiet(ctx); err != nil {
		return err
	}
	n.relay.reset()
	return nil
}

// catJob reads one body in a folder that nobody has used.
func (b *bench) catJob(ctx context.Context) error {
	n := b.near
	for _, j := range []struct {
		name   string
		before []string
		limit  int
	}{
		{"cat of one body, folder never used", []string{"true"}, 2},
		{"cat of one body, folder listed", []string{"ls", "Never"}, 1},
	} {
		m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
			if err := prepare(ctx, n, m, j.before...); err != nil {
				return measure{}, err
			}
			out, took, err := command(ctx, m.dir, "cat", "Never/2/body.txt")
			if err == nil && strings.Count(string(out), "no play") != 16 {
				err = fmt.Errorf("wrong body: %.100q", out)
			}
			return n.measured(took), err
		})
		if err != nil {
			return err
		}
		b.row(j.name, n, m, roundTrips(m, j.limit))
	}
	return nil
}

// catBesideJob reads a small body while a large attachment is under way.
func (b *bench) catBesideJob(ctx context.Context) error {
	uid := 1 + slices.IndexFunc(b.inbox, func(m []byte) bool { return len(m) < 10_000 })
	body := strconv.Itoa(uid) + "/body.txt"
	want, err := os.ReadFile(filepath.Join(b.plain, body))
	if err != nil {
		return err
	}
	n := b.near
	m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
		if err := prepare(ctx, n, m, "ls", "INBOX"); err != nil {
			return measure{}, err
		}
		return b.catBeside(ctx, n, m, "INBOX/"+body, want)
	})
	if err != nil {
		return err
	}
	b.row(fmt.Sprintf("cat of one body while %s are read", size(int64(b.large))), n, m, against{
		of: fmt.Sprintf("round trip (%s)", seconds(n.rtt)), got: float64(m.time) / float64(n.rtt), limit: 4,
	})
	return nil
}

// catBeside reads a file when a part of the large attachment has come.
func (b *bench) catBeside(ctx context.Context, n *network, m *mount, file string, want []byte) (measure, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var large []byte
	exited := make(chan error, 1)
	go func() {
		var err error
		large, _, err = command(reading, m.dir, "cat", "Large/1/attachments/data.bin")
		exited <- err
	}()
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := n.relay.received(waiting, 5_000_000); err != nil {
		stop()
		return measure{}, errors.Join(errors.New("the attachment does not arrive"), <-exited)
	}
	out, took, err := command(ctx, m.dir, "cat", file)
	result := n.measured(took)
	if len(exited) > 0 {
		return measure{}, errors.New("the attachment was there before the small body")
	}
	switch err := errors.Join(err, <-exited); {
	case err != nil:
		return measure{}, err
	case !bytes.Equal(out, want):
		return measure{}, fmt.Errorf("wrong body: %.100q", out)
	case !bytes.Equal(large, b.content):
		return measure{}, fmt.Errorf("wrong attachment of %d bytes", len(large))
	}
	return result, nil
}

// rmJob deletes one message that was looked at before; each time another one.
func (b *bench) rmJob(ctx context.Context) error {
	n := b.near
	uid := 0
	m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
		uid++
		if err := prepare(ctx, n, m, "ls", "-R", "Rm"); err != nil {
			return measure{}, err
		}
		_, took, err := command(ctx, m.dir, "rm", "-r", fmt.Sprintf("Rm/%d", uid))
		if err != nil {
			return measure{}, err
		}
		return n.measured(took), b.deleted(uid)
	})
	if err != nil {
		return err
	}
	b.row("rm -r of one message", n, m, roundTrips(m, 1))
	return nil
}

// deleted checks that the server has the messages of Rm but those up to uid.
func (b *bench) deleted(uid int) error {
	c, err := newClient(b.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	left, err := allUIDs(c, "Rm")
	if err == nil && (len(left) != rmMessages-uid || len(left) > 0 && left[0] != imap.UID(uid+1)) {
		err = fmt.Errorf("wrong messages are left after %d: %v", uid, left)
	}
	return err
}

// randomJob reads some bodies one after the other: nothing else is to be
// fetched for them.
func (b *bench) randomJob(ctx context.Context) error {
	random := rand.New(rand.NewPCG(1, 2))
	args := []string{}
	var own int64
	for _, i := range random.Perm(len(b.inbox))[:b.random] {
		args = append(args, strconv.Itoa(i+1)+"/body.txt")
		own += int64(len(b.inbox[i]))
	}
	want, _, err := command(ctx, b.plain, "cat", args...)
	if err != nil {
		return err
	}
	n := b.loopback
	m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
		if err := prepare(ctx, n, m, "ls", "INBOX"); err != nil {
			return measure{}, err
		}
		out, took, err := command(ctx, filepath.Join(m.dir, "INBOX"), "cat", args...)
		if err == nil && !bytes.Equal(out, want) {
			err = errors.New("wrong bodies")
		}
		return n.measured(took), err
	})
	if err != nil {
		return err
	}
	asked, err := contentAsked(m.traffic.commands, len(b.inbox))
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d bodies at random out of %d", b.random, len(b.inbox))
	b.row(name+": bytes", n, m, timesBytes("the messages", m.traffic.fromServer, own, 0))
	b.row(name+": messages fetched", n, m, exactly("as asked for", int64(asked), int64(b.random), fmt.Sprintf("%d of %d", asked, b.random)))
	return nil
}

// contentAsked counts the messages whose content was asked for, in a folder
// with UIDs from 1 to last.
func contentAsked(commands []sent, last int) (int, error) {
	asked := map[int]bool{}
	for _, s := range commands {
		c := s.command
		set, ok := strings.CutPrefix(c, "UID FETCH ")
		if !ok || !strings.Contains(c, "BODY[") && !strings.Contains(c, "BODY.PEEK[") && !strings.Contains(c, "BINARY") {
			continue
		}
		set, _, _ = strings.Cut(set, " ")
		for part := range strings.SplitSeq(set, ",") {
			from, to, ranged := strings.Cut(strings.ReplaceAll(part, "*", strconv.Itoa(last)), ":")
			if !ranged {
				to = from
			}
			first, err1 := strconv.Atoi(from)
			final, err2 := strconv.Atoi(to)
			if err := errors.Join(err1, err2); err != nil {
				return 0, fmt.Errorf("cannot read the command %q: %v", c, err)
			}
			for uid := min(first, final); uid <= min(max(first, final), last); uid++ {
				asked[uid] = true
			}
		}
	}
	return len(asked), nil
}
