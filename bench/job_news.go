package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	newsRuns = 5
	newsPoll = 2 * time.Second // --poll
	newsMost = 30 * time.Second
)

// newsJob looks how long it takes until a listing shows what another mail
// program has done. The row is the slowest run: nobody wants to wait sometimes.
func (b *bench) newsJob(ctx context.Context) error {
	c, err := newClient(b.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	n := b.near
	came, gone := map[string]measure{}, map[string]measure{}
	_, err = b.onMount(ctx, n, []string{"--poll", newsPoll.String()}, func(m *mount) (measure, error) {
		for _, folder := range []string{"INBOX", "News"} {
			if err := prepare(ctx, n, m, "ls", folder); err != nil {
				return measure{}, err
			}
			for i := range newsRuns {
				// A part of a second, so that a poll comes at another moment
				// each time.
				if !pause(ctx, time.Duration(i)*newsPoll/newsRuns) {
					return measure{}, ctx.Err()
				}
				shown, hidden, err := comeAndGo(ctx, c, m, folder, i)
				if err != nil {
					return measure{}, err
				}
				came[folder], gone[folder] = slower(came[folder], shown), slower(gone[folder], hidden)
			}
		}
		return measure{}, nil
	})
	if err != nil {
		return err
	}
	for _, r := range []struct {
		job   string
		m     measure
		limit time.Duration
	}{
		{"new mail in INBOX until ls shows it", came["INBOX"], time.Second},
		{"expunged by another program until ls of INBOX shows it", gone["INBOX"], time.Second},
		{"new mail in another folder until ls shows it, --poll 2s", came["News"], newsPoll},
		{"expunged by another program until ls of another folder shows it, --poll 2s", gone["News"], newsPoll},
	} {
		b.localRow(fmt.Sprintf("%s (slowest of %d)", r.job, newsRuns), n, r.m, inSeconds(r.m, r.limit.Seconds()))
	}
	return nil
}

// comeAndGo delivers a message and expunges it, and tells how long it takes
// until the mount shows it, and does not.
func comeAndGo(ctx context.Context, c *imapclient.Client, m *mount, folder string, i int) (shown, hidden time.Duration, err error) {
	dir := filepath.Join(m.dir, folder)
	uid, err := appendTo(c, folder, smallMessage(1000+i))
	if err != nil {
		return 0, 0, err
	}
	if shown, err = shows(ctx, dir, uid, true); err != nil {
		return 0, 0, err
	}
	if err := expunge(c, folder, uid); err != nil {
		return 0, 0, err
	}
	hidden, err = shows(ctx, dir, uid, false)
	return shown, hidden, err
}

func slower(m measure, took time.Duration) measure { return measure{time: max(m.time, took)} }

// shows lists dir until a message is there, or is not, and returns how long
// that took.
func shows(ctx context.Context, dir string, uid imap.UID, there bool) (time.Duration, error) {
	began := time.Now()
	name := strconv.Itoa(int(uid))
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return 0, err
		}
		found := slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name })
		switch took := time.Since(began); {
		case found == there:
			return took, nil
		case took > newsMost:
			return 0, errors.New("the listing does not change within " + newsMost.String())
		case !pause(ctx, 10*time.Millisecond):
			return 0, ctx.Err()
		}
	}
}
