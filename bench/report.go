package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"imapfs/internal/dovecot"
)

// row of the table.
type row struct {
	job     string
	network *network // nil: none
	measure measure
	local   bool // the traffic was not measured
	against against
}

// against is what a figure is compared with.
type against struct {
	of      string
	got     float64
	text    string  // got, if not as a number with two digits
	limit   float64 // at most; 0 for none, unless exactly
	exactly bool    // not less than limit either
}

// times is how much longer m took than base.
func times(of string, m, base measure, limit float64) against {
	return against{of: fmt.Sprintf("%s (%s)", of, seconds(base.time)), got: float64(m.time) / float64(base.time), limit: limit}
}

func roundTrips(m measure, limit int) against {
	n := m.traffic.roundTrips
	return against{of: "round trips", got: float64(n), text: fmt.Sprint(n), limit: float64(limit)}
}

func inSeconds(m measure, limit float64) against {
	return against{of: "seconds", got: m.time.Seconds(), limit: limit}
}

// timesBytes is how many times as many bytes m are as base.
func timesBytes(what string, m, base int64, limit float64) against {
	return against{of: fmt.Sprintf("%s (%s)", what, size(base)), got: float64(m) / float64(base), limit: limit}
}

// exactly is a count that has a fixed value; text is how it is shown.
func exactly(of string, got, want int64, text string) against {
	return against{of: of, got: float64(got), text: text, limit: float64(want), exactly: true}
}

// found is how long a query takes: first when the server is asked, again, from a mirror, by grep -r on
// the mount with a mirror and on mbsync's copy, and by programs that have an index of that.
type found struct {
	query                                         string
	cold, again, mirror, mount, copy, notmuch, mu search
}

type report struct {
	rows    []row
	found   []found
	verbose bool
}

func (r *report) add(row row) {
	r.rows = append(r.rows, row)
	if !r.verbose || row.local {
		return
	}
	progress("commands of: %s", row.job)
	for _, c := range row.measure.traffic.commands {
		fmt.Fprintf(os.Stderr, "  round trip %d: %.150s\n", c.roundTrip, c.command)
	}
}

const explanation = `# Benchmark

One run of ` + "`go run ./bench`" + ` on one machine; every figure was measured in it.

The server is Dovecot on loopback, with its index ready. INBOX holds the %d
messages of the SpamAssassin corpus, Big %d small messages, Large one message
with an attachment of %s. Each job has the network to it that its row names:
a round-trip time and a rate that all connections share, made by toxiproxy.
Every cold or first job has a mount of its own. Where a job is repeated, the
row is the run with the median time. Outputs are compared with the plain files;
one wrong line and the run fails.

- **raw wire**: a client that sends EXAMINE and one UID FETCH 1:* (BODY.PEEK[]),
  and throws away what comes; the login is not timed.
- **mbsync**: the first pull of INBOX into an empty Maildir, then grep -r over it.
  It waits for the disk after each message, unless told FSync no.
- **COMPRESS**: the same server at an address where it offers COMPRESS=DEFLATE
  (RFC 4978), which imapfs uses, and mbsync and the raw wire do not: what such a
  row is compared with is not compressed.
- **disk**: the tree of INBOX as plain files.
- **tree in memory**: the same files served by go-fuse with its default options
  from memory; for Big, empty directories.
- **warm**: after two walks of the same kind.
- **remount**: a new mount with the cache on disk that an earlier one has left,
  on the same machine; it counts from the start of the process.
- **mirror**: from the start of the process until the mount's status says that
  the mirror of INBOX is complete.
- **until ls shows it**: from the server's OK to the other program until a listing
  of the folder, made every 10 ms, shows the change. (Dovecot itself waits half a
  second before it tells of one.)
- **compared with** is what the column **ratio** refers to, with what it took
  itself; where it names a unit, the ratio is a plain figure.
- **round trips** are flights that had to wait for each other: what the client
  sends within one round-trip time of the send that began the last round trip
  belongs to that round trip, over all connections together. Not defined on
  loopback. Opening a connection is no send.
- **bytes** are those of the IMAP connections; of cold and first jobs with the login.
- **peak memory** is that of imapfs (VmHWM).
`

const searchExplanation = `
## Search

Ten queries in INBOX, at %s, each until a program has printed the first and the
last path: imapfs search on a mount that has just begun (first, last), once more (again), and on a
mount with a complete mirror; grep -rl on that mount and on mbsync's copy, each
after two walks; notmuch and mu with their index of the copy, the second time. Who
looks for words finds others than who looks for parts of them.

`

// text is the whole report, in Markdown that can be read in a terminal too.
func (r *report) text(b *bench, machine string, took time.Duration) string {
	cells := [][]string{{"job", "network", "time", "compared with", "ratio", "at most", "bytes from server", "bytes to server", "round trips", "peak memory", "reached"}}
	for _, row := range r.rows {
		cells = append(cells, row.cells())
	}
	var t strings.Builder
	fmt.Fprintf(&t, explanation, len(b.inbox), b.big, size(int64(b.large)))
	fmt.Fprintf(&t, "\n%s; %s; the run took %s.\n\n", time.Now().Format(time.DateOnly), machine, took.Round(time.Second))
	// Aligned to the right are figures.
	t.WriteString(table(cells, func(column int) bool { return column == 2 || column >= 4 && column <= 9 }))
	if len(r.found) > 0 {
		fmt.Fprintf(&t, searchExplanation, b.near.name)
		cells := [][]string{{"query", "found", "first", "last", "again", "mirror, first", "last", "grep on the mount", "grep on the copy", "notmuch", "mu"}}
		for _, f := range r.found {
			cells = append(cells, f.cells())
		}
		t.WriteString(table(cells, func(column int) bool { return column > 0 }))
	}
	return t.String()
}

// table is a table in Markdown, of which the first line is the heading.
func table(cells [][]string, numeric func(column int) bool) string {
	widths, rule := make([]int, len(cells[0])), "" // of a column on the right; less than 0: on the left
	for i := range widths {
		for _, line := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
		}
		if dashes := strings.Repeat("-", widths[i]+1); numeric(i) {
			rule += "|" + dashes + ":"
		} else {
			widths[i] = -widths[i]
			rule += "|" + dashes + "-"
		}
	}
	var t strings.Builder
	for n, line := range cells {
		for i, c := range line {
			fmt.Fprintf(&t, "| %*s ", widths[i], c)
		}
		t.WriteString("|\n")
		if n == 0 {
			t.WriteString(rule + "|\n")
		}
	}
	return t.String()
}

func (f found) cells() []string {
	c := []string{"`" + f.query + "`", fmt.Sprint(f.cold.lines)}
	add := func(s search, took time.Duration) {
		if s == (search{}) {
			c = append(c, "–") // nobody has asked
		} else {
			c = append(c, seconds(took))
		}
	}
	add(f.cold, f.cold.first)
	add(f.cold, f.cold.last)
	add(f.again, f.again.last)
	add(f.mirror, f.mirror.first)
	add(f.mirror, f.mirror.last)
	for _, s := range []search{f.mount, f.copy, f.notmuch, f.mu} {
		add(s, s.last)
	}
	return c
}

func (r row) cells() []string {
	const none = "–"
	c := []string{r.job, none, seconds(r.measure.time), none, none, none, none, none, none, none, ""}
	if r.network != nil {
		c[1] = r.network.name
	}
	if a := r.against; a.of != "" {
		c[3], c[4] = a.of, a.text
		if a.text == "" {
			c[4] = fmt.Sprintf("%.2f", a.got)
		}
		if a.limit > 0 || a.exactly {
			c[5], c[10] = fmt.Sprintf("%g", a.limit), "no"
			if a.got == a.limit || a.got < a.limit && !a.exactly {
				c[10] = "yes"
			}
		}
		if a.exactly {
			c[5] = "exactly " + c[5]
		}
	}
	if r.network != nil && !r.local {
		c[6], c[7] = size(r.measure.traffic.fromServer), size(r.measure.traffic.toServer)
		if r.network.rtt > 0 {
			c[8] = fmt.Sprint(r.measure.traffic.roundTrips)
		}
	}
	if r.measure.memory > 0 {
		c[9] = size(r.measure.memory)
	}
	return c
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 100_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// machine says where the figures come from.
func machine(ctx context.Context) string {
	meminfo, _ := os.ReadFile("/proc/meminfo")
	var kB float64
	fmt.Sscanf(string(meminfo), "MemTotal: %f kB", &kB)
	kernel, _ := exec.CommandContext(ctx, "uname", "-sr").Output()
	binary, _ := dovecot.Binary()
	return fmt.Sprintf("%d cores, %.0f GB memory, %s, %s, Dovecot %s, %s",
		runtime.NumCPU(), kB*1024/1e9, firstLine(string(kernel)), runtime.Version(), version(ctx, binary), version(ctx, "mbsync"))
}

// version is the first line that a program prints about itself.
func version(ctx context.Context, program string) string {
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, _ := cmd.Output()
	return firstLine(string(out))
}
