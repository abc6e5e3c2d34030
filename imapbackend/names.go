package imapbackend

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"imapfs/imapbackend/wire"
	"imapfs/mail"
)

// A mailbox has its name on the wire, which is what the server wants to hear, and
// one that people read. The first should be modified UTF-7 (RFC 3501 §5.1.3), and
// may be anything. So the second is never turned back into the first: where they
// differ both are remembered.

// folderNames gives each mailbox a name of its own. Those that are as they should
// be come first: another one whose name reads the same has something added.
func folderNames(listed []wire.Mailbox) (folders []mail.Folder, wires map[string]string) {
	type named struct {
		wire.Mailbox
		name  string
		isOdd bool
	}
	all := make([]named, 0, len(listed))
	for _, m := range listed {
		name, isOdd := decodeName(m.Name)
		all = append(all, named{m, name, isOdd})
	}
	slices.SortFunc(all, func(a, b named) int {
		switch {
		case a.isOdd == b.isOdd:
			return cmp.Compare(a.Name, b.Name)
		case a.isOdd:
			return 1
		}
		return -1
	})
	wires = make(map[string]string)
	taken := make(map[string]bool, len(all))
	for _, m := range all {
		for taken[m.name] {
			m.name += "~"
		}
		taken[m.name] = true
		if m.name != m.Name || strings.ContainsFunc(m.Name, func(r rune) bool { return r < ' ' || r > '~' || r == '&' }) {
			wires[m.name] = m.Name // the library would encode it
		}
		folders = append(folders, newFolder(m.name, m.Mailbox))
	}
	return folders, wires
}

// decodeName turns a name on the wire into one for people. What is no modified
// UTF-7 stays as it is; bytes that are no UTF-8 either are taken for Latin-1, of
// which each byte is a character. isOdd tells of these.
func decodeName(name string) (decoded string, isOdd bool) {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX", name != "INBOX"
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

// onWire returns how the library is to be told of a folder.
func (b *Backend) onWire(folder string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name, ok := b.wires[folder]; ok {
		return wire.Verbatim(name)
	}
	return folder
}
