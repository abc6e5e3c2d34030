package fs

import "strconv"

// MessageName is the name of a message's directory: its UID.
func MessageName(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }

// ParseMessageName is the inverse of MessageName. A UID has one name only: no sign,
// no leading zero.
func ParseMessageName(name string) (uid uint32, ok bool) {
	if len(name) == 0 || name[0] < '1' || name[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil
}
