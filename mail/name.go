package mail

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest file name in bytes (NAME_MAX of Linux).
const maxName = 255

// Attachment is a leaf of a message that is shown as a file.
type Attachment struct {
	Name string // safe, and unique within the message
	Part *Part
}

// extensions of the attachments without a name. The table is fixed, because
// the tree must not depend on the machine's mime.types.
var extensions = map[string]string{
	"application/gzip":                                ".gz",
	"application/ics":                                 ".ics",
	"application/javascript":                          ".js",
	"application/json":                                ".json",
	"application/msword":                              ".doc",
	"application/pdf":                                 ".pdf",
	"application/pgp-encrypted":                       ".txt",
	"application/pgp-keys":                            ".asc",
	"application/pgp-signature":                       ".asc",
	"application/pkcs7-mime":                          ".p7m",
	"application/pkcs7-signature":                     ".p7s",
	"application/postscript":                          ".ps",
	"application/rtf":                                 ".rtf",
	"application/vnd.ms-excel":                        ".xls",
	"application/vnd.ms-powerpoint":                   ".ppt",
	"application/vnd.oasis.opendocument.presentation": ".odp",
	"application/vnd.oasis.opendocument.spreadsheet":  ".ods",
	"application/vnd.oasis.opendocument.text":         ".odt",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         ".xlsx",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   ".docx",
	"application/x-gzip":            ".gz",
	"application/x-pkcs7-mime":      ".p7m",
	"application/x-pkcs7-signature": ".p7s",
	"application/x-tar":             ".tar",
	"application/x-zip-compressed":  ".zip",
	"application/xml":               ".xml",
	"application/zip":               ".zip",
	"audio/mp4":                     ".m4a",
	"audio/mpeg":                    ".mp3",
	"audio/ogg":                     ".ogg",
	"audio/wav":                     ".wav",
	"audio/x-wav":                   ".wav",
	"image/bmp":                     ".bmp",
	"image/gif":                     ".gif",
	"image/heic":                    ".heic",
	"image/jpeg":                    ".jpg",
	"image/jpg":                     ".jpg",
	"image/pjpeg":                   ".jpg",
	"image/png":                     ".png",
	"image/svg+xml":                 ".svg",
	"image/tiff":                    ".tif",
	"image/webp":                    ".webp",
	"message/rfc822":                ".eml",
	"message/global":                ".eml",
	"text/calendar":                 ".ics",
	"text/css":                      ".css",
	"text/csv":                      ".csv",
	"text/directory":                ".vcf",
	"text/html":                     ".html",
	"text/markdown":                 ".md",
	"text/richtext":                 ".rtx",
	"text/rtf":                      ".rtf",
	"text/vcard":                    ".vcf",
	"text/x-amp-html":               ".html",
	"text/x-vcard":                  ".vcf",
	"text/xml":                      ".xml",
	"video/mp4":                     ".mp4",
	"video/mpeg":                    ".mpg",
	"video/quicktime":               ".mov",
}

// extension returns the extension for a MIME type, with its dot.
func extension(typ string) string {
	if ext, ok := extensions[typ]; ok {
		return ext
	}
	// The other message types (delivery-status and so on) are text for people
	// to read.
	if strings.HasPrefix(typ, "text/") || strings.HasPrefix(typ, "message/") {
		return ".txt"
	}
	return ".bin"
}

// fileName is the safe name of an attachment, not yet unique.
func (p *Part) fileName() string {
	ext := extension(p.Type)
	if strings.TrimSpace(p.Filename) == "" {
		return "part-" + p.Section + ext
	}
	name := p.Filename
	if ext == ".eml" && !strings.EqualFold(path.Ext(name), ext) {
		name += ext
	}
	name = SafeName(name)
	if name == unnamed {
		name = "part-" + p.Section + ext
	}
	return name
}

// Attachments returns the leaves that are neither displayed nor body.html, in
// order, with the names of their files.
func (root *Part) Attachments() []Attachment {
	s := root.choose()
	var list []Attachment
	taken := make(map[string]bool)
	next := make(map[string]int) // so that many equal names take no quadratic time
	forks := root.forks()
	for _, p := range root.Leaves() {
		if s.used[p] {
			continue
		}
		base := p.fileName()
		if name, ok := forks[p]; ok {
			named := *p
			named.Filename = name
			base = named.fileName()
		}
		name := base
		for n := max(next[base], 2); taken[name]; n++ {
			name = numbered(base, n)
			next[base] = n + 1
		}
		taken[name] = true
		list = append(list, Attachment{name, p})
	}
	return list
}

// forks returns the names of the two parts of each multipart/appledouble (RFC 1740): the document has
// the name, and the resource fork of Apple's, which often has it too, none.
func (root *Part) forks() map[*Part]string {
	names := make(map[*Part]string)
	var walk func(p *Part)
	walk = func(p *Part) {
		if p.Type == "multipart/appledouble" && len(p.Children) == 2 && p.Children[0].Type == "application/applefile" {
			fork, document := p.Children[0], p.Children[1]
			names[fork], names[document] = "", cmp.Or(document.Filename, fork.Filename)
		}
		for _, c := range p.Children {
			walk(c)
		}
	}
	walk(root)
	return names
}

// numbered makes "name (2).ext" of "name.ext", within maxName bytes.
func numbered(name string, n int) string {
	stem, ext := splitExt(name)
	suffix := fmt.Sprintf(" (%d)", n) + ext
	return cut(stem, maxName-len(suffix)) + suffix
}

// splitExt splits off the extension, if it looks like one: short, and not the
// whole name.
func splitExt(name string) (stem, ext string) {
	ext = path.Ext(name)
	if len(ext) < 2 || len(ext) > 16 || len(ext) == len(name) || strings.ContainsAny(ext, " ") {
		return name, ""
	}
	return name[:len(name)-len(ext)], ext
}

// cut shortens s to at most n bytes, at a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

const unnamed = "unnamed"

// SafeName turns a name that a stranger chose into a file name that can be
// listed, copied and shown without surprise. It keeps what it can: no "/",
// control characters, or characters that are invisible or change the direction
// of text (so that "exe.txt" is what it says); not only dots, no white space at
// the ends, no "-" at the start (so that rm * sees no option), no piles of
// marks, at most 255 bytes of valid UTF-8 with the extension kept. A
// Windows path is cut to its last component, as other mail readers do. The
// zero width joiners go too: they matter in some scripts, but two names that
// look the same and are not matter more. A name of which nothing is left is
// "unnamed".
func SafeName(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if i := strings.LastIndexByte(name, '\\'); i >= 0 && strings.Trim(name[i+1:], " .") != "" {
		name = name[i+1:]
	}
	name = safeText(name)
	name = strings.TrimSpace(name)
	if len(name) > maxName {
		stem, ext := splitExt(name)
		name = strings.TrimSpace(cut(stem, maxName-len(ext)) + ext)
	}
	switch {
	case name == "":
		return unnamed
	case strings.Trim(name, ".") == "":
		return strings.Repeat("_", len(name))
	case name[0] == '-':
		return "_" + name[1:]
	}
	return name
}

// safeText replaces in s, which is valid UTF-8, the characters that SafeName does not keep.
func safeText(s string) string {
	marks := 0
	return strings.Map(func(r rune) rune {
		if !isMark(r) {
			if !isInvisible(r) && (!unicode.IsControl(r) || r == '\t' || r == '\n' || r == '\r') { // else it goes
				marks = 0
			}
		} else if marks++; marks > maxMarks {
			return -1
		}
		switch {
		case r == '/' || r == '\\':
			return '_'
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case unicode.IsControl(r), isInvisible(r):
			return -1
		}
		return r
	}, s)
}

const folderSuffix = ".folder"

// FolderName returns the directory name for one component of a mailbox name.
// What cannot be in a file name is escaped as %XX; a "%" is escaped only where
// it would look like an escape, so the original name can always be told from
// the result. The empty component, which some servers have, is "%". A name that
// is too long for a file system is cut; the end of it is then "%7E", which is
// no escape of the above, and a hash.
//
// childOfSelectable says that the folder above can hold messages, whose
// directories are named by UID: a name of digits then gets the suffix
// ".folder", and a name that already looks like that has its last dot escaped.
func FolderName(component string, childOfSelectable bool) string {
	name := escapeFolder(component, childOfSelectable)
	if len(name) > maxName {
		end := fmt.Sprintf("%%7E%x", sha256.Sum256([]byte(component)))[:35]
		name = cut(name, maxName-len(end)) + end
	}
	return name
}

// ParseFolderName is the inverse of FolderName: it returns the component that a
// directory of this name shows. ok is false where none does: FolderName would have
// escaped something in it, has cut it, or leaves it to a message.
func ParseFolderName(name string, childOfSelectable bool) (component string, ok bool) {
	if name == "%" {
		return "", true
	}
	for _, c := range []string{unescape(name), unescape(strings.TrimSuffix(name, folderSuffix))} {
		if FolderName(c, childOfSelectable) == name {
			return c, true
		}
	}
	return "", false
}

// unescape puts the bytes back that FolderName writes as %XX.
func unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			if hi, lo := unhex(name[i+1]), unhex(name[i+2]); hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

func escapeFolder(component string, childOfSelectable bool) string {
	switch component {
	case "":
		return "%"
	case "%":
		return "%25"
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	if childOfSelectable {
		base := component
		for strings.HasSuffix(base, folderSuffix) {
			base = strings.TrimSuffix(base, folderSuffix)
		}
		if isDigits(base) {
			if base == component {
				return component + folderSuffix
			}
			return strings.TrimSuffix(component, folderSuffix) + "%2Efolder"
		}
	}
	var b strings.Builder
	marks := 0
	for i := 0; i < len(component); {
		r, n := utf8.DecodeRuneInString(component[i:])
		piece := component[i : i+n]
		percent := r == '%' && i+2 < len(component) && unhex(component[i+1]) >= 0 && unhex(component[i+2]) >= 0
		if isMark(r) {
			marks++
		} else {
			marks = 0
		}
		option := r == '-' && i == 0 // rm * would see one
		if r == '/' || unicode.IsControl(r) || isInvisible(r) || marks > maxMarks || r == utf8.RuneError && n == 1 || percent || option {
			for j := range n {
				fmt.Fprintf(&b, "%%%02X", piece[j])
			}
		} else {
			b.WriteString(piece)
		}
		i += n
	}
	return b.String()
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
