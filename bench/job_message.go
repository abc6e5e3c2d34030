package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
		name  string
		ls    bool
		limit int
	}{
		{"cat of one body, folder never used", false, 2},
		{"cat of one body, folder listed", true, 1},
	} {
		m, err := b.repeatOnMount(ctx, n, func(m *mount) (measure, error) {
			before := []string{"true"}
			if j.ls {
				before = []string{"ls", "Never"}
			}
			if err := prepare(ctx, n, m, before...); err != nil {
				return measure{}, err
			}
			out, took, err := command(ctx, m.dir, "cat", "Never/2/body.txt")
			if err == nil && strings.Count(string(out), "no play") != 16 {
				err = fmt.Errorf("wrong body: %.100q", out)
			}
			return measure{time: took, traffic: n.relay.snapshot()}, err
		})
		if err != nil {
			return err
		}
		b.report.add(row{job: j.name, network: n, measure: m, against: roundTrips(m, j.limit)})
	}
	return nil
}

// catBesideJob reads a small body while a large attachment is under way.
func (b *bench) catBesideJob(ctx context.Context) error {
	if err := b.plainTree(ctx); err != nil {
		return err
	}
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
		large := exec.CommandContext(ctx, "cat", "Large/1/attachments/data.bin")
		large.Dir = m.dir
		got := &comparer{want: b.content}
		large.Stdout = got
		if err := large.Start(); err != nil {
			return measure{}, err
		}
		exited := make(chan error, 1)
		go func() { exited <- large.Wait() }()
		waiting, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		if err := n.relay.received(waiting, 5_000_000); err != nil {
			large.Process.Kill()
			return measure{}, errors.Join(errors.New("the attachment does not arrive"), <-exited)
		}
		out, took, err := command(ctx, m.dir, "cat", "INBOX/"+body)
		result := measure{time: took, traffic: n.relay.snapshot()}
		select {
		case <-exited:
			return measure{}, errors.New("the attachment was there before the small body")
		default:
		}
		if err := errors.Join(err, <-exited); err != nil {
			return measure{}, err
		}
		if !bytes.Equal(out, want) {
			return measure{}, fmt.Errorf("wrong body: %.100q", out)
		}
		return result, got.complete()
	})
	if err != nil {
		return err
	}
	b.report.add(row{
		job: fmt.Sprintf("cat of one body while %s are read", size(int64(b.large))), network: n, measure: m,
		against: against{of: fmt.Sprintf("round trip (%s)", seconds(n.rtt)), got: float64(m.time) / float64(n.rtt), limit: 4},
	})
	return nil
}

// comparer is a writer that accepts only what it wants.
type comparer struct {
	want []byte
	n    int
}

func (c *comparer) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(c.want[c.n:], p) {
		return 0, fmt.Errorf("the attachment is wrong within the %d bytes from %d on", len(p), c.n)
	}
	c.n += len(p)
	return len(p), nil
}

func (c *comparer) complete() error {
	if c.n != len(c.want) {
		return fmt.Errorf("the attachment ends after %d bytes of %d", c.n, len(c.want))
	}
	return nil
}

// rmJob deletes one message that was looked at before; each time another one.
func (b *bench) rmJob(ctx context.Context) error {
	n := b.near
	uid := 0
	m, err := repeat(b.repeats, func() (measure, error) {
		uid++
		return b.onMount(ctx, n, nil, func(m *mount) (measure, error) {
			if err := prepare(ctx, n, m, "ls", "-R", "Rm"); err != nil {
				return measure{}, err
			}
			_, took, err := command(ctx, m.dir, "rm", "-r", fmt.Sprintf("Rm/%d", uid))
			if err != nil {
				return measure{}, err
			}
			return measure{time: took, traffic: n.relay.snapshot()}, b.deleted(uid)
		})
	})
	if err != nil {
		return err
	}
	b.report.add(row{job: "rm -r of one message", network: n, measure: m, against: roundTrips(m, 1)})
	return nil
}

// deleted checks that the server has the messages of Rm but those up to uid.
func (b *bench) deleted(uid int) error {
	w, err := dialWire(b.server.Addr)
	if err != nil {
		return err
	}
	defer w.close()
	if _, err := w.do("EXAMINE Rm"); err != nil {
		return err
	}
	lines, err := w.do("UID SEARCH ALL")
	if err != nil {
		return err
	}
	want := "* SEARCH"
	for i := uid + 1; i <= rmMessages; i++ {
		want += " " + strconv.Itoa(i)
	}
	if !slices.Contains(lines, want) {
		return fmt.Errorf("wrong messages are left: %q, expected %q", lines, want)
	}
	return nil
}

// randomJob reads some bodies one after the other: nothing else is to be
// fetched for them.
func (b *bench) randomJob(ctx context.Context) error {
	if err := b.plainTree(ctx); err != nil {
		return err
	}
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
		return measure{time: took, traffic: n.relay.snapshot()}, err
	})
	if err != nil {
		return err
	}
	asked, err := contentAsked(m.traffic.commands, len(b.inbox))
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d bodies at random out of %d", b.random, len(b.inbox))
	b.report.add(row{job: name + ": bytes", network: n, measure: m, against: against{
		of: fmt.Sprintf("the messages (%s)", size(own)), got: float64(m.traffic.fromServer) / float64(own),
	}})
	b.report.add(row{job: name + ": messages fetched", network: n, measure: m, against: against{
		of: "as asked for", got: float64(asked), text: fmt.Sprintf("%d of %d", asked, b.random), limit: float64(b.random), exactly: true,
	}})
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
