package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The messages of a soak carry their own checksums, so that whoever reads one
// can check it without knowing what was delivered.

// soakBlock is the size of a block of an attachment. The last 32 bytes are the
// checksum of what is before, and of the block's place.
const soakBlock = 4096

func blockSum(id string, n int, data []byte) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d ", id, n)
	h.Write(data)
	return h.Sum(nil)
}

func textSum(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, " ")))
	return hex.EncodeToString(sum[:])
}

// soakMessage makes message number i with an attachment of so many blocks.
func soakMessage(i, blocks int) []byte {
	id := fmt.Sprint(i)
	r := rand.New(rand.NewPCG(uint64(i), 9))
	var text strings.Builder
	fmt.Fprintf(&text, "Message %s\n", id)
	for range 20 {
		fmt.Fprintf(&text, "%016x %016x %016x\n", r.Uint64(), r.Uint64(), r.Uint64())
	}
	var attachment []byte
	for n := range blocks {
		data := make([]byte, 0, soakBlock)
		for len(data) < soakBlock-sha256.Size {
			data = binary.LittleEndian.AppendUint64(data, r.Uint64())
		}
		attachment = append(append(attachment, data...), blockSum(id, n, data)...)
	}
	return crlf(fmt.Sprintf("Subject: soak %[1]s %[2]s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=soak\n\n--soak\n\n"+
		"%[3]sSum: %[4]s\n--soak\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=%[1]s-%[5]d.bin\n"+
		"Content-Transfer-Encoding: base64\n\n%[6]s--soak--\n",
		id, textSum("subject", id), text.String(), textSum(text.String()), blocks, base64Lines(attachment)))
}

func checkHeaders(got []byte) error {
	for line := range strings.Lines(string(got)) {
		if words := strings.Fields(line); len(words) == 4 && words[0] == "Subject:" && words[3] == textSum("subject", words[2]) {
			if strings.Contains(string(got), "Content-Type: multipart/mixed") {
				return nil
			}
		}
	}
	return fmt.Errorf("headers.txt of %d bytes is not right: %.80q", len(got), got)
}

// checkBody takes the last line off, which is the checksum of the others.
func checkBody(got []byte) error {
	text, sum, ok := strings.Cut(string(got), "Sum: ")
	if !ok || strings.TrimSuffix(sum, "\n") != textSum(text) {
		return fmt.Errorf("body.txt of %d bytes is not right: %.80q", len(got), got)
	}
	return nil
}

// checkBlocks checks blocks from the given one on. The name tells of which
// message they are, and how many there are.
func checkBlocks(name string, got []byte, first int, whole bool) error {
	id, count, _ := strings.Cut(strings.TrimSuffix(name, ".bin"), "-")
	if whole && fmt.Sprint(len(got)/soakBlock) != count || len(got)%soakBlock != 0 {
		return fmt.Errorf("%d bytes of %s blocks", len(got), count)
	}
	for n := 0; n < len(got)/soakBlock; n++ {
		block := got[n*soakBlock : (n+1)*soakBlock]
		data, sum := block[:soakBlock-sha256.Size], block[soakBlock-sha256.Size:]
		if !bytes.Equal(sum, blockSum(id, first+n, data)) {
			return fmt.Errorf("block %d of %s is wrong", first+n, count)
		}
	}
	return nil
}
