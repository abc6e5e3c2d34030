package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// firstLsJob counts from the start of the process: a new user's first look.
func (b *bench) firstLsJob(ctx context.Context) error {
	var want []string
	for uid := range b.big {
		want = append(want, strconv.Itoa(uid+1))
	}
	slices.Sort(want)
	n := b.near
	m, err := repeat(b.repeats, func() (measure, error) {
		n.relay.reset()
		began := time.Now()
		return b.onMount(ctx, n, nil, func(m *mount) (measure, error) {
			out, _, err := command(ctx, m.dir, "ls", "Big")
			if err != nil {
				return measure{}, err
			}
			result := measure{time: time.Since(began), traffic: n.relay.snapshot()}
			return result, sameLines(sortedLines(out), want)
		})
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("start and first ls of %d messages", b.big)
	b.report.add(row{job: name, network: n, measure: m, against: roundTrips(m, 5)})
	b.report.add(row{job: name, network: n, measure: m, against: against{of: "seconds", got: m.time.Seconds(), limit: 0.5}})
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
	m, err := repeat(b.repeats, func() (measure, error) {
		n.relay.reset()
		return b.onMount(ctx, n, nil, func(m *mount) (measure, error) {
			took, err := list(m.dir, "Big")
			return measure{time: took, traffic: n.relay.snapshot()}, err
		})
	})
	if err != nil {
		return err
	}
	b.report.add(row{job: fmt.Sprintf("first ls -l of %d messages", b.big), network: n, measure: m, against: times("tree in memory", m, memory, 1.3)})
	return nil
}
