package commands

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// sizeText is a number of bytes for people. go-humanize writes 11 MiB, which in a
// line that tells of progress would stand still for a while, and "B".
func sizeText(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	size, unit := float64(bytes)/(1<<10), 0
	for ; size >= 1<<10 && unit < 2; unit++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", size, "KMG"[unit])
}

// durationText is a length of time for people: "0.3s", "12s", "1h5m0s".
func durationText(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// printable is text from elsewhere without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
