package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// leaveCache mounts with an empty cache, and returns its directory when the
// mount is closed.
func (b *bench) leaveCache(ctx context.Context, n *network, folder string, flags []string, use func(*mount) error) (string, error) {
	cache, err := os.MkdirTemp(b.dir, "cache")
	if err != nil {
		return "", err
	}
	_, err = b.onRemount(ctx, n, folder, cache, flags, use)
	return cache, err
}

// remountListJob lists a large folder that an earlier mount has listed.
func (b *bench) remountListJob(ctx context.Context) error {
	var out []byte
	list := func(m *mount) (err error) {
		out, _, err = command(ctx, m.dir, "ls", "Big")
		return err
	}
	n := b.near
	cache, err := b.leaveCache(ctx, n, "", nil, list)
	defer os.RemoveAll(cache)
	if err != nil {
		return err
	}
	m, err := repeat(b.repeats, func() (measure, error) {
		m, err := b.onRemount(ctx, n, "", cache, nil, list)
		if err == nil {
			err = b.listsBig(out)
		}
		return m, err
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("remount and ls of %d messages, nothing changed", b.big)
	b.row(name, n, m, roundTrips(m, 4))
	b.row(name, n, m, inSeconds(m, 0.5))
	return nil
}

// remountGrepJob greps what an earlier mount has read.
func (b *bench) remountGrepJob(ctx context.Context) error {
	n := b.loopback
	var warm measure
	cache, err := b.leaveCache(ctx, n, "", nil, func(m *mount) (err error) {
		warm.time, err = b.again(ctx, grep, filepath.Join(m.dir, "INBOX"), b.grepped)
		return err
	})
	defer os.RemoveAll(cache)
	if err != nil {
		return err
	}
	var alone []measure
	m, err := repeat(b.repeats, func() (measure, error) {
		return b.onRemount(ctx, n, "", cache, nil, func(m *mount) error {
			took, _, err := grep.run(ctx, filepath.Join(m.dir, "INBOX"), b.grepped)
			alone = append(alone, measure{time: took})
			return err
		})
	})
	if err != nil {
		return err
	}
	const name = "remount and grep -r of INBOX, all cached"
	b.row(name+": bytes of messages", n, m, exactly("none", m.traffic.bodyBytes, 0, fmt.Sprint(m.traffic.bodyBytes)))
	b.row(name, n, m, times("warm grep, never stopped", m, warm, 1.3))
	// The kernel has forgotten the tree with the old mount, and asks for each
	// file anew, whoever serves it.
	memory, err := b.memoryGrep(ctx)
	if err != nil {
		return err
	}
	only := median(alone)
	b.localRow(name+": the grep alone", n, only, times("tree in memory, first grep", only, memory, 0))
	return nil
}

// away is how many messages come and go while there is no mount.
const away = 10

// remountChangedJob reads a folder that has changed since an earlier mount has
// read it.
func (b *bench) remountChangedJob(ctx context.Context) error {
	c, err := newClient(b.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	f := changing{c: c, next: awayMessages, subjects: map[imap.UID]int{}}
	for i := range awayMessages {
		f.subjects[imap.UID(i+1)] = i + 1
	}
	read := func(m *mount) error {
		out, _, err := command(ctx, m.dir, "grep", "-r", "^Subject: ", "Away")
		f.read = out
		return err
	}
	n := b.near
	cache, err := b.leaveCache(ctx, n, "", nil, read)
	defer os.RemoveAll(cache)
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return err
	}
	m, err := repeat(b.repeats, func() (measure, error) {
		if err := f.change(); err != nil {
			return measure{}, err
		}
		m, err := b.onRemount(ctx, n, "", cache, nil, read)
		if err == nil {
			err = f.check()
		}
		return m, err
	})
	if err != nil {
		return err
	}
	fetched := map[int]bool{}
	for _, got := range m.traffic.bodies {
		fetched[got.uid] = true
	}
	name := fmt.Sprintf("remount and grep -r of %d messages, %d new and %d expunged meanwhile", awayMessages, away, away)
	b.row(name, n, m, roundTrips(m, 6))
	b.row(name+": messages fetched", n, m, exactly("new messages", int64(len(fetched)), away, fmt.Sprint(len(fetched))))
	b.row(name+": bytes of messages", n, m, timesBytes("the new messages", m.traffic.bodyBytes, f.bytes, 1))
	return nil
}

// changing is the folder Away.
type changing struct {
	c        *imapclient.Client
	subjects map[imap.UID]int // the number in each subject
	next     int              // the highest of them
	bytes    int64            // of the messages that the last change has brought
	read     []byte           // what grep has printed
}

// change deletes every 20th message from the start, and delivers new ones.
func (f *changing) change() error {
	uids, err := allUIDs(f.c, "Away")
	if err != nil {
		return err
	}
	var gone []imap.UID
	for i := range away {
		gone = append(gone, uids[20*i])
		delete(f.subjects, uids[20*i])
	}
	if err := expunge(f.c, "Away", gone...); err != nil {
		return err
	}
	f.bytes = 0
	for range away {
		f.next++
		raw := smallMessage(f.next)
		f.bytes += int64(len(raw))
		uid, err := appendTo(f.c, "Away", raw)
		if err != nil {
			return err
		}
		f.subjects[uid] = f.next
	}
	return nil
}

// check compares what was read with what is there.
func (f *changing) check() error {
	var want []string
	for uid, i := range f.subjects {
		want = append(want, fmt.Sprintf("Away/%d/headers.txt:Subject: Page %d", uid, i))
	}
	slices.Sort(want)
	return sameLines(sortedLines(f.read), want)
}
