package main

import (
	"bytes"
	"context"
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
	dir := filepath.Join(b.dir, "plain")
	_, err := b.onMount(ctx, b.loopback, nil, func(m *mount) (measure, error) {
		_, _, err := command(ctx, b.dir, "cp", "-r", "--preserve=timestamps", filepath.Join(m.dir, "INBOX"), dir)
		return measure{}, err
	})
	if err != nil {
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
	if err := b.foundEnough(); err != nil {
		return err
	}
	b.plain = dir
	return nil
}

// foundEnough looks at what grep prints in the plain files: all outputs are
// compared with it, so it must not be short itself. In the raw messages the word
// is found in other places too (HTML beside a text), and not found in some
// (base64).
func (b *bench) foundEnough() error {
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
	return nil
}

// rawWire reads all messages of INBOX with one FETCH.
func (b *bench) rawWire(ctx context.Context, n *network) (measure, error) {
	return once(b, "raw wire "+n.name, func() (measure, error) {
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
			return n.measured(took), err
		})
	})
}

func (b *bench) rawWireJob(ctx context.Context) error {
	for _, n := range []*network{b.loopback, b.near, b.far} {
		m, err := b.rawWire(ctx, n)
		if err != nil {
			return err
		}
		b.row("raw wire: one FETCH of all messages", n, m, against{})
	}
	return nil
}

// pulls is what mbsync took.
type pulls struct {
	first   measure // into an empty Maildir
	grepped measure // and then grep -r over that
	again   measure // when nothing has changed
}

// mbsync pulls INBOX into an empty Maildir, greps that, and pulls again.
func (b *bench) mbsync(ctx context.Context, n *network, fsync string) (pulls, error) {
	return once(b, "mbsync "+fsync+n.name, func() (pulls, error) {
		var first, grepped, again []measure
		for range b.repeatsOn(n) {
			p, err := b.mbsyncRun(ctx, n, fsync)
			if err != nil {
				return pulls{}, err
			}
			first, grepped, again = append(first, p.first), append(grepped, p.grepped), append(again, p.again)
		}
		return pulls{median(first), median(grepped), median(again)}, nil
	})
}

// mbsyncConfig pulls INBOX into a Maildir in DIR.
const mbsyncConfig = `FSync YESNO

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
`

func (b *bench) mbsyncRun(ctx context.Context, n *network, fsync string) (p pulls, err error) {
	dir, err := os.MkdirTemp(b.dir, "mbsync")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	if p.first, err = b.pull(ctx, n, fsync, dir); err != nil {
		return p, err
	}
	_, took, err := command(ctx, dir, "grep", "-r", word, "INBOX")
	if err != nil {
		return p, err
	}
	p.grepped = p.first
	p.grepped.time += took
	pulled := 0
	for _, sub := range []string{"new", "cur"} {
		files, _ := filepath.Glob(filepath.Join(dir, "INBOX", sub, "*"))
		pulled += len(files)
	}
	if pulled != len(b.inbox) {
		return p, fmt.Errorf("mbsync pulled %d messages, not %d", pulled, len(b.inbox))
	}
	p.again, err = b.pull(ctx, n, fsync, dir)
	return p, err
}

// pull pulls INBOX into a Maildir of that name in dir.
func (b *bench) pull(ctx context.Context, n *network, fsync, dir string) (measure, error) {
	host, port, _ := strings.Cut(n.relay.addr, ":")
	config := strings.NewReplacer("HOST", host, "PORT", port, "USER", dovecot.User, "PASS", dovecot.Password, "DIR", dir, "YESNO", fsync)
	file := filepath.Join(dir, "mbsyncrc")
	if err := os.WriteFile(file, []byte(config.Replace(mbsyncConfig)), 0o600); err != nil {
		return measure{}, err
	}
	n.relay.reset()
	_, took, err := command(ctx, dir, "mbsync", "-q", "-c", file, "all")
	return n.measured(took), err
}

func (b *bench) mbsyncJob(ctx context.Context) error {
	for _, n := range []*network{b.loopback, b.near} {
		for _, fsync := range []string{"yes", "no"} {
			p, err := b.mbsync(ctx, n, fsync)
			if err != nil {
				return err
			}
			how := ""
			if fsync == "no" {
				how = " (FSync no)"
			}
			b.row("mbsync, first pull"+how, n, p.first, against{})
			b.row("mbsync, first pull, then grep -r"+how, n, p.grepped, against{})
			b.row("mbsync, nothing changed"+how, n, p.again, against{})
		}
	}
	return nil
}
