package demo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Import fills the server from a mail archive and returns how many messages it
// took. path is one of these:
//
//   - a file that ends in .eml: one message, for INBOX;
//   - an mbox file, which begins with "From ": the folder of its name, without
//     the ending .mbox or .mbx;
//   - a Maildir: INBOX, and the folders ".Sub.Folder" in it as Sub/Folder;
//   - a directory with any of these inside: sub-directories become folders,
//     and loose messages go to the folder of their directory, or to INBOX.
//
// A file that is not named like an mbox (say, list.txt) but begins with "From "
// is one loose message if it holds one, else a folder. Other files are loose
// messages if they begin with the header of a message, as those of MH do, which
// have numbers for names.
//
// What cannot be read does not stop the import: the error names every such file
// on a line of its own, and n counts the rest. Files that are no mail are
// skipped; one log line gives their number and an example. Hidden files are
// ignored. Nothing below path is changed.
func (s *Server) Import(path string) (n int, err error) {
	// Stat and not Lstat: the path given may well be a link.
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("import %s: %w", path, plain(err))
	}
	im := &importer{server: s}
	switch {
	case info.IsDir():
		im.dir(path, nil)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("import %s: neither a file nor a directory", path)
	default:
		im.file(path, nil)
		if im.n == 0 && im.skipped > 0 {
			return 0, fmt.Errorf("import %s: not a mail archive: neither an .eml file nor an mbox file nor a Maildir", path)
		}
	}
	if im.skipped > 0 {
		slog.Warn("import skipped files that are no mail", "path", path, "files", im.skipped, "first", im.firstSkipped)
	}
	if info.IsDir() && im.n == 0 && len(im.errs) == 0 {
		return 0, fmt.Errorf("import %s: no mail found", path)
	}
	return im.n, errors.Join(im.errs...)
}

// importer is one run of Import. A folder is the list of its names, from the
// top; nil means that no directory has named one yet.
type importer struct {
	server       *Server
	n            int
	errs         []error
	skipped      int
	firstSkipped string
}

func (im *importer) fail(path string, err error) {
	im.errs = append(im.errs, fmt.Errorf("import %s: %w", path, plain(err)))
}

func (im *importer) skip(path string) {
	im.skipped++
	im.firstSkipped = cmp.Or(im.firstSkipped, path)
}

// plain takes away the file name that package os puts into its errors.
func plain(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// dir imports a directory, which is a Maildir or a folder.
func (im *importer) dir(path string, folder []string) {
	if isMaildir(path) {
		im.maildir(path, folder)
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		im.fail(path, err)
		return
	}
	for _, e := range entries {
		name, full := e.Name(), filepath.Join(path, e.Name())
		switch {
		case strings.HasPrefix(name, "."):
		case e.IsDir():
			im.dir(full, sub(folder, name))
		case e.Type().IsRegular():
			im.file(full, folder)
		default: // links could lead in circles
			im.skip(full)
		}
	}
}

// file imports a file that lies in a directory of the given folder.
func (im *importer) file(path string, folder []string) {
	name := filepath.Base(path)
	ext := strings.ToLower(filepath.Ext(name))
	isMboxName := ext == ".mbox" || ext == ".mbx"

	// Look before reading all: the file may be anything, of any size.
	head, err := readHead(path)
	if err != nil {
		im.fail(path, err)
		return
	}
	isMbox := bytes.HasPrefix(head, []byte("From "))
	switch {
	case isMboxName && len(head) == 0: // an empty folder
		im.create(path, sub(folder, name[:len(name)-len(ext)]))
		return
	case isMboxName && !isMbox:
		im.fail(path, errors.New(`not an mbox file: it does not begin with "From "`))
		return
	case ext != ".eml" && !isMbox && !looksLikeMessage(head):
		im.skip(path)
		return
	}

	raw, err := os.ReadFile(path)
	switch {
	case err != nil:
		im.fail(path, err)
	case isMbox && ext != ".eml":
		im.mbox(path, folder, ext, raw)
	default:
		im.loose(path, folder, withoutFromLine(raw))
	}
}

// headSize is how much of a file is enough to tell what it is.
const headSize = 64 << 10

func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, headSize))
}

// loose imports a message that is a file of its own.
func (im *importer) loose(path string, folder []string, raw []byte) {
	date := headerDate(raw)
	if date.IsZero() {
		date = mtime(path)
	}
	im.add(path, folder, raw, date)
}

// withoutFromLine takes away a first line "From ", which some programs leave
// when they save a message from an mbox. It is no header field.
func withoutFromLine(raw []byte) []byte {
	if bytes.HasPrefix(raw, []byte("From ")) {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	return raw
}

// looksLikeMessage tells mail from other text: lines that are all header fields,
// with a sender and a trace of having been sent.
func looksLikeMessage(head []byte) bool {
	header, _ := splitHeader(crlf(head))
	for i, line := range bytes.Split(bytes.TrimRight(header, "\r\n"), []byte("\n")) {
		continued := i > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if !continued && !beginsWithField(line) {
			return false
		}
	}
	has := func(name string) bool { return fieldValue(header, name) != "" }
	return has("From") && (has("Date") || has("Received") || has("Message-ID"))
}

func (im *importer) add(path string, folder []string, raw []byte, date time.Time, flags ...imap.Flag) {
	if err := im.server.Append(im.mailbox(folder), raw, date, flags...); err != nil {
		im.fail(path, err)
		return
	}
	im.n++
}

// create makes a folder that may stay empty.
func (im *importer) create(path string, folder []string) {
	if _, err := im.server.acct.ensure(im.mailbox(folder)); err != nil {
		im.fail(path, err)
	}
}

// mailbox is the full name of a folder on the server.
func (im *importer) mailbox(folder []string) string {
	if len(folder) == 0 {
		return "INBOX"
	}
	delim := im.server.acct.delim
	names := make([]string, len(folder))
	for i, name := range folder {
		// A file name may hold the server's delimiter, and bytes that are no
		// UTF-8; the name of a mailbox may not.
		names[i] = strings.ToValidUTF8(strings.ReplaceAll(name, delim, "_"), "�")
	}
	if strings.EqualFold(names[0], "INBOX") {
		names[0] = "INBOX"
	}
	return strings.Join(names, delim)
}

func sub(folder []string, names ...string) []string {
	return append(folder[:len(folder):len(folder)], names...)
}

// headerDate is the date that the message gives itself, or zero.
func headerDate(raw []byte) time.Time {
	header, _ := splitHeader(crlf(raw[:min(len(raw), headSize)]))
	date, _ := mail.ParseDate(fieldValue(header, "Date"))
	return date
}

// mtime is when a file was written last, or zero if it is gone.
func mtime(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
