package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imapfs/internal/dovecot"
)

// plainTree copies INBOX out of a mount into plain files.
func (b *bench) plainTree(ctx context.Context) error {
	if b.plain != "" {
		return nil
	}
	m, err := b.mountMail(ctx, b.loopback)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "plain")
	_, _, err = command(ctx, b.dir, "cp", "-r", "--preserve=timestamps", filepath.Join(m.dir, "INBOX"), dir)
	if err := errors.Join(err, m.close()); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) != len(b.inbox) {
		return fmt.Errorf("the copy of INBOX has %d messages, not %d", len(entries), len(b.inbox))
	}
	if _, b.grepped, err = grep.run(ctx, dir, nil); err != nil {
		return err
	}
	// All outputs are compared with this one, so it must not be short itself.
	// In the raw messages the word is found in other places too (HTML beside a
	// text), and not found in some (base64).
	found := map[string]bool{}
	for _, line := range b.grepped {
		_, path, _ := strings.Cut(line, "/")
		uid, _, _ := strings.Cut(path, "/")
		found[uid] = true
	}
	raw := 0
	for _, m := range b.inbox {
		if bytes.Contains(m, []byte(word)) {
			raw++
		}
	}
	if len(found)*10 < raw*9 {
		return fmt.Errorf("in the copy of INBOX grep finds %d messages, in the raw messages the word is in %d", len(found), raw)
	}
	b.plain = dir
	return nil
}

// rawWire reads all messages of INBOX with one FETCH.
func (b *bench) rawWire(ctx context.Context, n *network) (measure, error) {
	return b.once("raw wire "+n.name, func() (measure, error) {
		return repeat(b.repeatsOn(n), func() (measure, error) {
			w, err := dialWire(n.relay.addr)
			if err != nil {
				return measure{}, err
			}
			defer w.close()
			stop := context.AfterFunc(ctx, w.close)
			defer stop()
			n.relay.reset()
			began := time.Now()
			got, err := w.fetch("INBOX", "BODY.PEEK[]")
			took := time.Since(began)
			if err == nil && got != len(b.inbox) {
				err = fmt.Errorf("%d messages came, not %d", got, len(b.inbox))
			}
			return measure{time: took, traffic: n.relay.snapshot()}, err
		})
	})
}

func (b *bench) rawWireJob(ctx context.Context) error {
	for _, n := range []*network{b.loopback, b.near, b.far} {
		m, err := b.rawWire(ctx, n)
		if err != nil {
			return err
		}
		b.report.add(row{job: "raw wire: one FETCH of all messages", network: n, measure: m})
	}
	return nil
}

// mbsync pulls INBOX into an empty Maildir, and greps that.
func (b *bench) mbsync(ctx context.Context, n *network, fsync string) (measure, error) {
	return b.once("mbsync "+fsync+n.name, func() (measure, error) {
		return repeat(b.repeatsOn(n), func() (measure, error) { return b.mbsyncRun(ctx, n, fsync) })
	})
}

func (b *bench) mbsyncRun(ctx context.Context, n *network, fsync string) (measure, error) {
	dir, err := os.MkdirTemp(b.dir, "mbsync")
	if err != nil {
		return measure{}, err
	}
	defer os.RemoveAll(dir)
	host, port, _ := strings.Cut(n.relay.addr, ":")
	config := strings.NewReplacer("HOST", host, "PORT", port, "USER", dovecot.User, "PASS", dovecot.Password, "DIR", dir, "YESNO", fsync).Replace(
		`FSync YESNO

IMAPStore server
Host HOST
Port PORT
User USER
Pass PASS
AuthMechs LOGIN
SSLType None

MaildirStore disk
Path DIR/
Inbox DIR/INBOX

Channel all
Far :server:
Near :disk:
Patterns INBOX
Create Near
Sync Pull
SyncState *
`)
	file := filepath.Join(dir, "mbsyncrc")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return measure{}, err
	}
	n.relay.reset()
	began := time.Now()
	if _, _, err := command(ctx, dir, "mbsync", "-q", "-c", file, "all"); err != nil {
		return measure{}, err
	}
	if _, _, err := command(ctx, dir, "grep", "-r", word, "INBOX"); err != nil {
		return measure{}, err
	}
	m := measure{time: time.Since(began), traffic: n.relay.snapshot()}
	pulled := 0
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, "INBOX", sub))
		if err != nil {
			return measure{}, err
		}
		pulled += len(entries)
	}
	if pulled != len(b.inbox) {
		return measure{}, fmt.Errorf("mbsync pulled %d messages, not %d", pulled, len(b.inbox))
	}
	return m, nil
}

func (b *bench) mbsyncJob(ctx context.Context) error {
	for _, n := range []*network{b.loopback, b.near} {
		for _, fsync := range []string{"yes", "no"} {
			m, err := b.mbsync(ctx, n, fsync)
			if err != nil {
				return err
			}
			name := "mbsync, first pull, then grep -r"
			if fsync == "no" {
				name += " (FSync no)"
			}
			b.report.add(row{job: name, network: n, measure: m})
		}
	}
	return nil
}
