package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

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
	var want []string
	for uid := range b.big {
		want = append(want, strconv.Itoa(uid+1))
	}
	slices.Sort(want)
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
			err = sameLines(sortedLines(out), want)
		}
		return m, err
	})
	if err != nil {
		return err
	}
	name := fmt.Sprintf("remount and ls of %d messages, nothing changed", b.big)
	b.report.add(row{job: name, network: n, measure: m, against: roundTrips(m, 4)})
	b.report.add(row{job: name, network: n, measure: m, against: against{of: "seconds", got: m.time.Seconds(), limit: 0.5}})
	return nil
}

// remountGrepJob greps what an earlier mount has read.
func (b *bench) remountGrepJob(ctx context.Context) error {
	if err := b.plainTree(ctx); err != nil {
		return err
	}
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
	b.report.add(row{job: name + ": bytes of messages", network: n, measure: m, against: against{
		of: "none", got: float64(m.traffic.bodyBytes), text: fmt.Sprint(m.traffic.bodyBytes), exactly: true,
	}})
	b.report.add(row{job: name, network: n, measure: m, against: times("warm grep, never stopped", m, warm, 1.3)})
	// The kernel has forgotten the tree with the old mount, and asks for each
	// file anew, whoever serves it.
	memory, err := b.memoryGrep(ctx)
	if err != nil {
		return err
	}
	only := median(alone)
	b.report.add(row{job: name + ": the grep alone", network: n, measure: only, local: true, against: times("tree in memory, first grep", only, memory, 0)})
	return nil
}

// away is how many messages come and go while there is no mount.
const away = 10

// awayFolder is the folder Away, which other programs change.
type awayFolder struct {
	pages map[imap.UID]int // the messages that are there
	last  int              // page
	out   []byte           // what a mount has shown
}

// read reads the folder through a mount.
func (a *awayFolder) read(ctx context.Context, m *mount) (err error) {
	a.out, _, err = command(ctx, m.dir, "grep", "-r", "^Subject: ", "Away")
	return err
}

// check compares what was read with what is there.
func (a *awayFolder) check() error {
	var want []string
	for uid, page := range a.pages {
		want = append(want, fmt.Sprintf("Away/%d/headers.txt:Subject: Page %d", uid, page))
	}
	slices.Sort(want)
	return sameLines(sortedLines(a.out), want)
}

// change expunges every 20th message from the start on, and delivers as many. It
// returns how many bytes are new.
func (a *awayFolder) change(c *imapclient.Client) (bytes int64, err error) {
	uids, err := allUIDs(c, "Away")
	if err != nil {
		return 0, err
	}
	var gone []imap.UID
	for i := range away {
		gone = append(gone, uids[20*i])
		delete(a.pages, uids[20*i])
	}
	if err := expunge(c, "Away", gone...); err != nil {
		return 0, err
	}
	for range away {
		a.last++
		raw := smallMessage(a.last)
		bytes += int64(len(raw))
		uid, err := appendTo(c, "Away", raw)
		if err != nil {
			return 0, err
		}
		a.pages[uid] = a.last
	}
	return bytes, nil
}

// remountChangedJob reads a folder that has changed since an earlier mount has
// read it.
func (b *bench) remountChangedJob(ctx context.Context) error {
	c, err := newClient(b.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	folder := &awayFolder{pages: map[imap.UID]int{}, last: awayMessages}
	for i := range awayMessages {
		folder.pages[imap.UID(i+1)] = i + 1
	}
	read := func(m *mount) error { return folder.read(ctx, m) }
	n := b.near
	cache, err := b.leaveCache(ctx, n, "", nil, read)
	defer os.RemoveAll(cache)
	if err == nil {
		err = folder.check()
	}
	if err != nil {
		return err
	}
	var bytes int64
	m, err := repeat(b.repeats, func() (measure, error) {
		if bytes, err = folder.change(c); err != nil {
			return measure{}, err
		}
		m, err := b.onRemount(ctx, n, "", cache, nil, read)
		if err == nil {
			err = folder.check()
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
	b.report.add(row{job: name, network: n, measure: m, against: roundTrips(m, 6)})
	b.report.add(row{job: name + ": messages fetched", network: n, measure: m, against: against{
		of: "new messages", got: float64(len(fetched)), text: fmt.Sprint(len(fetched)), limit: away, exactly: true,
	}})
	b.report.add(row{job: name + ": bytes of messages", network: n, measure: m, against: against{
		of: fmt.Sprintf("the new messages (%s)", size(bytes)), got: float64(m.traffic.bodyBytes) / float64(bytes), limit: 1,
	}})
	return nil
}
