package imapbackend

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// A mailbox has its name on the wire, which is what the server wants to hear; the
// full name that people read; and the Name by which all of imapfs knows it. The first
// should be modified UTF-7 (RFC 3501 §5.1.3), and may be anything. So the others are
// never turned back into the first: where they differ all are remembered. A rename
// from here changes the first two (rename), and nothing has to be moved that is
// known or cached by Name.

// folderNames gives each mailbox its names. Those that are as they should be come
// first: another one whose name reads the same has something added. known are the
// wires of before: who is still there keeps its Name, and spent are Names that nobody
// may get again.
func folderNames(listed []wire.Mailbox, known map[string]string, spent map[string]bool) (folders []mail.Folder, wires map[string]string) {
	all := decodeNames(listed)
	there := make(map[string]bool, len(all))
	for _, m := range all {
		there[m.Name] = true
	}
	kept := make(map[string]string) // Names, by name on the wire
	taken := maps.Clone(spent)
	if taken == nil {
		taken = make(map[string]bool)
	}
	for name, onWire := range known {
		if full, _ := decodeName(onWire); there[onWire] && full != name {
			kept[onWire], taken[name] = name, true
		}
	}
	free := func(name string, taken map[string]bool) string {
		for taken[name] {
			name += "~"
		}
		taken[name] = true
		return name
	}
	wires = make(map[string]string)
	shown := make(map[string]bool, len(all))
	for _, m := range all {
		f := newFolder(free(m.full, shown), m.Mailbox)
		full := f.Name
		if name, ok := kept[m.Name]; ok {
			f.Name = name
		} else if full != inbox { // which has its Name for ever
			f.Name = free(full, taken)
		}
		setFullName(&f, full)
		if isOnWire(f.Name, m.Name) {
			wires[f.Name] = m.Name
		}
		folders = append(folders, f)
	}
	return folders, wires
}

// listedMailbox is a mailbox with the name that people read.
type listedMailbox struct {
	wire.Mailbox
	full  string
	isOdd bool // its name is not as it should be
}

// decodeNames returns the mailboxes in the order in which they are given their names.
func decodeNames(listed []wire.Mailbox) []listedMailbox {
	all := make([]listedMailbox, 0, len(listed))
	for _, m := range listed {
		full, isOdd := decodeName(m.Name)
		all = append(all, listedMailbox{m, full, isOdd})
	}
	slices.SortFunc(all, func(a, b listedMailbox) int {
		switch {
		case a.isOdd == b.isOdd:
			return cmp.Compare(a.Name, b.Name)
		case a.isOdd:
			return 1
		}
		return -1
	})
	return all
}

// inbox is the one mailbox that is there always, and has its Name for ever.
const inbox = "INBOX"

func setFullName(f *mail.Folder, full string) {
	if f.Renamed = full; full == f.Name {
		f.Renamed = ""
	}
}

// isOnWire tells whether it has to be remembered that a mailbox is onWire there: the
// library would encode its Name.
func isOnWire(name, onWire string) bool {
	return name != onWire || strings.ContainsFunc(onWire, func(r rune) bool { return r < ' ' || r > '~' || r == '&' })
}

// encodeName turns a component of a name into modified UTF-7.
func encodeName(name string) string {
	var b strings.Builder
	for name != "" {
		plain := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r > '~' })
		if plain < 0 {
			plain = len(name)
		}
		b.WriteString(strings.ReplaceAll(name[:plain], "&", "&-"))
		if name = name[plain:]; name == "" {
			break
		}
		shifted := strings.IndexFunc(name, func(r rune) bool { return r >= ' ' && r <= '~' })
		if shifted < 0 {
			shifted = len(name)
		}
		var units []byte
		for _, u := range utf16.Encode([]rune(name[:shifted])) {
			units = binary.BigEndian.AppendUint16(units, u)
		}
		b.WriteString("&" + shiftedBase64.EncodeToString(units) + "-")
		name = name[shifted:]
	}
	return b.String()
}

// decodeName turns a name on the wire into one for people. What is no modified
// UTF-7 stays as it is; bytes that are no UTF-8 either are taken for Latin-1, of
// which each byte is a character. isOdd tells of these.
func decodeName(name string) (decoded string, isOdd bool) {
	if strings.EqualFold(name, inbox) {
		return inbox, name != inbox
	}
	var b strings.Builder
	for rest := name; rest != ""; {
		before, after, ok := strings.Cut(rest, "&")
		b.WriteString(before)
		if !ok {
			break
		}
		shifted, behind, closed := strings.Cut(after, "-")
		text, valid := decodeShifted(shifted)
		if !closed || !valid {
			isOdd = true
			b.WriteByte('&')
			rest = after
			continue
		}
		b.WriteString(text)
		rest = behind
	}
	decoded = b.String()
	if !utf8.ValidString(decoded) {
		latin, _ := charmap.ISO8859_1.NewDecoder().String(decoded) // which fails for no byte
		return latin, true
	}
	return decoded, isOdd || strings.ContainsFunc(name, func(r rune) bool { return r > '~' || r < ' ' })
}

var shiftedBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// decodeShifted decodes what is between "&" and "-": UTF-16 in base64, or nothing
// for the "&" itself.
func decodeShifted(text string) (string, bool) {
	if text == "" {
		return "&", true
	}
	b, err := shiftedBase64.DecodeString(text)
	if err != nil || len(b)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	decoded := string(utf16.Decode(units))
	return decoded, !strings.ContainsFunc(decoded, func(r rune) bool { return r == utf8.RuneError || r < ' ' })
}

// wireName returns the name of a folder on the wire.
func (b *Backend) wireName(folder string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cmp.Or(b.wires[folder], folder)
}

// stateOf returns what a STATUS has told of a folder: the server may write its name in
// two ways.
func (b *Backend) stateOf(folder string, heard *gathered) (wire.State, bool) {
	name := b.wireName(folder)
	state, ok := heard.states[name]
	if !ok {
		full, _ := decodeName(name)
		state, ok = heard.states[full]
	}
	return state, ok
}

// fullName returns the name that a folder has on the server now.
func (b *Backend) fullName(folder string) string {
	full, _ := decodeName(b.wireName(folder))
	return full
}

// onWire returns how the library is to be told of a folder.
func (b *Backend) onWire(folder string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name, ok := b.wires[folder]; ok {
		return wire.Verbatim(name)
	}
	return folder
}
