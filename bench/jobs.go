package main

import (
	"context"
	"errors"
	"time"
)

// job measures something and adds its rows to the report.
type job struct {
	name string
	run  func(context.Context) error
}

func (b *bench) jobs() []job {
	return []job{
		{"raw wire", b.rawWireJob},
		{"mbsync", b.mbsyncJob},
		{"cold grep", b.coldGrepJob},
		{"warm grep", func(ctx context.Context) error { return b.warmJob(ctx, grep, 5) }},
		{"warm find", func(ctx context.Context) error { return b.warmJob(ctx, find, 1) }},
		{"warm ls -lR", func(ctx context.Context) error { return b.warmJob(ctx, lsLR, 1) }},
		{"first ls of Big", b.firstLsJob},
		{"first ls -l of Big", b.firstLsLongJob},
		{"cat", b.catJob},
		{"cat during a large transfer", b.catBesideJob},
		{"rm", b.rmJob},
		{"random bodies", b.randomJob},
		{"peak memory", b.memoryJob},
		{"remount of Big", b.remountListJob},
		{"remount and grep", b.remountGrepJob},
		{"remount after changes", b.remountChangedJob},
		{"mirror", b.mirrorJob},
		{"warm grep of a mirror", b.mirrorGrepJob},
		{"kills", b.killsJob},
		{"news", b.newsJob}, // last: it gives out UIDs of INBOX
	}
}

// once measures what others are compared with, one time only.
func (b *bench) once(name string, run func() (measure, error)) (measure, error) {
	if m, ok := b.measured[name]; ok {
		return m, nil
	}
	m, err := run()
	if err == nil {
		b.measured[name] = m
	}
	return m, err
}

// repeatsOn is how often a job that reads all of INBOX runs: on the slowest
// network it takes too long to repeat it, and varies little.
func (b *bench) repeatsOn(n *network) int {
	if n == b.far || n == b.packedFar {
		return 1
	}
	return b.repeats
}

// onMount measures something on a fresh mount of imapfs.
func (b *bench) onMount(ctx context.Context, n *network, flags []string, run func(*mount) (measure, error)) (measure, error) {
	m, err := b.mountMail(ctx, n, flags...)
	if err != nil {
		return measure{}, err
	}
	return m.measure(run)
}

// repeatOnMount repeats that, with a fresh mount each time.
func (b *bench) repeatOnMount(ctx context.Context, n *network, run func(*mount) (measure, error)) (measure, error) {
	return repeat(b.repeats, func() (measure, error) { return b.onMount(ctx, n, nil, run) })
}

// onRemount counts from the start of the process on a mount with a cache from
// before. run says when it has ended.
func (b *bench) onRemount(ctx context.Context, n *network, folder, cache string, flags []string, run func(*mount) error) (measure, error) {
	n.relay.reset()
	began := time.Now()
	m, err := b.remount(ctx, n, folder, cache, flags...)
	if err != nil {
		return measure{}, err
	}
	return m.measure(func(m *mount) (measure, error) {
		err := run(m)
		return measure{time: time.Since(began), traffic: n.relay.snapshot()}, err
	})
}

// measure runs something on the mount, and closes it.
func (m *mount) measure(run func(*mount) (measure, error)) (measure, error) {
	result, err := run(m)
	if err == nil {
		result.memory, err = m.peakMemory()
	}
	return result, errors.Join(err, m.close())
}

// onMemory measures something on a fresh mount of a tree in memory.
func (b *bench) onMemory(ctx context.Context, source string, run func(dir string) (time.Duration, error)) (measure, error) {
	m, err := b.mountMemory(ctx, source)
	if err != nil {
		return measure{}, err
	}
	took, err := run(m.dir)
	return measure{time: took}, errors.Join(err, m.close())
}
