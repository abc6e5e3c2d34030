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
	n, unit := int64(*b), ""
	for _, u := range []string{"K", "M", "G"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}

// Set takes K, M and G as powers of 1024, which go-humanize does not, with or
// without B or iB.
func (b *byteSize) Set(s string) error {
	number := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	shift := 10 * (1 + strings.LastIndex("KMG", number[max(0, len(number)-1):]))
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
