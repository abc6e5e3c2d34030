package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The mirror's mounts show INBOX alone, so that it is all that they mirror.
var mirrorFlags = []string{"--mirror"}

// mirrored waits until the mount says that its mirror is complete.
func (m *mount) mirrored(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		complete, err := m.mirrorNow()
		if complete || err != nil {
			return err
		}
		if !pause(ctx, 10*time.Millisecond) {
			return errors.New("the mirror does not become complete")
		}
	}
}

// mirrorNow tells whether the mirror is complete at this moment.
func (m *mount) mirrorNow() (bool, error) {
	var status struct {
		Mirror struct {
			Complete bool
			Error    string
		}
	}
	text, err := os.ReadFile(filepath.Join(m.dir, ".imapfs", "status"))
	if err == nil {
		err = json.Unmarshal(text, &status)
	}
	if err == nil && status.Mirror.Error != "" {
		err = fmt.Errorf("the mirror rests: %s", status.Mirror.Error)
	}
	return status.Mirror.Complete, err
}

// mirrorJob copies all of INBOX, and then finds that nothing is missing.
func (b *bench) mirrorJob(ctx context.Context) error {
	raw, err := b.rawWire(ctx, b.near)
	if err != nil {
		return err
	}
	sync, err := b.mbsync(ctx, b.near, "yes")
	if err != nil {
		return err
	}
	cache := ""
	defer func() { os.RemoveAll(cache) }()
	mirror := func(n *network) (measure, error) {
		return b.onRemount(ctx, n, "INBOX", cache, mirrorFlags, func(m *mount) error { return m.mirrored(ctx) })
	}
	for _, n := range []*network{b.packedNear, b.near} {
		m, err := repeat(b.repeats, func() (m measure, err error) {
			os.RemoveAll(cache)
			if cache, err = os.MkdirTemp(b.dir, "cache"); err != nil {
				return m, err
			}
			return mirror(n)
		})
		if err != nil {
			return err
		}
		const name = "start and mirror of INBOX"
		b.row(name, n, m, times("raw wire", m, raw, 1.2))
		b.row(name, n, m, times("mbsync, first pull", m, sync.first, 0.5))
	}
	again, err := repeat(b.repeats, func() (measure, error) { return mirror(b.near) })
	if err != nil {
		return err
	}
	if again.traffic.bodyBytes > 0 {
		return fmt.Errorf("nothing has changed, and the mirror fetches %s", size(again.traffic.bodyBytes))
	}
	b.row("remount and mirror of INBOX, nothing changed", b.near, again, times("mbsync, nothing changed", again, sync.again, 0.5))
	return nil
}

// mirrorGrepJob greps a complete mirror, after two walks of the same kind.
func (b *bench) mirrorGrepJob(ctx context.Context) error {
	disk, err := b.warmOnDisk(ctx, grep, b.grepped)
	if err != nil {
		return err
	}
	n := b.loopback
	var warm measure
	cache, err := b.leaveCache(ctx, n, "INBOX", mirrorFlags, func(m *mount) error {
		if err := m.mirrored(ctx); err != nil {
			return err
		}
		// Sizes that the kernel was told before are taken back first, see
		// fs/spare.go.
		if err := n.relay.quiet(ctx); err != nil {
			return err
		}
		warm.time, err = b.again(ctx, grep, m.dir, b.grepped)
		if err == nil {
			warm.memory, err = m.peakMemory()
		}
		return err
	})
	defer os.RemoveAll(cache)
	if err != nil {
		return err
	}
	b.localRow("warm "+grep.String()+", complete mirror", n, warm, times("disk", warm, disk, 1))
	return nil
}
