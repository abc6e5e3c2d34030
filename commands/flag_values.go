package commands

import (
	"fmt"
	"strconv"
	"strings"
)

// byteSize is a flag value such as 256M.
type byteSize int64

func (b *byteSize) Type() string { return "SIZE" }

func (b *byteSize) String() string {
	for _, u := range []struct {
		name string
		size int64
	}{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}} {
		if int64(*b) >= u.size && int64(*b)%u.size == 0 {
			return strconv.FormatInt(int64(*b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (b *byteSize) Set(s string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	shift := 0
	switch {
	case strings.HasSuffix(number, "K"):
		shift = 10
	case strings.HasSuffix(number, "M"):
		shift = 20
	case strings.HasSuffix(number, "G"):
		shift = 30
	}
	n, err := strconv.ParseInt(strings.TrimRight(number, "KMG"), 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return fmt.Errorf("%q is not a size; write it like 64M or 2G", s)
	}
	*b = byteSize(n << shift)
	return nil
}

// fileMode is a flag value in octal, such as 022.
type fileMode uint32

func (m *fileMode) Type() string { return "OCTAL" }

func (m *fileMode) String() string { return fmt.Sprintf("%03o", uint32(*m)) }

func (m *fileMode) Set(s string) error {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not a umask; write it like 022", s)
	}
	*m = fileMode(n)
	return nil
}
