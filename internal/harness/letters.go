package harness

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
)

// Letter is a short message.
func Letter(text string) []byte { return []byte("Subject: " + text + "\r\n\r\n" + text + "\r\n") }

// OneLetter is a message of about 2 kB.
func OneLetter(i int) []byte {
	return fmt.Appendf(nil, "Subject: letter %d\r\n\r\n%s\r\nend of %d\r\n", i, strings.Repeat("All work and no play. ", 90), i)
}

// LargeLetter has an attachment of 700,000 bytes, base64 of 1 MB.
func LargeLetter() []byte {
	line := strings.Repeat("QUJD", 18) + "\r\n" // 54 bytes
	return []byte("Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
		"--x\r\n\r\nsee below\r\nend of large\r\n--x\r\nContent-Type: application/pdf; name=large.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		strings.Repeat(line, 13000) + "--x--\r\n")
}

// BigMessage has a short text and an attachment of n bytes.
func BigMessage(n int) (raw, attachment []byte) {
	attachment = make([]byte, n)
	for i := range attachment {
		attachment[i] = byte(i * i >> 7)
	}
	var b bytes.Buffer
	b.WriteString("Subject: big\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nSee the film.\r\n" +
		"--b\r\nContent-Type: video/mp4; name=film.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(attachment)
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n--b--\r\n")
	return b.Bytes(), attachment
}
