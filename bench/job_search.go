package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// searched is a query in the language of imapfs and in those of others: the arguments of grep -rl,
// and what notmuch search and mu find take. "" is for who cannot ask this.
type searched struct{ query, grep, notmuch, mu string }

var queries = []searched{
	{"perl", "-iF perl", "perl", "perl"},
	{"hyperlink", "-iF hyperlink", "hyperlink", "hyperlink"},
	{`"public key"`, "-iF 'public key'", `"public key"`, `"public key"`},
	{"body:warranty", "-iF warranty", "body:warranty", "body:warranty"},
	{"thisisnowhere", "-iF thisisnowhere", "thisisnowhere", "thisisnowhere"},
	{"from:yahoo.com", `-iE '^From:.*yahoo\.com'`, "from:yahoo.com", "from:yahoo.com"},
	{"subject:linux", "-iE '^Subject:.*linux'", "subject:linux", "subject:linux"},
	{"subject:linux -from:yahoo.com is:unread", "", "subject:linux and not from:yahoo.com and tag:unread", "subject:linux and not from:yahoo.com and flag:unread"},
	{"larger:50k", "", "", "size:50k.."},
	{"has:attachment", "", "tag:attachment", "flag:attach"},
}

// search is how long a program took until its first and last line, and how many there were.
type search struct {
	first, last time.Duration
	lines       int
}

// look runs a program that prints what it finds.
func look(ctx context.Context, env []string, name string, args ...string) (s search, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return s, err
	}
	for lines := bufio.NewReader(out); err == nil; {
		if _, err = lines.ReadString('\n'); err == nil {
			if s.lines++; s.lines == 1 {
				s.first = time.Since(began)
			}
		}
	}
	if err != io.EOF {
		return s, err
	}
	err = cmd.Wait()
	s.last = time.Since(began)
	if exit, ok := err.(*exec.ExitError); ok && s.lines == 0 && exit.ExitCode() < 5 {
		err = nil // grep and mu say so that they have found nothing
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return s, err
}

// searchJob asks ten questions in many ways.
func (b *bench) searchJob(ctx context.Context) error {
	n := b.near
	ask := func(m *mount, q searched) (search, error) {
		return look(ctx, nil, b.imapfs, "search", filepath.Join(m.dir, "INBOX"), q.query)
	}
	rows := make([]found, len(queries))
	for i, q := range queries {
		r := &rows[i]
		r.query = q.query
		_, err := b.onMount(ctx, n, nil, func(m *mount) (result measure, err error) {
			if r.cold, err = ask(m, q); err == nil {
				r.again, err = ask(m, q)
			}
			if err == nil && r.again.lines != r.cold.lines {
				err = fmt.Errorf("%s finds %d messages, and then %d", q.query, r.cold.lines, r.again.lines)
			}
			return result, err
		})
		if err != nil {
			return err
		}
	}
	// What can be read already is searched here.
	_, err := b.onMount(ctx, n, mirrorFlags, func(m *mount) (result measure, err error) {
		if err := m.mirrored(ctx); err != nil {
			return result, err
		}
		for i, q := range queries {
			r := &rows[i]
			if r.mirror, err = ask(m, q); err != nil {
				return result, err
			}
		}
		for walk := range 3 { // the third is the warm one
			for i, q := range queries {
				if q.grep != "" && (walk == 2 || i == 0) {
					if rows[i].mount, err = look(ctx, nil, "sh", "-c", "grep -rl "+q.grep+" "+filepath.Join(m.dir, "INBOX")); err != nil {
						return result, err
					}
				}
			}
		}
		return result, nil
	})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.dir, "mbsync")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pulled, err := b.pull(ctx, n, "yes", dir)
	if err != nil {
		return err
	}
	if err := b.searchCopy(ctx, dir, pulled, rows); err != nil {
		return err
	}
	b.report.found = rows
	return nil
}

// searchCopy asks in mbsync's copy: grep, and two programs with an index.
func (b *bench) searchCopy(ctx context.Context, dir string, pulled measure, rows []found) error {
	inbox := filepath.Join(dir, "INBOX")
	config := filepath.Join(dir, "notmuch-config")
	if err := os.WriteFile(config, []byte("[database]\npath="+inbox+"\n[user]\nname=x\nprimary_email=x@example.org\n[new]\ntags=unread;inbox\n"), 0o600); err != nil {
		return err
	}
	env := []string{"NOTMUCH_CONFIG=" + config, "MUHOME=" + filepath.Join(dir, "mu"), "HOME=" + dir}
	for _, index := range []struct{ name, command string }{
		{"notmuch", "notmuch new --quiet"},
		{"mu", "mu init --quiet --maildir=" + inbox + " && mu index --quiet"},
	} {
		indexed, err := look(ctx, env, "sh", "-c", index.command)
		if err != nil {
			return err
		}
		m := pulled
		m.time += indexed.last
		b.row("mbsync, first pull, then the index of "+index.name, b.near, m, times("mbsync, first pull", m, pulled, 0))
	}
	for i, q := range queries {
		r := &rows[i]
		for _, c := range []struct {
			to        *search
			question  string
			name      string
			arguments []string
		}{
			{&r.copy, q.grep, "sh", []string{"-c", "grep -rl " + q.grep + " " + inbox}},
			{&r.notmuch, q.notmuch, "notmuch", []string{"search", "--output=files", q.notmuch}},
			{&r.mu, q.mu, "mu", []string{"find", "--fields=l", q.mu}},
		} {
			if c.question == "" {
				continue
			}
			var err error
			for range 2 { // the second is the one of a warm disk
				if *c.to, err = look(ctx, env, c.name, c.arguments...); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// searchMirrorJob looks for a text in a mirror of a large folder.
func (b *bench) searchMirrorJob(ctx context.Context) error {
	n := b.loopback
	var first, again measure
	cache, err := b.leaveCache(ctx, n, "Big", mirrorFlags, func(m *mount) error {
		if err := m.mirrored(ctx); err != nil {
			return err
		}
		for i, to := range []*measure{&first, &again} {
			s, err := look(ctx, nil, b.imapfs, "search", "--count", m.dir, fmt.Sprintf("nowhere%d", i))
			if err != nil {
				return err
			}
			to.time = s.last
			if to.memory, err = m.peakMemory(); err != nil {
				return err
			}
		}
		return nil
	})
	defer os.RemoveAll(cache)
	if err != nil {
		return err
	}
	b.localRow(fmt.Sprintf("search for a text in %d mirrored messages, as soon as they are here", b.big), n, first, against{})
	b.localRow("the same once more, for another text", n, again, against{})
	return nil
}
