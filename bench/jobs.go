package main

import (
	"context"
	"errors"
	"os"
	"time"
)

// job measures something and adds its rows to the report.
type job struct {
	name     string
	compares bool // with INBOX as plain files, so they are made first
	run      func(context.Context) error
}

func (b *bench) jobs() []job {
	return []job{
		{"raw wire", false, b.rawWireJob},
		{"mbsync", false, b.mbsyncJob},
		{"cold grep", true, b.coldGrepJob},
		{"warm grep", true, func(ctx context.Context) error { return b.warmJob(ctx, grep, 5) }},
		{"warm find", true, func(ctx context.Context) error { return b.warmJob(ctx, find, 1) }},
		{"warm ls -lR", true, func(ctx context.Context) error { return b.warmJob(ctx, lsLR, 1) }},
		{"first ls of Big", false, b.firstLsJob},
		{"first ls -l of Big", false, b.firstLsLongJob},
		{"find attachments", false, b.findAttachmentsJob},
		{"named", false, b.namedJob},
		{"folders", false, b.foldersJob},
		{"cat", false, b.catJob},
		{"cat during a large transfer", true, b.catBesideJob},
		{"rm", false, b.rmJob},
		{"filing", false, b.changeJob},
		{"random bodies", true, b.randomJob},
		{"peak memory", true, b.memoryJob},
		{"remount of Big", false, b.remountListJob},
		{"remount and grep", true, b.remountGrepJob},
		{"remount after changes", false, b.remountChangedJob},
		{"mirror", false, b.mirrorJob},
		{"warm grep of a mirror", true, b.mirrorGrepJob},
		{"search", false, b.searchJob},
		{"search in a large mirror", false, b.searchMirrorJob},
		{"kills", false, b.killsJob},
		{"news", false, b.newsJob}, // last: it gives out UIDs of INBOX
	}
}

// once measures what others are compared with, one time only.
func once[T any](b *bench, name string, run func() (T, error)) (T, error) {
	if m, ok := b.measured[name]; ok {
		return m.(T), nil
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

// row adds a row to the report, localRow one of which the traffic was not
// measured.
func (b *bench) row(job string, n *network, m measure, a against) {
	b.report.add(row{job: job, network: n, measure: m, against: a})
}

func (b *bench) localRow(job string, n *network, m measure, a against) {
	b.report.add(row{job: job, network: n, measure: m, local: true, against: a})
}

// onMount measures something on a mount of imapfs with an empty cache.
func (b *bench) onMount(ctx context.Context, n *network, flags []string, run func(*mount) (measure, error)) (measure, error) {
	cache, err := os.MkdirTemp(b.dir, "cache")
	if err != nil {
		return measure{}, err
	}
	defer os.RemoveAll(cache)
	m, err := b.mount(ctx, n, "", cache, flags...)
	if err != nil {
		return measure{}, err
	}
	return m.measure(run)
}

// repeatOnMount repeats what is short enough, each time on another mount.
func (b *bench) repeatOnMount(ctx context.Context, n *network, run func(*mount) (measure, error)) (measure, error) {
	return repeat(b.repeats, func() (measure, error) { return b.onMount(ctx, n, nil, run) })
}

// onRemount counts from the start of the process on a mount with a cache from
// before. run says when it has ended.
func (b *bench) onRemount(ctx context.Context, n *network, folder, cache string, flags []string, run func(*mount) error) (measure, error) {
	m, err := b.mount(ctx, n, folder, cache, flags...)
	if err != nil {
		return measure{}, err
	}
	return m.measure(func(m *mount) (measure, error) {
		err := run(m)
		return n.measured(time.Since(m.began)), err
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
