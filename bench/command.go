package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// within is how long one command may take.
const within = 5 * time.Minute

// measure is what one run of a job took.
type measure struct {
	time    time.Duration
	traffic traffic
	memory  int64 // the peak of imapfs, in bytes
}

// median of the runs by time; its other figures come along.
func median(runs []measure) measure {
	slices.SortFunc(runs, func(a, b measure) int { return int(a.time - b.time) })
	return runs[len(runs)/2]
}

// repeat runs a job n times and returns the median.
func repeat(n int, run func() (measure, error)) (measure, error) {
	var runs []measure
	for range n {
		m, err := run()
		if err != nil {
			return measure{}, err
		}
		runs = append(runs, m)
	}
	return median(runs), nil
}

// command runs a program in a directory and returns what it prints.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, took, fmt.Errorf("%s took more than %v", name, within)
	case err != nil:
		return nil, took, fmt.Errorf("%s: %v: %s", name, err, firstLine(errs.String()))
	}
	return out.Bytes(), took, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// sortedLines are the lines of an output in an order that does not depend on
// the file system.
func sortedLines(out []byte) []string {
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// sameLines says where two outputs differ.
func sameLines(got, want []string) error {
	if slices.Equal(got, want) {
		return nil
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Errorf("wrong output: %d lines, %d expected; the first difference: %.100q, expected %.100q", len(got), len(want), got[i], want[i])
		}
	}
	return fmt.Errorf("wrong output: %d lines, %d expected", len(got), len(want))
}
