package demo

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-maildir"
	"golang.org/x/text/encoding/unicode"
)

// maildirFlags are the letters behind a file name's ":2,". There is no IMAP
// flag for FlagPassed, only a keyword that is in common use.
var maildirFlags = map[maildir.Flag]imap.Flag{
	maildir.FlagDraft:   imap.FlagDraft,
	maildir.FlagFlagged: imap.FlagFlagged,
	maildir.FlagPassed:  imap.FlagForwarded,
	maildir.FlagReplied: imap.FlagAnswered,
	maildir.FlagSeen:    imap.FlagSeen,
	maildir.FlagTrashed: imap.FlagDeleted,
}

// isMaildir tells a Maildir by the directories that hold its messages. Archives
// often lose an empty new/ or tmp/.
func isMaildir(path string) bool {
	info, err := os.Stat(filepath.Join(path, "cur"))
	return err == nil && info.IsDir()
}

// maildir imports a Maildir, and the folders in it: ".Sub.Folder" (Maildir++),
// or plain directories that are Maildirs themselves.
//
// go-maildir moves messages from new/ to cur/ when it lists them, and leaves
// out files without flags. An import changes nothing and takes all, so it reads
// the directories by itself.
func (im *importer) maildir(path string, folder []string) {
	im.create(path, folder)
	list := append(im.maildirFiles(filepath.Join(path, "cur")), im.maildirFiles(filepath.Join(path, "new"))...)
	// File names have no order that means something, so take the oldest first.
	slices.SortStableFunc(list, func(a, b maildirFile) int { return a.date.Compare(b.date) })
	for _, m := range list {
		if raw, err := os.ReadFile(m.path); err != nil {
			im.fail(m.path, err)
		} else {
			im.add(m.path, folder, raw, m.date, m.flags...)
		}
	}

	entries, err := os.ReadDir(path)
	if err != nil {
		im.fail(path, err)
		return
	}
	for _, e := range entries {
		name, full := e.Name(), filepath.Join(path, e.Name())
		switch {
		case !e.IsDir() || !isMaildir(full):
		case strings.HasPrefix(name, "."):
			im.maildir(full, sub(folder, maildirNames(name[1:])...))
		default:
			im.maildir(full, sub(folder, name))
		}
	}
}

// maildirFile is a message of a Maildir.
type maildirFile struct {
	path  string
	date  time.Time
	flags []imap.Flag
}

// maildirFiles lists cur/ or new/, which may be missing.
func (im *importer) maildirFiles(dir string) (list []maildirFile) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			im.fail(dir, err)
		}
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		full := filepath.Join(dir, e.Name())
		info, err := e.Info()
		switch {
		case err != nil:
			im.fail(full, err)
		case !info.Mode().IsRegular():
			im.skip(full)
		default:
			list = append(list, maildirFile{full, info.ModTime(), flagsOf(e.Name())})
		}
	}
	return list
}

// maildirNames returns the names in "Sub.Folder". They are in the modified
// UTF-7 of IMAP (RFC 3501 §5.1.3), unless a server was told to use UTF-8.
func maildirNames(name string) []string {
	names := strings.Split(name, ".")
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	for i, name := range names {
		names[i] = encodedWord.ReplaceAllStringFunc(name, decodeWord)
	}
	return names
}

var encodedWord = regexp.MustCompile(`&[A-Za-z0-9+,]*-`)

// decodeWord decodes "&ANw-" to "Ü" and "&-" to "&". What is not in the code
// stays as it is.
func decodeWord(word string) string {
	if word == "&-" {
		return "&"
	}
	code := strings.ReplaceAll(word[1:len(word)-1], ",", "/")
	units, err := base64.RawStdEncoding.DecodeString(code)
	if err != nil || len(units)%2 != 0 {
		return word
	}
	text, _ := unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder().Bytes(units) // fails on nothing
	return string(text)
}

// flagsOf reads the flags in a file name such as "1029994583.M1.host:2,RS".
func flagsOf(name string) []imap.Flag {
	_, letters, _ := strings.Cut(name, ":2,")
	var flags []imap.Flag
	for _, letter := range letters {
		if f, ok := maildirFlags[maildir.Flag(letter)]; ok {
			flags = append(flags, f)
		}
	}
	return flags
}
