package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// sample is what the mount's process uses at a time since the begin.
type sample struct {
	at                         time.Duration
	rss                        int64 // bytes in memory, freed ones that the system has not taken back included
	live                       int64 // bytes of the heap in use, by the last collection
	files, threads, goroutines int64
}

// watch prints a line every ten seconds until the end.
func (s *soaking) watch(ctx context.Context) {
	began := time.Now()
	const layout = "%8v %8v %8v %5v %7v %10v %9v %8v %7v %6v %6v %10v %8v\n"
	fmt.Printf(layout, "time", "RSS", "heap", "files", "threads", "goroutines", "reads", "errors", "faults", "wrong", "hangs", "delivered", "deleted")
	pid := s.mnt.cmd.Process.Pid
	for second := 1; pause(ctx, time.Second); second++ {
		select {
		case <-s.mnt.exited:
			progress("imapfs has ended: %v: %s", s.mnt.err, s.mnt.log)
			s.hangs.Add(1)
			return
		default:
		}
		now, err := s.sample(pid)
		if err != nil {
			progress("imapfs does not tell of itself: %v", err)
			continue
		}
		now.at = time.Since(began)
		s.samples = append(s.samples, now)
		s.mu.Lock()
		delivered, deleted := len(s.delivered), 0
		for _, sure := range s.deleted {
			if sure {
				deleted++
			}
		}
		for worker, since := range s.calls {
			if time.Since(since) > soakHang {
				s.hangs.Add(1)
				progress("worker %d is in a system call since %v", worker, time.Since(since).Round(time.Second))
			}
		}
		s.mu.Unlock()
		if second%10 == 0 {
			fmt.Printf(layout, now.at.Round(time.Second), size(now.rss), size(now.live), now.files, now.threads, now.goroutines,
				s.reads.Load(), s.errors.Load(), s.faults.Load(), s.wrong.Load(), s.hangs.Load(), delivered, deleted)
		}
	}
}

// sample looks at the process of the mount.
func (s *soaking) sample(pid int) (now sample, err error) {
	rss, err := statusField(pid, "VmRSS:")
	if err != nil {
		return now, err
	}
	threads, err := statusField(pid, "Threads:")
	if err != nil {
		return now, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return now, err
	}
	client := &http.Client{Timeout: soakHang, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	}}}
	answer, err := client.Get("http://imapfs/debug/vars")
	if err != nil {
		return now, err
	}
	defer answer.Body.Close()
	var vars struct{ Live, Goroutines int64 }
	if err := json.NewDecoder(answer.Body).Decode(&vars); err != nil {
		return now, err
	}
	return sample{rss: rss << 10, live: vars.Live, files: int64(len(files)), threads: threads, goroutines: vars.Goroutines}, nil
}

// soakGrowth compares the minute around the second with the last one: memory by
// its average, what comes and goes with the requests by the least that there was,
// which a leak raises, and a stalled connection with many waiting for it does not.
func soakGrowth(samples []sample) error {
	if len(samples) == 0 || samples[len(samples)-1].at < 4*time.Minute {
		fmt.Println("growth: too short a run to compare")
		return nil
	}
	end := samples[len(samples)-1].at
	var failed []error
	for _, c := range []struct {
		what  string
		of    func(sample) int64
		least bool  // compare the least values
		slack int64 // that may be added to 10 %
		show  func(int64) string
	}{
		{"memory (RSS)", func(m sample) int64 { return m.rss }, false, 0, size},
		{"heap in use", func(m sample) int64 { return m.live }, false, 0, size},
		{"file descriptors", func(m sample) int64 { return m.files }, true, 4, number},
		{"threads", func(m sample) int64 { return m.threads }, true, 4, number},
		{"goroutines", func(m sample) int64 { return m.goroutines }, true, 20, number},
	} {
		value := func(from, to time.Duration) (v int64) {
			n := int64(0)
			for _, m := range samples {
				switch {
				case m.at < from || m.at > to:
				case c.least && n == 0:
					v, n = c.of(m), 1
				case c.least:
					v = min(v, c.of(m))
				default:
					v, n = v+c.of(m), n+1
				}
			}
			return v / max(n, 1)
		}
		first, last := value(90*time.Second, 150*time.Second), value(end-time.Minute, end)
		verdict := "fine"
		if last > first+first/10+c.slack {
			verdict = "MORE THAN 10 %"
			failed = append(failed, fmt.Errorf("%s grew from %s to %s", c.what, c.show(first), c.show(last)))
		}
		fmt.Printf("%s: %s after two minutes, %s at the end: %+.1f %%, %s\n", c.what, c.show(first), c.show(last), 100*(float64(last)/float64(max(first, 1))-1), verdict)
	}
	return errors.Join(failed...)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
