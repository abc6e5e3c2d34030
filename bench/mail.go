package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// readCorpus returns the SpamAssassin corpus, sorted by file name; it gets it
// first if it is not there. n is how many messages are wanted, spread over all
// of it; 0 for all.
func readCorpus(module string, n int) ([][]byte, error) {
	dir := filepath.Join(module, "testdata", "corpus")
	if _, err := os.Stat(dir); err != nil {
		fetch := exec.Command(filepath.Join(module, "testdata", "fetch-corpus"))
		if out, err := fetch.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("testdata/fetch-corpus: %v: %s", err, bytes.TrimSpace(out))
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.txt"))
	if len(files) < max(n, 1) {
		return nil, fmt.Errorf("testdata/corpus has only %d messages", len(files))
	}
	slices.Sort(files)
	step := 1
	if n > 0 {
		step = len(files) / n
		files = files[:n*step]
	}
	var messages [][]byte
	for i := 0; i < len(files); i += step {
		m, err := os.ReadFile(files[i])
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// smallMessages makes n different messages of about 1 kB.
func smallMessages(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 1; i <= n; i++ {
			if !yield(smallMessage(i)) {
				return
			}
		}
	}
}

var smallText = strings.Repeat(strings.Repeat("All work and no play makes Jack a dull boy. ", 2)+"\r\n", 8)

func smallMessage(i int) []byte {
	return fmt.Appendf(nil, "From: Jack <jack@example.org>\r\nTo: Wendy <wendy@example.org>\r\n"+
		"Subject: Page %d\r\nDate: Mon, 1 Jan 2001 12:00:00 +0000\r\nMessage-ID: <page-%d@example.org>\r\n\r\n%s",
		i, i, smallText)
}

const perLine = 57 // bytes that are 76 characters of base64

// largeMessage makes a message with an attachment, data.bin, of size bytes in
// base64. content is what it decodes to.
func largeMessage(size int) (message, content []byte) {
	content = make([]byte, size/78*perLine)
	rand.NewChaCha8([32]byte{}).Read(content)
	return crlf("From: Jack <jack@example.org>\nSubject: Large\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/mixed; boundary=here\n\n--here\nContent-Type: text/plain\n\nSee below.\n--here\n" +
		"Content-Type: application/octet-stream; name=data.bin\nContent-Disposition: attachment; filename=data.bin\n" +
		"Content-Transfer-Encoding: base64\n\n" + base64Lines(content) + "--here--\n"), content
}

func base64Lines(content []byte) string {
	var b strings.Builder
	for chunk := range slices.Chunk(content, perLine) {
		b.WriteString(base64.StdEncoding.EncodeToString(chunk) + "\n")
	}
	return b.String()
}

func crlf(message string) []byte { return []byte(strings.ReplaceAll(message, "\n", "\r\n")) }
