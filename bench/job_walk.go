package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// word is what grep looks for; it is in a few hundred messages.
const word = "perl"

// walk is a program that reads a whole tree.
type walk struct {
	args []string
	// byCount: only the number of lines has to be right. ls shows sizes of
	// directories, and estimates for files.
	byCount bool
}

var (
	grep = walk{args: []string{"grep", "-r", word, "."}}
	find = walk{args: []string{"find", "."}}
	lsLR = walk{args: []string{"ls", "-lR", "."}, byCount: true}
)

func (w walk) String() string { return strings.TrimSuffix(strings.Join(w.args, " "), " .") }

// run walks a directory and compares the output with want, if that is not nil.
func (w walk) run(ctx context.Context, dir string, want []string) (time.Duration, []string, error) {
	out, took, err := command(ctx, dir, w.args[0], w.args[1:]...)
	if err != nil {
		return 0, nil, err
	}
	lines := sortedLines(out)
	switch {
	case want == nil:
	case w.byCount && len(lines) != len(want):
		return 0, nil, fmt.Errorf("%s printed %d lines, not %d", w, len(lines), len(want))
	case !w.byCount:
		if err := sameLines(lines, want); err != nil {
			return 0, nil, fmt.Errorf("%s: %w", w, err)
		}
	}
	return took, lines, nil
}

// coldGrep is the first grep -r of INBOX on a fresh mount.
func (b *bench) coldGrep(ctx context.Context, n *network, flags ...string) (measure, error) {
	return once(b, fmt.Sprint("cold grep", n.name, flags), func() (measure, error) {
		return repeat(b.repeatsOn(n), func() (measure, error) {
			// Counted from before the mount: nothing that it does by then is free.
			return b.onMount(ctx, n, flags, func(m *mount) (measure, error) {
				took, _, err := grep.run(ctx, filepath.Join(m.dir, "INBOX"), b.grepped)
				return n.measured(took), err
			})
		})
	})
}

func (b *bench) coldGrepJob(ctx context.Context) error {
	const name = "cold grep -r of INBOX"
	for _, j := range []struct {
		network, plain *network // plain: without COMPRESS
		limit          float64
	}{{b.near, b.near, 1.5}, {b.packedNear, b.near, 1.5}, {b.far, b.far, 1.2}, {b.packedFar, b.far, 1.2}} {
		raw, err := b.rawWire(ctx, j.plain)
		if err != nil {
			return err
		}
		m, err := b.coldGrep(ctx, j.network)
		if err != nil {
			return err
		}
		b.row(name, j.network, m, times("raw wire", m, raw, j.limit))
		if j.plain == b.near {
			pull, err := b.mbsync(ctx, j.plain, "yes")
			if err != nil {
				return err
			}
			b.row(name, j.network, m, times("mbsync and grep", m, pull.grepped, 0.6))
		}
		b.row(name+": bytes", j.network, m, timesBytes("raw wire", m.traffic.fromServer, raw.traffic.fromServer, 1.05))
	}
	memory, err := b.memoryGrep(ctx)
	if err != nil {
		return err
	}
	m, err := b.coldGrep(ctx, b.loopback)
	if err != nil {
		return err
	}
	b.row(name, b.loopback, m, times("tree in memory, first grep", m, memory, 1.4))
	return nil
}

// memoryGrep is the first grep -r of a tree in memory.
func (b *bench) memoryGrep(ctx context.Context) (measure, error) {
	return once(b, "memory grep", func() (measure, error) {
		return repeat(b.repeats, func() (measure, error) {
			return b.onMemory(ctx, b.plain, func(dir string) (time.Duration, error) {
				took, _, err := grep.run(ctx, dir, b.grepped)
				return took, err
			})
		})
	})
}

// again is a walk that was done twice before in the same place.
func (b *bench) again(ctx context.Context, w walk, dir string, want []string) (time.Duration, error) {
	var runs []measure
	for i := range 2 + b.walks {
		took, _, err := w.run(ctx, dir, want)
		if err != nil {
			return 0, err
		}
		if i >= 2 {
			runs = append(runs, measure{time: took})
		}
	}
	return median(runs).time, nil
}

// warmOnDisk is again in the plain files.
func (b *bench) warmOnDisk(ctx context.Context, w walk, want []string) (measure, error) {
	return once(b, "disk "+w.String(), func() (measure, error) {
		took, err := b.again(ctx, w, b.plain, want)
		return measure{time: took}, err
	})
}

// warmJob is a walk that was done twice before on the same mount.
func (b *bench) warmJob(ctx context.Context, w walk, limit float64) error {
	_, want, err := w.run(ctx, b.plain, nil)
	if err != nil {
		return err
	}
	disk, err := b.warmOnDisk(ctx, w, want)
	if err != nil {
		return err
	}
	again := func(dir string) (time.Duration, error) { return b.again(ctx, w, dir, want) }
	inMemory, err := b.onMemory(ctx, b.plain, again)
	if err != nil {
		return err
	}
	mail, err := b.onMount(ctx, b.loopback, nil, func(m *mount) (measure, error) {
		took, err := again(filepath.Join(m.dir, "INBOX"))
		return measure{time: took}, err
	})
	if err != nil {
		return err
	}
	b.localRow("warm "+w.String(), b.loopback, mail, times("disk", mail, disk, limit))
	b.localRow("warm "+w.String()+", tree in memory", nil, inMemory, times("disk", inMemory, disk, 0))
	return nil
}

func (b *bench) memoryJob(ctx context.Context) error {
	for _, flags := range [][]string{nil, {"--cache-size", "64M"}} {
		m, err := b.coldGrep(ctx, b.loopback, flags...)
		if err != nil {
			return err
		}
		name := "peak memory of a cold grep -r"
		if flags != nil {
			name += ", " + strings.Join(flags, " ")
		}
		b.row(name, b.loopback, m, against{of: "MB", got: float64(m.memory) / 1e6, text: fmt.Sprintf("%.0f", float64(m.memory)/1e6)})
	}
	return nil
}
