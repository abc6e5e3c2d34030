package mail

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// corpusFiles lists the messages of the folder that IMAPFS_CORPUS names, one
// in each .txt file.
func corpusFiles(tb testing.TB) []string {
	tb.Helper()
	dir := cmp.Or(os.Getenv("IMAPFS_CORPUS"), filepath.Join("..", "testdata", "corpus"))
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".txt") {
			files = append(files, path)
		}
		return err
	})
	if os.IsNotExist(err) {
		tb.Skipf("no corpus at %s: set IMAPFS_CORPUS to a folder of messages (*.txt)", dir)
	}
	if err != nil || len(files) == 0 {
		tb.Fatalf("corpus at %s: %d files, error %v", dir, len(files), err)
	}
	return files
}

// reference is what testdata/reference.py says of a message.
type reference struct {
	File        string
	Error       string
	HTML        bool
	Guessed     bool // the charset of the body
	Body        string
	Links       []string
	Attachments []struct {
		SHA256, Type string
		Size         int
	}
}

// TestCorpus compares attachments and body text of real messages with what
// Python's email package makes of them. Attachments must have the same bytes.
// Plain text must be the same up to white space. Text from HTML must have the
// same letters and digits in the same order: that ignores what the renderer
// adds (asterisks, rules, the targets of links) and how it breaks lines.
func TestCorpus(t *testing.T) {
	files := corpusFiles(t)
	python := exec.Command("python3", "-W", "ignore", filepath.Join("testdata", "reference.py"))
	python.Stdin = strings.NewReader(strings.Join(files, "\n") + "\n")
	var stderr bytes.Buffer
	python.Stderr = &stderr
	stdout, err := python.Output()
	if err != nil {
		t.Fatalf("reference.py: %v\n%s", err, stderr.Bytes())
	}
	var total, badFiles, badBodies, htmls, badHTML, guessed int
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 64<<20)
	for ; lines.Scan(); total++ {
		var want reference
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(want.File)
		if err != nil {
			t.Fatal(err)
		}
		root := Parse(raw)
		body, files := render(t, root, raw)
		name := filepath.Join(filepath.Base(filepath.Dir(want.File)), filepath.Base(want.File))
		if want.Error != "" {
			t.Logf("%s: Python fails: %s", name, want.Error)
		}

		var got, exp []string
		for _, f := range files {
			sum := sha256.Sum256(f)
			got = append(got, hex.EncodeToString(sum[:]))
		}
		for _, a := range want.Attachments {
			exp = append(exp, a.SHA256)
		}
		slices.Sort(got)
		slices.Sort(exp)
		if !slices.Equal(got, exp) {
			badFiles++
			reason := "content"
			if len(got) != len(exp) {
				reason = "number"
			}
			t.Logf("%s: attachments differ (%s): %d, Python has %d", name, reason, len(got), len(exp))
		}

		same := strings.Join(strings.Fields(string(body)), " ") == strings.Join(strings.Fields(dropControls(want.Body)), " ")
		if want.HTML {
			htmls++
			same = letters(withoutLinks(string(body), want.Links)) == letters(want.Body)
		}
		if !same && want.Guessed {
			// Python would read all of them as windows-1252. TestGuess has whether the guess is good.
			guessed++
			continue
		}
		if !same {
			badBodies++
			kind := "plain"
			if want.HTML {
				kind = "HTML"
				badHTML++
			}
			t.Logf("%s: body differs (%s) %s", name, kind, firstDifference(letters(withoutLinks(string(body), want.Links)), letters(want.Body)))
		}
	}
	t.Logf("%d messages (%d with HTML as body): attachments of %d differ, body of %d (%d of them HTML), and of %d in a charset that was guessed", total, htmls, badFiles, badBodies, badHTML, guessed)
	if total != len(files) {
		t.Errorf("reference.py answered for %d of %d messages", total, len(files))
	}
	for _, c := range []struct {
		what      string
		bad, most int // of 1000
	}{{"attachments", badFiles, 1}, {"bodies", badBodies, 4}, {"guessed bodies", guessed, 10}} {
		if c.bad*1000 > c.most*total {
			t.Errorf("%s of %d messages of %d differ: more than %d of 1000", c.what, c.bad, total, c.most)
		}
	}
}

// render returns body.txt and the attachments of a message, as a reader of the
// mount gets them.
func render(tb testing.TB, root *Part, raw []byte) (body []byte, files [][]byte) {
	tb.Helper()
	var bodies [][]byte
	for _, p := range root.Text() {
		b, ok := root.Bytes(raw, p.Section)
		if !ok {
			tb.Fatalf("section %s not found", p.Section)
		}
		bodies = append(bodies, b)
	}
	for _, a := range root.Attachments() {
		b, ok := root.Bytes(raw, a.Part.Section)
		if !ok {
			tb.Fatalf("section %s not found", a.Part.Section)
		}
		files = append(files, decodeAll(a.Part.Encoding, b))
	}
	return BodyText(root.Text(), bodies), files
}

// letters keeps the letters and digits of a text.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, s)
}

// withoutLinks removes the targets that the renderer puts behind the text of
// links: "( target )".
func withoutLinks(s string, links []string) string {
	s = strings.Join(strings.Fields(s), " ")
	for _, target := range links {
		target = strings.TrimPrefix(strings.TrimSpace(target), "mailto:")
		s = strings.ReplaceAll(s, "( "+strings.Join(strings.Fields(target), " ")+" )", "")
	}
	return s
}

func dropControls(s string) string { return string(cleanText(s)) }

// firstDifference tells where two texts part, by lengths only: test logs show
// no mail.
func firstDifference(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if os.Getenv("IMAPFS_CORPUS_SHOW") != "" {
		return strings.Join([]string{"ours", a[max(0, n-20):min(len(a), n+40)], "Python", b[max(0, n-20):min(len(b), n+40)]}, " | ")
	}
	return fmt.Sprintf("at byte %d of %d and %d", n, len(a), len(b))
}
