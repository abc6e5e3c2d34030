package mail

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Flags is the flags of a message (RFC 9051 §2.3.2), one word for each: that of a system
// flag is without its backslash, "Seen" for \Seen, that of a keyword is the keyword. The
// system flags come first, in their usual order, then the keywords in that of the
// alphabet; no two differ in case alone. It is shared: nobody may change it.
type Flags []string

// systemFlags are those that clients can set. Deleted is seen and can be taken away, but
// not set: only who deletes a message means to delete it.
var systemFlags = []string{"Seen", "Flagged", "Answered", "Draft", "Deleted"}

// FlagsOf returns the flags that are told on the wire. \Recent is none: it is about a
// session. Of a keyword that is called like a system flag nothing can be shown.
func FlagsOf(wire []string) Flags {
	var f Flags
	for _, flag := range wire {
		name, isSystem := strings.CutPrefix(flag, `\`)
		word := systemFlag(name)
		switch {
		case name == "" || len(name) > mostFlag || len(f) == mostOfMessage || strings.ContainsFunc(name, isNoLetter):
			continue // no word of a line
		case isSystem != (word != ""):
			continue
		case !isSystem:
			word = name
		}
		if !f.Has(word) {
			f = append(f, word)
		}
	}
	slices.SortFunc(f, func(a, b string) int {
		if i, j := rank(a), rank(b); i != j {
			return i - j
		}
		return strings.Compare(a, b)
	})
	return slices.Clip(f)
}

// mostOfMessage is how many flags of a message are shown: a server may tell any number.
const mostOfMessage = 1000

func isNoLetter(r rune) bool {
	return r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r)
}

// rank is where a flag comes in the order of Flags.
func rank(word string) int {
	if i := slices.Index(systemFlags, word); i >= 0 {
		return i
	}
	return len(systemFlags)
}

// systemFlag returns the word of a system flag of this name in any case, "" for none.
func systemFlag(name string) string {
	if i := slices.IndexFunc(systemFlags, func(word string) bool { return strings.EqualFold(word, name) }); i >= 0 {
		return systemFlags[i]
	}
	return ""
}

// OnWire returns how a flag is called on the wire.
func (Flags) OnWire(word string) string {
	if systemFlag(word) != "" {
		return `\` + systemFlag(word)
	}
	return word
}

// Has tells whether a flag is among them. Case is of no meaning.
func (f Flags) Has(word string) bool {
	return slices.ContainsFunc(f, func(other string) bool { return strings.EqualFold(other, word) })
}

// String returns the words with a space between them.
func (f Flags) String() string { return strings.Join(f, " ") }

// MessageFlags is the flags of one message of a folder.
type MessageFlags struct {
	UID   uint32
	Flags Flags
}

// FlagChange says which flags messages are to get, and which to lose.
type FlagChange struct {
	Whole       bool // all flags that are not in Add go too, but Deleted
	Add, Remove Flags
}

// ErrFlag says that a word is no flag.
var ErrFlag = errors.New("no flag")

// ParseFlagChange reads words: +Seen adds a flag, -Seen takes it away, and words without
// a sign are all that is to be there, before that; so does text without a word, if it is
// not empty. A word can have the backslash of the wire. Its error is ErrFlag.
func ParseFlagChange(text string) (FlagChange, error) {
	var add, remove []string
	fields := strings.Fields(text)
	c := FlagChange{Whole: len(fields) == 0 && text != ""}
	for _, field := range fields {
		word := strings.TrimLeft(field, "+-")
		sign := field[:len(field)-len(word)]
		flag, err := parseFlag(word)
		if err != nil || len(sign) > 1 {
			return FlagChange{}, fmt.Errorf("%w: %q", ErrFlag, field)
		}
		same := func(other string) bool { return strings.EqualFold(other, flag) }
		add, remove = slices.DeleteFunc(add, same), slices.DeleteFunc(remove, same)
		if sign == "-" {
			remove = append(remove, flag)
			continue
		}
		add = append(add, flag)
		c.Whole = c.Whole || sign == ""
	}
	c.Add, c.Remove = add, remove
	return c, nil
}

// mostFlag is how long a keyword may be, in bytes: no server that is known takes longer ones.
const mostFlag = 255

// parseFlag reads the word of one flag: an atom (RFC 9051 §9), which may be a system flag.
func parseFlag(word string) (string, error) {
	name, isSystem := strings.CutPrefix(word, `\`)
	if system := systemFlag(name); system != "" {
		return system, nil
	}
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) }
	if isSystem || name == "" || len(name) > mostFlag || strings.ContainsFunc(name, bad) {
		return "", ErrFlag
	}
	return name, nil
}

// Of returns which flags are to be added and removed of a message that has now.
func (c FlagChange) Of(now Flags) (add, remove Flags) {
	for _, flag := range c.Add {
		if !now.Has(flag) {
			add = append(add, flag)
		}
	}
	for _, flag := range now {
		if c.Remove.Has(flag) || c.Whole && !c.Add.Has(flag) && flag != "Deleted" {
			remove = append(remove, flag)
		}
	}
	return add, remove
}
